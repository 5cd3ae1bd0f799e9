"""Slice expressions, and the windows onto tensors that they mean."""

from __future__ import annotations

import msgspec


class Axis(msgspec.Struct, frozen=True, gc=False):
    """One dimension of a window: the indices ``start, start + step, ...``, ``length`` of them; ``step`` is not 0.

    ``is_index`` says that the expression had a plain integer there, so the dimension is dropped from the result.
    """

    start: int
    step: int
    length: int
    is_index: bool = False


class Window(msgspec.Struct, frozen=True, gc=False):
    """A rectangular part of a tensor, one Axis per dimension, already fitted to its shape."""

    axes: tuple[Axis, ...]
    expression: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result, as numpy basic indexing gives it."""
        return tuple(axis.length for axis in self.axes if not axis.is_index)

    @property
    def numel(self) -> int:
        total = 1
        for axis in self.axes:
            total *= axis.length
        return total


def parse_window(expression: str, shape: tuple[int, ...]) -> Window:
    raise NotImplementedError
