"""Layouts: how the lines of one tensor lie in another: transposed, in another order, or as a part of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.compare.elsewhere import How
from tui_params.core.compare.lines import Digests, Lines

Places = NDArray[np.intp]

_MOST_STARTS = 64

_LEAST_NBYTES = 16
"""A shorter line may be anywhere in a large tensor: that all are there in some order would mean nothing."""

FEWEST_ORDERED = 8
"""Distinct rows that another order must have to be told, unless all are distinct."""


class Layout(msgspec.Struct, frozen=True):
    """How two tensors have the same values.

    "same": in the same places. "reshaped": in the same order, with another shape. "transposed": the first two
    dimensions, or the last two of a stack, are exchanged. "rows", "columns": they stand in another order. "part": one
    is a part of the other, whose ``slice`` it is; ``of`` is the side of the whole. A part may be ``is_transposed``.
    """

    how: How
    of: Literal["a", "b"] | None = None
    slice: str | None = None
    is_transposed: bool = False


def layout_of(a: Lines, b: Lines) -> Layout | None:
    """The first layout that explains all lines of the smaller one; None if there is none."""
    if a.view.item != b.view.item:
        return None
    if a.view.width == b.view.width and a.rows.size == b.rows.size:
        if np.array_equal(a.rows, b.rows):
            return Layout("same")
        if _has_same(a.rows, b.rows):
            return Layout("rows")
    if a.columns is not None and b.columns is not None:
        if np.array_equal(a.rows, b.columns.reshape(-1)) and a.view.planes == b.view.planes:
            return Layout("transposed")
        is_pair = a.view.planes == b.view.planes == 1 and a.view.rows == b.view.rows
        if is_pair and a.view.columns == b.view.columns and _has_same(a.columns[0], b.columns[0]):
            return Layout("columns")
    if _numel(a) < _numel(b):
        return _part(a, b, "b")
    return _part(b, a, "a") if _numel(b) < _numel(a) else None


def _numel(lines: Lines) -> int:
    return lines.rows.size * lines.view.columns


def _part(part: Lines, whole: Lines, of: Literal["a", "b"]) -> Layout | None:
    if part.view.width == whole.view.width:
        found = _slice_of(part.rows, whole.rows, part.view.width)
        if found is not None:
            return Layout("part", of, _expression(found, part, whole))
    if whole.columns is None:
        return None
    if part.view.width == whole.view.rows * whole.view.item:
        for plane, columns in enumerate(whole.columns):
            found = _slice_of(part.rows, columns, part.view.width)
            if found is not None and part.view.kind == "row":
                return Layout("part", of, f"[:, {found.start}]")
            if found is not None:
                return Layout("part", of, _of_plane(found, plane, whole), True)
    if part.columns is not None and part.view.planes == whole.view.planes == 1 and part.view.rows == whole.view.rows:
        found = _slice_of(part.columns[0], whole.columns[0], part.view.rows * part.view.item)
        if found is not None:
            return Layout("part", of, found.text(axis=1))
    return None


class _Slice(msgspec.Struct, frozen=True):
    """``numel`` lines: ``run`` of every ``step``, from ``start`` on; or all in another order if ``run`` is 0."""

    start: int
    run: int
    step: int
    numel: int

    @property
    def is_contiguous(self) -> bool:
        return self.run == self.numel

    def text(self, axis: int = 0) -> str:
        """The slice expression, or, of lines that no expression has, what they are."""
        before = ":, " * axis
        lines = ("rows", "columns")[axis]
        if not self.run:
            return f"{self.numel:,} {lines}, in another order"
        if self.is_contiguous:
            return f"[{before}{self.start}:{self.start + self.numel}]"
        if self.run == 1:
            return f"[{before}{self.start}:{self.start + (self.numel - 1) * self.step + 1}:{self.step}]"
        return f"[{before}{self.start}:{self.start + self.run}] and so on, {self.run:,} of every {self.step:,} {lines}"


def _expression(found: _Slice, part: Lines, whole: Lines) -> str:
    """Rows of all planes as a slice of the tensor."""
    rows = whole.view.rows
    if part.view.kind == "row":
        return f"[{found.start}]"
    if whole.view.kind != "stack":
        return found.text()
    if found.is_contiguous and found.start // rows == (found.start + found.numel - 1) // rows:
        plane, first = divmod(found.start, rows)
        return f"[{plane}]" if found.numel == rows else f"[{plane}, {first}:{first + found.numel}]"
    if found.is_contiguous and not found.start % rows and not found.numel % rows:
        return f"[{found.start // rows}:{(found.start + found.numel) // rows}]"
    return f"{found.text()} of the rows of all matrices" if found.run else found.text()


def _of_plane(found: _Slice, plane: int, whole: Lines) -> str:
    """Columns of one plane as a slice of the tensor."""
    if whole.view.kind != "stack":
        return found.text(axis=1)
    if found.is_contiguous and found.numel == whole.view.columns:
        return f"[{plane}]"
    return f"[{plane}, {found.text(axis=1).removeprefix('[')}" if found.run else f"[{plane}]: {found.text(axis=1)}"


def _slice_of(part: Digests, whole: Digests, nbytes: int) -> _Slice | None:
    """Where the lines of a part, of ``nbytes`` each, are in a whole; None if one of them is missing there."""
    size = part.size
    starts = np.flatnonzero(whole == part[0])
    if size > whole.size or not starts.size:
        return None
    # Without sorting: an expert among hundreds, a part of a fused weight.
    for start in starts[:_MOST_STARTS].tolist():
        if np.array_equal(whole[start : start + size], part):
            return _Slice(start, size, size, size)
    order = np.argsort(whole, kind="stable")
    ranked = whole[order]
    first = np.searchsorted(ranked, part)
    if not np.array_equal(ranked[np.minimum(first, whole.size - 1)], part):
        return None
    for found in _regular(part, whole, order, ranked, first):
        if np.array_equal(whole[_places(found)], part):
            return found
    if nbytes < _LEAST_NBYTES:
        return None
    # Each line at most as often as in the whole.
    last = np.searchsorted(ranked, part, side="right")
    _, index, counts = np.unique(part, return_index=True, return_counts=True)
    is_there = bool((counts <= (last - first)[index]).all())
    return _Slice(0, 0, 0, part.size) if is_there and _is_telling(index.size, part.size) else None


def _regular(part: Digests, whole: Digests, order: Places, ranked: Digests, first: Places) -> Iterator[_Slice]:
    """Slices that agree with the places of the lines that the whole has once, the simplest first."""
    last = np.searchsorted(ranked, part, side="right")
    once = np.flatnonzero(last - first == 1)
    size = part.size
    if not once.size:
        return
    places = order[first[once]]
    at, place = int(once[0]), int(places[0])
    start = place - at
    if 0 <= start <= whole.size - size:
        yield _Slice(start, size, size, size)
    if once.size < 2:
        return
    step, rest = divmod(int(places[1]) - place, int(once[1]) - at)
    if step > 1 and not rest:
        start = place - at * step
        if 0 <= start <= whole.size - (size - 1) * step - 1:
            yield _Slice(start, 1, step, size)
    # Runs of the same length at the same distance: the parts of each head of attention.
    shift = places - once
    jumps = np.flatnonzero(np.diff(shift))
    if jumps.size and shift[0] >= 0:
        run = int(once[jumps[0] + 1])
        step = int(shift[jumps[0] + 1] - shift[0]) + run
        if step > run and not size % run and shift[0] + (size // run - 1) * step + run <= whole.size:
            yield _Slice(int(shift[0]), run, step, size)


def _places(found: _Slice) -> Places:
    number = np.arange(found.numel)
    return found.start + number // found.run * found.step + number % found.run


def _has_same(a: Digests, b: Digests) -> bool:
    """Whether both have the same lines, each equally often, and enough different ones for that to mean something."""
    ordered = np.sort(a)
    if not np.array_equal(ordered, np.sort(b)):
        return False
    return _is_telling(1 + int(np.count_nonzero(ordered[1:] != ordered[:-1])), a.size)


def _is_telling(distinct: int, size: int) -> bool:
    return distinct >= min(FEWEST_ORDERED, size) and size > 1
