"""Arrangement: the columns of the tree and the order that it is in, as far as a row and the headings show them."""

from __future__ import annotations

import msgspec

from tui_params.tui.state.columns import Content, Layout, lay_out
from tui_params.tui.state.sorting import Shown
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.tree.tree_row import heading_line


class Arrangement:
    """Which columns there are, kept for one width at a time.

    ``content`` is what the columns of this source need, ``wanted`` are those that the user chose (None: the usual
    ones), ``shown`` is the one that the tree is sorted by, and ``is_flat`` says whether it is one list of full names.
    ``axis`` are the ends of the axis that sparklines share, if some do.
    """

    def __init__(self) -> None:
        self.content = Content()
        self.wanted: tuple[str, ...] | None = None
        self.shown: Shown | None = None
        self.is_flat = False
        self.axis: tuple[float, float] | None = None
        self._is_compared = self._is_across = False
        self._layout: tuple[int, Layout] | None = None

    def change(self) -> None:
        """Something of it was changed: lay the columns out anew."""
        self._layout = None

    def compare(self, *, is_compared: bool, is_across: bool = False) -> None:
        """Whether tensors are compared with an earlier look or another source, so that their changes are shown."""
        self._is_compared, self._is_across = is_compared and not is_across, is_across
        self._layout = None

    @property
    def sorted_by(self) -> str:
        return self.shown.name if self.shown is not None else ""

    def layout(self, width: int) -> Layout:
        """The columns of a tree ``width`` cells wide."""
        if self._layout is None or self._layout[0] != width:
            compared = {"is_compared": self._is_compared, "is_across": self._is_across}
            content = msgspec.structs.replace(self.content, **compared)
            found = lay_out(width, self.wanted, content, sorted_by=self.sorted_by, is_flat=self.is_flat)
            self._layout = width, found
        return self._layout[1]

    def heading(self, width: int, glyphs: Glyphs) -> Line:
        """The line of headings."""
        is_ascending = self.shown is not None and self.shown.is_ascending
        is_live = self.content.is_live
        layout, by = self.layout(width), self.sorted_by
        return heading_line(layout, glyphs, by, is_ascending=is_ascending, is_live=is_live, axis=self.axis)
