"""EditsScreen: the edits that are staged and those that were made, what each does, and the keys for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from tui_params.core import text
from tui_params.core.edits import Change, Proposal
from tui_params.tui import keys
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import LinesView
from tui_params.tui.widgets.edit_lines import STAYS, brief_lines, change_words, changed_words, touched_lines

_BELOW = 13
"""Lines of the box that are no edits: its border, the page of the edit at the cursor, and the keys."""


class EditsView(NamedTuple):
    """What there is to show: the staged edits, the changes that were made, and how many of these can be undone."""

    staged: Sequence[Proposal]
    changes: Sequence[Change]
    undoable: int


class EditsScreen(ModalScreen[None]):
    """The staged edits above those that were made. ``drop`` forgets the staged one of a number."""

    BINDINGS = [
        *keys.cursor_bindings(("step(-1)", "step(1)"), ("step(-9)", "step(9)"), ("step(-999)", "step(999)")),
        *keys.bindings(keys.EDITS[2:]),
        Binding("d,delete", "drop", "drop", show=False),
        Binding("enter,escape,q", "leave", "close", show=False),
        Binding(keys.EDITS[1].keys, "leave", "close", show=False, id=keys.EDITS[1].id),
    ]

    def __init__(
        self,
        glyphs: Glyphs,
        see: Callable[[], EditsView],
        drop: Callable[[int], object],
        apply: Callable[[], object],
        undo: Callable[[], object],
    ) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._see = see
        self._drop = drop
        self._apply = apply
        self._undo = undo
        self._said = ""
        self.at = 0

    def compose(self) -> ComposeResult:
        yield LinesView(id="edits", classes="-ascii" if self.glyphs.is_ascii else "")

    def on_mount(self) -> None:
        self.query_one(LinesView).border_title = "Edits"
        given = getattr(getattr(self.app, "settings", None), "keys", {})
        self._keys = {name: keys.first(name, given) for name in ("apply", "undo")}
        self.refresh_edits()

    def on_resize(self) -> None:
        self.refresh_edits()

    def refresh_edits(self, said: str = "") -> None:
        """Show the edits as they are now, and a sentence about what has been done."""
        if not self.is_mounted:
            return
        self._said = said
        view = self._see()
        count = len(view.staged) + len(view.changes)
        self.at = max(0, min(self.at, count - 1))
        page = self.query_one(LinesView)
        width = max(20, min(100, self.size.width * 96 // 100) - 4)
        height = max(1, min(count, self.size.height * 96 // 100 - _BELOW))
        top = max(0, min(self.at - height // 2, count - height))
        lines = [self._row(view, at, width) for at in range(top, min(count, top + height))]
        if not count:
            lines = [[("No edits yet: = on a tensor or on values begins one.", "dim")]]
        lines += [[], *self._page(view, width), [], self._key_line()]
        page.styles.height = len(lines) + 2  # and its border
        page.set_lines(lines)

    def _row(self, view: EditsView, at: int, width: int) -> Line:
        is_staged = at < len(view.staged)
        # The newest change, which is undone first, stands first.
        change = self._change(view, at)
        made = at - len(view.staged)
        word = "staged" if is_staged else "made" if made < view.undoable else "final"
        mark = self.glyphs.closed if at == self.at else " "
        what = change_words(change)
        room = max(8, width - 12 - len(what))
        where = text.clean(change.name)
        where = f"{text.shorten_name(where, max(4, room - len(change.slice) - 1))} {change.slice}"
        style = "label" if at == self.at else "text"
        ink = "accent" if is_staged else "dim"
        return [(f"{mark} {word:<7}", ink), (text.shorten(where, room), style), (f"  {what}", "dim")]

    def _change(self, view: EditsView, at: int) -> Change:
        made = at - len(view.staged)
        return view.staged[at].change if made < 0 else view.changes[len(view.changes) - 1 - made]

    def _page(self, view: EditsView, width: int) -> list[Line]:
        if self._said:
            return touched_lines((), (self._said,), width, 5)
        if not view.staged and not view.changes:
            return []
        change = self._change(view, self.at)
        remarks = view.staged[self.at].remarks if self.at < len(view.staged) else ()
        counts = changed_words(change.changed, change.numel)
        lines: list[Line] = [*brief_lines(change.before, change.after, width), [(counts, "text")]]
        return [*lines, *touched_lines(change.also, (*remarks, STAYS), width, 4)]

    def _key_line(self) -> Line:
        pairs = ((self._keys["apply"], "applies"), (self._keys["undo"], "undoes"), ("d", "drops"), ("esc", "closes"))
        line: Line = []
        for key, word in pairs:
            line += [(key, "accent"), (f" {word}   ", "dim")]
        return line

    def action_step(self, step: int) -> None:
        self.at += step
        self.refresh_edits()

    def action_drop(self) -> None:
        if self.at < len(self._see().staged):
            self._drop(self.at)
            self.refresh_edits()
        else:
            self.refresh_edits("Only a staged edit can be dropped; one that was made is undone.")

    def action_apply_edits(self) -> None:
        self._apply()

    def action_undo_edit(self) -> None:
        self._undo()

    def action_leave(self) -> None:
        self.dismiss(None)
