"""Place: where one stands in a tensor. Every lens of the tensor screen shows the same one."""

from __future__ import annotations

import msgspec

from tui_params.core.window import Axis, Plane, parse_window, plane, plane_of
from tui_params.errors import SliceError


class Place(msgspec.Struct, frozen=True, gc=False):
    """A plane of a tensor (the two axes that lie down, and the positions of the others), and an element of it.

    ``shape`` is the tensor's. ``row`` and ``column`` are positions in the plane, from 0; a slice may leave elements
    out, so they are not the element's own indices.
    """

    shape: tuple[int, ...]
    plane: Plane
    row: int = 0
    column: int = 0

    @property
    def index(self) -> tuple[int, ...] | None:
        """The index of the element, in the whole tensor; None where the plane has no element."""
        return self.plane.index(self.row, self.column)

    @property
    def expression(self) -> str:
        """The slice of which the plane is a part, as it was written."""
        return self.plane.window.expression

    def at(self, row: int, column: int) -> Place:
        """The place at a position of the same plane, or the nearest that there is."""
        row = max(0, min(row, self.plane.row_count - 1))
        column = max(0, min(column, self.plane.column_count - 1))
        return msgspec.structs.replace(self, row=row, column=column)

    def moved(self, rows: int, columns: int) -> Place:
        return self.at(self.row + rows, self.column + columns)

    def stepped(self, by: int) -> Place:
        """The same position in a later (or earlier) plane, in the order of the leading axes; it wraps around."""
        return msgspec.structs.replace(self, plane=self.plane.step(by))

    def to(self, index: tuple[int, ...]) -> Place:
        """The place of an element of the whole tensor; a slice that leaves it out is given up."""
        view = self.plane
        if not all(_holds(axis, at) for axis, at in zip(view.window.axes, index, strict=True)):
            whole = plane(parse_window("", self.shape))
            is_flat = view.rows is None or view.columns is None
            view = whole if is_flat else plane_of(whole.window, view.rows, view.columns)
        position = [(at - axis.start) // axis.step for axis, at in zip(view.window.axes, index, strict=True)]
        row, column = (0 if axis is None else position[axis] for axis in (view.rows, view.columns))
        view = msgspec.structs.replace(view, at=tuple(position[axis] for axis in view.leading))
        return Place(self.shape, view, row, column)

    def within(self, index: tuple[int, ...]) -> Place:
        """The place of an element of the whole tensor, if the slice has it; else this one."""
        axes = self.plane.window.axes
        return self.to(index) if all(_holds(axis, at) for axis, at in zip(axes, index, strict=True)) else self

    def laid(self, rows: int, columns: int) -> Place:
        """The same element in the plane of two other axes of the slice."""
        index = self.index
        turned = Place(self.shape, plane_of(self.plane.window, rows, columns))
        return turned if index is None else turned.to(index)

    def carried(self, shape: tuple[int, ...]) -> Place:
        """The same place in a tensor of another shape, or the nearest that it has; the slice and axes stay if they can.

        Where it has other dimensions, the first element of all.
        """
        if shape == self.shape:
            return self
        if len(shape) != len(self.shape) or not all(shape):
            return first_place(shape)
        view = self.plane
        try:
            window = parse_window(view.window.expression, shape)
        except SliceError:
            window = parse_window("", shape)
        if any(axis.is_index != old.is_index for axis, old in zip(window.axes, view.window.axes, strict=True)):
            return first_place(shape)
        there = plane_of(window, view.rows, view.columns)
        lengths = [window.axes[axis].length for axis in there.leading]
        if not window.numel:
            return first_place(shape)
        at = tuple(min(place, length - 1) for place, length in zip(view.at, lengths, strict=True))
        return Place(shape, msgspec.structs.replace(there, at=at)).at(self.row, self.column)


def first_place(shape: tuple[int, ...], expression: str = "") -> Place:
    """The first element of a slice of a tensor, in the plane that lies down at first. Raises SliceError."""
    return Place(shape, plane(parse_window(expression, shape)))


def _holds(axis: Axis, at: int) -> bool:
    """Whether the index ``at`` of the tensor is among those of the slice."""
    far, rest = divmod(at - axis.start, axis.step)
    return not rest and 0 <= far < axis.length
