"""Dequantized: what a graph that is stored beside the tensors makes of one of them before it uses it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tui_params.core.dtypes import DType


class Dequantized(msgspec.Struct, frozen=True):
    """``(codes - zero) * scale`` of a tensor, as a node of a graph says that restores it or computes with its codes.

    ``scale`` and ``zero`` are names of tensors of the source. A scale of more than one element has one for each index
    of ``axis``, or for each ``block`` of them (then it has as many dimensions as the codes). ``dtype`` is the type of
    the result, None for that of the scale. ``fault`` says why it is not known what the node makes of them.

    ``bits`` are those of a code where several lie in a byte of the last dimension, lowest bits first; then the zero
    point is stored in the same way, the blocks are of that dimension, and without a zero point codes are around
    ``2**(bits - 1)``. ``shape`` is that of the weight where the codes lie in blocks: the last dimension of
    the weight is the last two of theirs. ``groups`` is the name of a tensor that has the number of the block of
    each index of the last dimension. ``node`` names the operator and ``layout`` the dimensions, for the user.
    """

    scale: str = ""
    zero: str | None = None
    axis: int | None = None
    block: int = 0
    dtype: DType | None = None
    fault: str | None = None
    bits: int = 0
    shape: tuple[int, ...] = ()
    groups: str | None = None
    node: str = ""
    layout: str = ""

    @property
    def companions(self) -> tuple[str, ...]:
        """The names of the tensors that it needs beside the codes."""
        return tuple(name for name in (self.scale, self.zero, self.groups) if name)


Ways = Mapping[str, tuple[Dequantized, ...]]
"""What is made of each tensor, by name; several where nodes differ."""


def renamed(ways: Ways, stem: str) -> Ways:
    """The same where every name of the source is preceded by ``stem``."""
    if not stem:
        return ways
    return {stem + name: tuple(_renamed(way, stem) for way in each) for name, each in ways.items()}


def _renamed(way: Dequantized, stem: str) -> Dequantized:
    scale, zero, groups = (name and stem + name for name in (way.scale, way.zero, way.groups))
    return msgspec.structs.replace(way, scale=scale or "", zero=zero, groups=groups)
