"""Slice expressions, and the windows onto tensors that they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod

import msgspec

from tui_params.errors import SliceError

_INTEGER = re.compile(r"[+-]?\d+(?:_\d+)*", re.ASCII)
_LONGEST = 1000
"""Characters of an expression that are looked at; Python refuses to convert integers of more than 4300 digits."""


class Axis(msgspec.Struct, frozen=True, gc=False):
    """One dimension of a window: the indices ``start, start + step, ...``, ``length`` of them; ``step`` is not 0.

    ``is_index`` says that the expression had a plain integer there, so the dimension is dropped from the result.
    """

    start: int
    step: int
    length: int
    is_index: bool = False

    def index(self, position: int) -> int:
        """The tensor's own index at ``position`` of this axis."""
        return self.start + position * self.step

    def part(self, first: int, count: int) -> Axis:
        """The axis of at most ``count`` positions from ``first`` on, clipped to this one."""
        first = max(first, 0)
        length = min(count, self.length - first)
        # Beyond the last position there is no index to start from.
        return Axis(self.index(first), self.step, length, self.is_index) if length > 0 else Axis(0, 1, 0)

    def fixed(self, position: int) -> Axis:
        """The axis with one position, dropped from the result."""
        return Axis(self.index(position), 1, 1, True)

    def __str__(self) -> str:
        if self.is_index:
            return str(self.start)
        stop = self.start + self.length * self.step
        # A stop below 0 would count from the end: the first index, going down, is reached by leaving it out.
        text = f"{self.start}:{stop if stop >= 0 else ''}"
        return text if self.step == 1 else f"{text}:{self.step}"


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


def make_window(axes: tuple[Axis, ...]) -> Window:
    """The window of these axes, with the expression that means it, such as ``[0, 0:12]``."""
    return Window(axes, f"[{', '.join(map(str, axes))}]")


def pieces(window: Window, most: int) -> Iterator[Window]:
    """The window in parts of at most ``most`` elements (at least 1), one after the other in row-major order."""
    axes = window.axes
    if not window.numel:
        return
    # The axes from ``whole`` on fit into a part together; the one before them is cut.
    whole, inner = len(axes), 1
    while whole and inner * axes[whole - 1].length <= most:
        whole -= 1
        inner *= axes[whole].length
    if not whole:
        yield window
        return
    cut, step = axes[whole - 1], max(1, most // inner)
    outer = axes[: whole - 1]
    for number in range(prod(axis.length for axis in outer)):
        places: list[Axis] = []
        for axis in reversed(outer):
            number, place = divmod(number, axis.length)
            places.append(axis.part(place, 1))
        for first in range(0, cut.length, step):
            yield make_window((*reversed(places), cut.part(first, step), *axes[whole:]))


def parse_window(expression: str, shape: tuple[int, ...]) -> Window:
    """The window that ``expression`` (numpy basic indexing as text, brackets optional) means on a tensor of ``shape``.

    Slices are clipped to the shape, as in numpy; a plain index must lie inside. An empty expression is the whole
    tensor. Raises SliceError.
    """
    items = _items(expression)
    filled = _fill(items, len(shape))
    axes = tuple(
        _slice(item, size) if ":" in item else _index(item, axis, size)
        for axis, (item, size) in enumerate(zip(filled, shape, strict=True))
    )
    return Window(axes, f"[{', '.join(items) or '...'}]")


def _items(expression: str) -> list[str]:
    if len(expression) > _LONGEST:
        raise SliceError(f"the slice is {len(expression)} characters long; {_LONGEST} is the limit")
    text = expression.strip()
    if text.count("[") != text.count("]"):
        raise SliceError("the slice has an opening bracket without a closing one, or the other way round")
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1].strip()
    if not text:
        return []
    items = [re.sub(r"\s*:\s*", ":", item.strip()) for item in text.split(",")]
    if not items[-1] and len(items) > 1:
        items.pop()  # x[0,] is x[0].
    for position, item in enumerate(items, start=1):
        _check(item, position)
    return items


def _check(item: str, position: int) -> None:
    where = f"part {position} of the slice"
    if not item:
        raise SliceError(f"{where} is empty: write : for a whole dimension")
    if item == "...":
        return
    if item in {"None", "newaxis", "np.newaxis"}:
        raise SliceError(f"{where} is {item}, which adds a dimension; only indices, slices and ... are understood")
    if item in {"True", "False"} or "[" in item or "]" in item:
        raise SliceError(f"{where} picks by a list or a mask; only indices, slices and ... are understood")
    bounds = item.split(":")
    if len(bounds) > 3:
        raise SliceError(f"{where} has {len(bounds) - 1} colons; start:stop:step has at most two")
    for bound in bounds:
        if bound and not _INTEGER.fullmatch(bound):
            raise SliceError(f"{where} has {_quoted(bound)}, which is not an integer")
    if len(bounds) == 3 and bounds[2] and int(bounds[2]) == 0:
        raise SliceError(f"{where} has step 0; steps are 1, 2, ... or -1, -2, ...")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:23] + "…")


def _fill(items: list[str], ndim: int) -> list[str]:
    """The items with ``...``, written or meant, replaced by whole dimensions: one item per axis."""
    if items.count("...") > 1:
        raise SliceError("the slice has ... more than once")
    named = len(items) - items.count("...")
    if named > ndim:
        indices = "1 index" if named == 1 else f"{named} indices"
        dimensions = "1 dimension" if ndim == 1 else f"{ndim} dimensions"
        raise SliceError(f"{indices} for a tensor of {dimensions}")
    at = items.index("...") if "..." in items else len(items)
    return items[:at] + [":"] * (ndim - named) + items[at + 1 :]


