"""Editing: edits of a live model: staged in a dialog, applied and undone on a thread, and what follows on screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.screen import Screen

from tui_params.core import text
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis, make_window, parse_window
from tui_params.tui.desk.messages import Edited, Proposed
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.detail.tensor_detail import TensorDetail

if TYPE_CHECKING:
    from tui_params.core.edits import Change, Edit, Editor, Proposal
    from tui_params.tui.desk.editing import Edits
    from tui_params.tui.screens.edit import EditScreen, Target
    from tui_params.tui.screens.edits import EditsScreen, EditsView

_ALL = 1 << 62
READ_ONLY = "Read-only: only explore(model, editable=True) opens a model whose values can be set."


def _edits_with(editor: Editor, screen: Screen[None]) -> Edits:
    from tui_params.tui.desk.editing import Edits

    return Edits(editor, screen.post_message)


class Editing:
    """Stages, applies and undoes edits; ``renew`` is called with the names whose values have changed.

    Without an editor, every key says that this is read-only.
    """

    def __init__(
        self,
        editor: Editor | None,
        session: Session,
        screen: Screen[None],
        detail: TensorDetail,
        notice: Notice,
        glyphs: Glyphs,
        changed: Callable[[], None],
        renew: Callable[[frozenset[str]], None],
        key_of: Callable[[str], str],
    ) -> None:
        self.staged: tuple[Proposal, ...] = ()
        self.changes: tuple[Change, ...] = ()
        self.undoable = 0
        self._is_applying = False
        self._undoing = 0
        self._edits = _edits_with(editor, screen) if editor is not None else None
        self._session = session
        self._screen = screen
        self._detail = detail
        self._notice = notice
        self._glyphs = glyphs
        self._changed = changed
        self._renew = renew
        self._key_of = key_of
        self._asked: object = None
        """The question whose answer is still to come."""
        self._dialog: EditScreen | None = None
        self._list: EditsScreen | None = None
        self._was_warned = False

    @property
    def is_busy(self) -> bool:
        """Whether edits are being applied or undone."""
        return self._is_applying or self._undoing > 0

    @property
    def is_settled(self) -> bool:
        return not self.is_busy and self._asked is None

    @property
    def words(self) -> str:
        """What the header says: whether values can be set, and how many edits wait; nothing for a file."""
        opened = self._session.opened
        if self._edits is None:
            return "read-only" if opened is not None and opened.content.is_live else ""
        counts = [(len(self.staged), "staged"), (len(self.changes), "made")]
        edits = [f"{count:,} {what}" for count, what in counts if count]
        if not edits:
            return "editable"
        first, *rest = edits
        count = len(self.staged) or len(self.changes)
        first = first.replace(" ", " edit " if count == 1 else " edits ")
        return f"editable: {', '.join([first, *rest])}"

    @property
    def is_editable(self) -> bool:
        return self._edits is not None

    # The dialog

    def open(self) -> None:
        """Open the dialog for the tensor that is shown, at the value at the cursor, the slice, or the whole of it."""
        info = self._detail.info
        if self._edits is None:
            self._notice.say(READ_ONLY)
        elif info is None:
            self._notice.say("Only a tensor has values: move to one first.")
        elif self._dialog is not None:
            return  # the key came twice before it was on screen
        elif info.unreadable is not None:
            self._notice.say(f"Its values cannot be set: {text.clean(info.unreadable, 200)}")
        else:
            from tui_params.tui.screens.edit import EditScreen

            targets = self._targets(info)
            self._dialog = EditScreen(self._glyphs, info, targets, self._ask, self._stage, self.apply)
            self._screen.app.push_screen(self._dialog, self._forget)

    def _forget(self, _: object) -> None:
        self._dialog = self._asked = None
        if self._edits is not None:
            self._edits.drop_question()

    def _targets(self, info: TensorInfo) -> list[Target]:
        """What there is of these: the value at the cursor, the slice that was chosen, the table shown, the tensor."""
        from tui_params.tui.screens.edit import Target

        whole, grid = parse_window("", info.shape), self._detail.grid
        targets = []
        if grid.cell is not None and info.shape and len(grid.cell) == len(info.shape):
            cell = make_window(tuple(Axis(place, 1, 1, True) for place in grid.cell))
            targets.append(Target("cell", cell))
        view = grid.view
        if view is not None and view.window.axes != whole.axes:
            targets.append(Target("slice", make_window(view.window.axes)))
        if view is not None and view.leading and view.window.numel:
            targets.append(Target("table", view.part(0, _ALL, 0, _ALL)))
        return [*targets, Target("tensor", whole)]

    def _ask(self, key: object, edit: Edit) -> None:
        if self._edits is not None:
            self._asked = key
            self._edits.propose(key, edit)

    def _stage(self, proposal: Proposal) -> str:
        """Put an edit on the list; returns why it is not put there, if so."""
        from tui_params.core.edits import overlap
        from tui_params.tui.widgets.edit_lines import change_words

        other = next((each for each in self.staged if overlap(proposal, each)), None)
        if other is not None:
            words = change_words(other.change)
            return f"a staged edit touches these values already ({words}): apply it first, or drop it"
        self.staged = (*self.staged, proposal)
        self._was_warned = False
        apply, edits = self._key_of("apply"), self._key_of("edits")
        self._notice.say(f"Staged, not written: {apply} applies, {edits} lists.", seconds=30)
        self._changed()
        return ""

    def take_proposed(self, message: Proposed) -> None:
        if message.key == self._asked:
            self._asked = None
        if self._dialog is not None:
            self._dialog.take(message.key, message.proposal, message.reason)

    # The list

    def list(self) -> None:
        if self._edits is None:
            self._notice.say(READ_ONLY)
        if self._edits is None or self._list is not None:
            return
        from tui_params.tui.screens.edits import EditsScreen

        self._list = EditsScreen(self._glyphs, self._view, self._drop, self.apply, self.undo)
        self._screen.app.push_screen(self._list, self._forget_list)

    def _forget_list(self, _: object) -> None:
        self._list = None

    def _view(self) -> EditsView:
        from tui_params.tui.screens.edits import EditsView

        return EditsView(self.staged, self.changes, self.undoable)

    def _drop(self, at: int) -> None:
        self.staged = (*self.staged[:at], *self.staged[at + 1 :])
        self._changed()

    # Writing

    def apply(self) -> None:
        """Write all staged edits, or none."""
        if self._edits is None:
            self._notice.say(READ_ONLY)
        elif self.is_busy:
            self._say("An edit is being written already.")
        elif not self.staged:
            self._say(f"No edit is staged: {self._key_of('edit')} on a tensor or on values begins one.")
        else:
            self._is_applying = True
            self._edits.apply(self.staged)

    def undo(self) -> None:
        """Put back the bytes before the newest edit."""
        if self._edits is None:
            self._notice.say(READ_ONLY)
        elif self._is_applying:
            self._say("An edit is being written already.")
        elif self.undoable <= self._undoing:
            self._say("No other edit can be undone." if self.changes else "No edit was made.")
        else:
            self._undoing += 1
            self._edits.undo()

    def take_edited(self, message: Edited) -> None:
        """Take what came of applying or undoing, and have what was touched read again."""
        if self._is_applying:
            self._is_applying = False
        else:
            self._undoing -= 1
        self.changes, self.undoable = message.changes, message.undoable
        if message.applied:
            self.staged = ()
            self._say(f"Wrote {text.plural(len(message.applied), 'edit')}: {self._key_of('undo')} undoes the newest.")
        elif message.undone is not None:
            self._say(self._undone_words(message.undone))
        else:
            # Nothing was written, but what is on screen may be out of date.
            reason = text.clean(message.reason, 300)
            self._say(f"{reason[:1].upper()}{reason[1:]}.")
            self._screen.notify(reason, title="Nothing was written", severity="error", timeout=30, markup=False)
        changes = (message.undone,) if message.undone is not None else message.applied
        if message.reason:
            changes = (*self.changes, *(proposal.change for proposal in self.staged))
        self._renew(frozenset(name for change in changes for name in (change.name, *change.also)))
        self._changed()

    def _undone_words(self, undone: Change) -> str:
        """What was undone; the staged edits that were worked out from what was there before are dropped."""
        from tui_params.tui.widgets.edit_lines import change_words

        touched = {undone.name, *undone.also}
        kept = tuple(each for each in self.staged if not touched & {each.edit.name, *each.also})
        dropped, self.staged = len(self.staged) - len(kept), kept
        words = f"Undone, byte for byte: {change_words(undone)} in {text.clean(undone.name, 60)}."
        what = text.plural(dropped, "edit", "edits")
        return f"{words} Dropped, as the values are others now: {what} of it that was staged." if dropped else words

    def _say(self, words: str) -> None:
        if self._list is not None:
            self._list.refresh_edits(words)
        self._notice.say(words, seconds=30)

    # The end

    def warn_before_leaving(self) -> bool:
        """Whether to stay, because staged edits would be lost; asked again, it lets go."""
        if not self.staged or self._was_warned:
            return False
        self._was_warned = True
        words = f"{text.plural(len(self.staged), 'edit is', 'edits are')} staged and not applied: once more leaves."
        self._say(words)
        return True

    def close(self) -> None:
        if self._edits is not None:
            self._edits.close()
