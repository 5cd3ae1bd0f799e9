"""Edits: the thread that works out, makes and undoes edits of a live model, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.core.reading.outcome import reason_of
from tui_params.errors import StoppedError
from tui_params.tui.desk.messages import Edited, Proposed
from tui_params.tui.desk.worker import Worker

if TYPE_CHECKING:
    from tui_params.core.edits import Change, Edit, Editor, Proposal


class Edits:
    """Asks the editor on a thread of its own; ``post`` sends what came of it."""

    def __init__(self, editor: Editor, post: Callable[[Message], object]) -> None:
        self._editor = editor
        self._post = post
        self._worker = Worker("edits", lambda reason: None)
        self._wanted: object = None
        self._is_closed = False

    def propose(self, key: object, edit: Edit) -> None:
        """Ask what would come of an edit, answered by Proposed; only the latest question is."""
        self._wanted = key

        def is_over() -> bool:
            return self._is_closed or key != self._wanted

        def work() -> None:
            if is_over():
                return
            proposal, reason = None, ""
            try:
                proposal = self._editor.propose(edit, is_over)
            except StoppedError:
                return
            except MemoryError:
                reason = "there is not enough memory for it"
            except Exception as error:  # noqa: BLE001 - the dialog shows it, and nothing was written
                reason = reason_of(error)
            self._post(Proposed(key, proposal, reason))

        self._worker.do(work)

    def drop_question(self) -> None:
        """The answer is not awaited any more."""
        self._wanted = None

    def apply(self, proposals: tuple[Proposal, ...]) -> None:
        """Make all edits, or none; answered by Edited."""
        self._do(lambda: (self._editor.apply(proposals), None))

    def undo(self) -> None:
        """Undo the newest change; answered by Edited."""
        self._do(lambda: ((), self._editor.undo()))

    def _do(self, work: Callable[[], tuple[tuple[Change, ...], Change | None]]) -> None:
        def run() -> None:
            applied: tuple[Change, ...] = ()
            undone, reason = None, ""
            try:
                applied, undone = work()
            except MemoryError:
                reason = "there is not enough memory for it"
            except Exception as error:  # noqa: BLE001 - it is told beside the edits that were made
                reason = reason_of(error)
            self._post(Edited(applied, undone, self._editor.changes, self._editor.undoable, reason))

        self.drop_question()
        self._worker.do(run)

    def close(self) -> None:
        """Begin nothing more; an edit that is being made is finished."""
        self._is_closed = True
        self._worker.stop()
