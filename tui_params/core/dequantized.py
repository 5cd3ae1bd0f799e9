"""Dequantized: what a graph that is stored beside the tensors makes of one of them before it uses it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tui_params.core.dtypes import DType


class Dequantized(msgspec.Struct, frozen=True):
    """``(codes - zero) * scale`` of a tensor, as a node of a graph says; DequantizeLinear of ONNX.

    ``scale`` and ``zero`` are names of tensors of the source. A scale of more than one element has one for each index
    of ``axis``, or for each ``block`` of them (then it has as many dimensions as the codes). ``dtype`` is the type of
    the result, None for that of the scale. ``fault`` says why it is not known what the node makes of them.
    """

    scale: str = ""
    zero: str | None = None
    axis: int | None = None
    block: int = 0
    dtype: DType | None = None
    fault: str | None = None


Ways = Mapping[str, tuple[Dequantized, ...]]
"""What is made of each tensor, by name; several where nodes differ."""


def renamed(ways: Ways, stem: str) -> Ways:
    """The same where every name of the source is preceded by ``stem``."""
    if not stem:
        return ways
    return {stem + name: tuple(_renamed(way, stem) for way in each) for name, each in ways.items()}


def _renamed(way: Dequantized, stem: str) -> Dequantized:
    scale = way.scale and stem + way.scale
    return msgspec.structs.replace(way, scale=scale, zero=None if way.zero is None else stem + way.zero)
