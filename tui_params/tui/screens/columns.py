"""ColumnsScreen: which columns the tree shows, and in which order. Each change is seen behind it at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from tui_params.tui import keys
from tui_params.tui.state.columns import BY_NAME, COLUMNS
from tui_params.tui.state.sorting import is_offered
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import LinesView

_AROUND = 6
"""Lines of the box that are not columns: its border, and the keys below a blank line."""

_WIDENS = 72
"""Cells of the terminal from which on the panes are side by side (``ParamsApp.HORIZONTAL_BREAKPOINTS``)."""

Change = Callable[["tuple[str, ...] | None"], Sequence[str]]
"""Shows other columns (None: the usual ones), and returns those that there is room for."""


class ColumnsScreen(ModalScreen[None]):
    """A list of columns to switch on and off and to move; ``change`` applies what is chosen."""

    BINDINGS = [
        *keys.cursor_bindings(("step(-1)", "step(1)"), ("step(-9)", "step(9)"), ("step(-99)", "step(99)")),
        Binding("space,x", "switch", "on or off", show=False),
        Binding("K,shift+up", "move(-1)", "earlier", show=False),
        Binding("J,shift+down", "move(1)", "later", show=False),
        Binding("d", "usual", "the usual ones", show=False),
        Binding("enter,escape,q,vertical_line", "leave", "close", show=False),
    ]

    def __init__(
        self,
        glyphs: Glyphs,
        chosen: Sequence[str] | None,
        shown: Sequence[str],
        change: Change,
        *,
        is_live: bool,
        is_across: bool = False,
    ) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._is_live, self._is_across = is_live, is_across
        self._change = change
        self._shown: Sequence[str] = shown
        self.is_usual = chosen is None
        self.on: list[str] = list(shown if chosen is None else chosen)
        self.names: list[str] = self._all()
        self.at = 0

    def compose(self) -> ComposeResult:
        yield LinesView(id="columns", classes="-ascii" if self.glyphs.is_ascii else "")

    def on_mount(self) -> None:
        self.query_one(LinesView).border_title = "Columns"
        self._fill()

    def on_resize(self) -> None:
        self._fill()

    def _all(self) -> list[str]:
        """Those that are on, in their order, then the others."""
        has = {"is_live": self._is_live, "is_across": self._is_across}
        others = [
            column.name
            for column in COLUMNS
            if is_offered(column.name, of_live=column.is_live, of_across=column.is_across, **has)
        ]
        return self.on + [name for name in others if name not in self.on]

    def _fill(self) -> None:
        height = max(3, min(len(self.names), self.size.height - _AROUND - 2))
        top = max(0, min(self.at - height // 2, len(self.names) - height))
        lines: list[Line] = [self._line(at) for at in range(top, min(top + height, len(self.names)))]
        self._top = top
        hidden = (top, "above"), (len(self.names) - top - height, "below")
        more = ", ".join(f"{count} more {where}" for count, where in hidden if count > 0)
        lines += [
            [(f"      {more}", "dim")] if more else [],
            [("space", "accent"), (" on or off   ", "dim"), ("K J", "accent"), (" move", "dim")],
        ]
        lines.append([("d", "accent"), (" the usual columns   ", "dim"), ("enter", "accent"), (" closes", "dim")])
        view = self.query_one(LinesView)
        view.styles.height = len(lines) + 2  # and its border
        view.set_lines(lines)

    def _line(self, at: int) -> Line:
        column = BY_NAME[self.names[at]]
        is_on = column.name in self.on
        is_here = at == self.at
        # In a terminal so narrow the tree has the whole width already.
        hint = "no room: make the tree wider" if self.size.width >= _WIDENS else "no room: take others away"
        about = column.title if not is_on or column.name in self._shown else hint
        words = f"{self.glyphs.closed if is_here else ' '} [{'x' if is_on else ' '}] {column.heading:<9}"
        return [(words, "label" if is_here else "text"), (about, "dim")]

    def _apply(self) -> None:
        self._shown = self._change(None if self.is_usual else tuple(self.on))
        if self.is_usual:
            self.on = list(self._shown)
            self.names = self._all()
        self._fill()

    def action_step(self, step: int) -> None:
        self.at = max(0, min(self.at + step, len(self.names) - 1))
        self._fill()

    def action_switch(self) -> None:
        name = self.names[self.at]
        self.is_usual = False
        if name in self.on:
            self.on.remove(name)
        else:
            self.on = [each for each in self.names if each in self.on or each == name]
        self._apply()

    def action_move(self, step: int) -> None:
        to = self.at + step
        if not 0 <= to < len(self.names):
            return
        self.is_usual = False
        self.names[self.at], self.names[to] = self.names[to], self.names[self.at]
        self.at = to
        self.on = [name for name in self.names if name in self.on]
        self._apply()

    def action_usual(self) -> None:
        self.is_usual = True
        self.at = 0
        self._apply()

    def action_leave(self) -> None:
        self.dismiss(None)

    def on_click(self, event: events.Click) -> None:
        view = self.query_one(LinesView)
        at = event.screen_y - view.content_region.y + self._top
        if not view.region.contains(event.screen_x, event.screen_y):
            self.action_leave()
        elif self._top <= at < min(len(self.names), self._top + view.content_region.height - 3):
            self.at = at
            self.action_switch()