def _index(item: str, axis: int, size: int) -> Axis:
    index = int(item)
    if -size <= index < size:
        return Axis(index % size, 1, 1, True)
    hint = f"use {-size} to {size - 1}" if size else "it has no elements"
    raise SliceError(f"index {_shortened(index)} is out of range for axis {axis} of size {size} ({hint})")


def _shortened(index: int) -> str:
    text = str(index)
    return text if len(text) <= 24 else f"{text[:12]}… ({len(text)} characters)"


def _slice(item: str, size: int) -> Axis:
    start, stop, step = slice(*(int(bound) if bound else None for bound in item.split(":"))).indices(size)
    length = max(0, (stop - start + step - (1 if step > 0 else -1)) // step)
    if length <= 1:
        # A step that is never taken may be of any size; readers multiply it by strides.
        step = 1
    return Axis(start if length else 0, step, length)


class Plane(msgspec.Struct, frozen=True, gc=False):
    """A window seen as a table: which of its axes run down and across, and the positions of the others.

    ``rows`` and ``columns`` are axis numbers of the tensor, or None where the result has fewer than two (or one)
    dimensions. ``leading`` are the other axes of the result, ``at`` their positions (from 0, within the window).
    """

    window: Window
    rows: int | None
    columns: int | None
    leading: tuple[int, ...]
    at: tuple[int, ...]

    @property
    def row_count(self) -> int:
        return 1 if self.rows is None else self.window.axes[self.rows].length

    @property
    def column_count(self) -> int:
        return 1 if self.columns is None else self.window.axes[self.columns].length

    def step(self, by: int) -> Plane:
        """The plane ``by`` places further in the order of the leading axes, the last one fastest; it wraps around."""
        lengths = [self.window.axes[axis].length for axis in self.leading]
        at = list(self.at)
        for place in reversed(range(len(at))):
            if not lengths[place]:
                return self
            by, at[place] = divmod(at[place] + by, lengths[place])
        return msgspec.structs.replace(self, at=tuple(at))

    def index(self, row: int, column: int) -> tuple[int, ...] | None:
        """The index, in the whole tensor, of the element at a position of the plane; None if there is no element."""
        places = dict(zip(self.leading, self.at, strict=True))
        places |= {axis: place for axis, place in ((self.rows, row), (self.columns, column)) if axis is not None}
        axes = self.window.axes
        if any(places.get(number, 0) >= axis.length for number, axis in enumerate(axes)):
            return None
        return tuple(axis.index(places.get(number, 0)) for number, axis in enumerate(axes))

    def position(self, index: tuple[int, ...]) -> tuple[int, int]:
        """The row and the column at which an index of the whole tensor would stand."""
        axes = self.window.axes
        row, column = (
            0 if axis is None else (index[axis] - axes[axis].start) // axes[axis].step
            for axis in (self.rows, self.columns)
        )
        return row, column

    def part(self, row: int, rows: int, column: int, columns: int) -> Window:
        """The window of at most ``rows`` by ``columns`` elements from position ``row``, ``column`` on.

        The leading axes are fixed; ``rows`` and ``columns`` stay dimensions of the result if the plane has them.
        """
        axes = list(self.window.axes)
        for axis, position in zip(self.leading, self.at, strict=True):
            length = axes[axis].length
            axes[axis] = axes[axis].fixed(position) if length else axes[axis].part(0, 0)
        if self.rows is not None:
            axes[self.rows] = axes[self.rows].part(row, rows)
        if self.columns is not None:
            axes[self.columns] = axes[self.columns].part(column, columns)
        return make_window(tuple(axes))


def is_kernel(shape: tuple[int, ...]) -> bool:
    """Whether a tensor looks like the kernel of a convolution, [out, in, ...]: what follows is small."""
    return 3 <= len(shape) <= 5 and 0 < max(shape[2:]) < 32


def plane(window: Window) -> Plane:
    """The plane that lies down at first, with the other dimensions of ``window``'s result at their first position.

    The last two dimensions; of a kernel of a convolution, where they are longer than what follows, out and in. A
    dimension of 1 lies down only where there are not two others.
    """
    kept = [number for number, axis in enumerate(window.axes) if not axis.is_index]
    if len(kept) < 2:
        return plane_of(window, None, kept[0] if kept else None)
    long = [number for number in kept if window.axes[number].length != 1]
    if len(long) < 2:
        beside = [number for number in kept if number not in long]
        long = sorted([*beside[len(long) - 2 :], *long])
    lengths = tuple(window.axes[number].length for number in long)
    is_turned = is_kernel(lengths) and min(lengths[:2]) > max(lengths[2:])
    rows, columns = long[:2] if is_turned else long[-2:]
    return plane_of(window, rows, columns)


def plane_of(window: Window, rows: int | None, columns: int | None) -> Plane:
    """The plane of two dimensions of ``window``'s result, by axis number, with the others at their first position.

    ``rows`` may be the larger number: then the plane is a transposed one.
    """
    kept = [number for number, axis in enumerate(window.axes) if not axis.is_index]
    leading = tuple(number for number in kept if number not in (rows, columns))
    return Plane(window, rows, columns, leading, (0,) * len(leading))
