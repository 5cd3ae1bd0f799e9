"""Where the cells of a matrix are: how wide they are, and how many fit beside their headers."""

from __future__ import annotations

import msgspec

from tui_params.core.layers.planes import Plane

LEAST_FOR_VALUE = 6
"""Cells of a column from which on a value can be written into it, with a blank behind it."""

_NARROWEST, _WIDEST = 7, 15
"""Cells of a column with the name of a kind, with a blank behind it."""

_WIDEST_SPLIT = 9
"""Cells of a column with a number at its head."""


class Grid(msgspec.Struct, frozen=True):
    """``label`` characters for the number of a layer, then ``columns`` cells of ``wide`` characters in ``rows`` lines.

    Above the rows is a line of names, below them three: the scale, the name at the cursor, its value.
    """

    label: int
    wide: int
    columns: int
    rows: int

    @property
    def has_values(self) -> bool:
        """Whether there is room for values in the cells."""
        return self.wide >= LEAST_FOR_VALUE


def lay_out(plane: Plane, width: int, height: int) -> Grid:
    """The grid of a plane in a widget of that size."""
    label = max(len("layer"), *(len(str(row)) for row in (plane.rows[0], plane.rows[-1]))) + 2
    room, count = max(1, width - label), len(plane.columns)
    if plane.is_split:
        wide = min(room // count, _WIDEST_SPLIT)
        wide = wide if wide >= LEAST_FOR_VALUE else max(1, min(wide, 2))
    else:
        wide = max(_NARROWEST, min(room // count, _WIDEST))
    wide = min(wide, room)
    return Grid(label, wide, max(1, min(count, room // wide)), max(1, min(len(plane.rows), height - 4)))


def reach(first: int, cursor: int, shown: int, count: int) -> int:
    """The first of ``shown`` rows or columns out of ``count``, moved no more than brings the cursor among them."""
    first = min(max(first, cursor - shown + 1), cursor)
    return max(0, min(first, count - shown))
