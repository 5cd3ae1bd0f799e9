"""Panes: how the tree, the facts and the values share the screen, and which of them has the keyboard."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.widgets.detail.tensor_detail import TensorDetail
from tui_params.tui.widgets.tree.module_tree import ModuleTree


class Panes:
    """Moves the room and the focus about. The layout itself is in ``app.tcss``, by the classes of the screen:

    ``-enlarged`` gives the detail the whole width, ``-values`` makes room for the values in a low terminal, and
    ``-at-place`` says that they were opened to show the place of a finding, until the cursor moves on.
    """

    def __init__(
        self,
        screen: Screen[None],
        tree: ModuleTree,
        detail: TensorDetail,
        notice: Notice,
        enlarge_key: Callable[[], str],
    ) -> None:
        self._screen = screen
        self._tree = tree
        self._detail = detail
        self._notice = notice
        self._enlarge_key = enlarge_key
        self._is_at_place = False

    @property
    def is_enlarged(self) -> bool:
        return self._screen.has_class("-enlarged")

    def shrink(self) -> None:
        """Give the tree its room back, wherever the keyboard is."""
        self._screen.set_class(False, "-enlarged")

    def toggle_enlarged(self) -> None:
        """Give the whole width to the detail, or give it back."""
        self._screen.toggle_class("-enlarged")
        (self._detail.facts if self.is_enlarged else self._tree).focus()

    def widen(self, step: int) -> None:
        self.set_tree_width(self._tree.outer_size.width + step)

    def set_tree_width(self, width: int) -> None:
        """Make the tree so many cells wide, as far as both panes keep room; a notice says why if it stays as it is."""
        if self.is_enlarged:
            self._notice.say(f"The detail has the whole width: {self._enlarge_key()} gives it back.")
        elif self._screen.has_class("-stacked"):
            self._notice.say("The panes are one above the other here.")
        else:
            before, after = self._tree.outer_size.width, max(20, min(width, self._screen.size.width - 24))
            self._tree.styles.width = after
            if after == before != width:
                self._notice.say("There is no room for more." if width > before else "The tree needs this width.")

    def focus_next(self) -> None:
        """Give the keyboard to the next of the tree, the facts, the slice and the values."""
        order: list[Widget] = [self._tree, self._detail.facts]
        if self._detail.info is not None:
            order.append(self._detail.field)
            if self._detail.grid.size.height:
                order.append(self._detail.grid)
        place = next((index for index, widget in enumerate(order) if widget.has_focus), -1)
        widget = order[(place + 1) % len(order)]
        if isinstance(widget, Input):
            self._screen.set_class(True, "-values")
        if widget is self._tree:
            self._screen.set_class(False, "-values")
        widget.focus()

    def edit_slice(self) -> None:
        """Make room for the values, and give the keyboard to their slice."""
        self._screen.set_class(True, "-values")
        self._detail.field.focus()

    def hide_values(self) -> None:
        """Take back the room that was made for values."""
        self._screen.set_class(False, "-values")

    def scroll_facts(self, step: int) -> None:
        """Scroll the facts by half their height, down or up."""
        facts = self._detail.facts
        facts.scroll_lines(facts.top + step * max(1, facts.size.height // 2))

    def show_place(self) -> None:
        """Make room for the values around the place of a finding."""
        # Where the terminal is too low for values beside the facts, they stay until the cursor moves on.
        self._is_at_place = not self._screen.has_class("-values")
        self._screen.set_class(True, "-values", "-at-place")

    def leave_place(self) -> None:
        """The cursor moves on: take back the room that was made for a place."""
        if self._is_at_place:
            self._is_at_place = False
            self._screen.set_class(False, "-values", "-at-place")
