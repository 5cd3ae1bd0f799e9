"""Box: a rectangular part of a tensor without steps, and the boxes that cover a run of its elements."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from tui_params.core.window import Axis, Window, make_window

Box = tuple[tuple[int, int], ...]
"""The first index and the one beyond the last, of each dimension."""


def lengths(box: Box) -> tuple[int, ...]:
    """The shape of a box."""
    return tuple(stop - start for start, stop in box)


def window_of(box: Box) -> Window:
    """The window that has the elements of a box, with all its dimensions."""
    return make_window(tuple(Axis(start, 1, stop - start) for start, stop in box))


def box_of(window: Window) -> tuple[Box, tuple[slice, ...]]:
    """The smallest box around a window, and the slices that pick the window's elements out of it."""
    box, picks = [], []
    for axis in window.axes:
        if not axis.length:
            box.append((0, 0))
            picks.append(slice(0, 0, 1))
            continue
        ends = axis.index(0), axis.index(axis.length - 1)
        first = min(ends)
        box.append((first, max(ends) + 1))
        stop = axis.start - first + axis.step * axis.length
        picks.append(slice(axis.start - first, None if stop < 0 else stop, axis.step))
    return tuple(box), tuple(picks)


def boxes(shape: tuple[int, ...], start: int, stop: int, most: int) -> Iterator[Box]:
    """The elements ``start:stop`` of a row-major tensor as boxes of at most ``most`` elements (at least 1).

    Together they have each element once, in order.
    """
    if not shape:
        if start < stop:
            yield ()
        return
    inner = prod(shape[1:])
    while start < stop:
        row, rest = divmod(start, inner)
        whole = 0 if rest else min((stop - start) // inner, most // inner)
        if whole:
            yield ((row, row + whole), *((0, size) for size in shape[1:]))
            start += whole * inner
        else:
            # A part of one row of the first dimension, or a row that is too long.
            end = min(stop, (row + 1) * inner)
            for box in boxes(shape[1:], start - row * inner, end - row * inner, most):
                yield ((row, row + 1), *box)
            start = end
