"""FetchQuestion: what the timeline asks before much of a run elsewhere is fetched."""

from __future__ import annotations

from collections.abc import Callable

from tui_params.tui.desk.timeline_desk import FetchWaits
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.state.transfer_words import Amount, question


class FetchQuestion:
    """``waits`` is what the desk waits for; ``key_of`` gives the key of an id, ``width`` the cells of the screen."""

    def __init__(self, notice: Notice, key_of: Callable[[str], str], width: Callable[[], int]) -> None:
        self.waits: FetchWaits | None = None
        self._notice = notice
        self._key_of = key_of
        self._width = width

    def take(self, waits: FetchWaits) -> None:
        """The desk waits: ask."""
        self.waits = waits
        self._ask(waits)

    def agree(self) -> bool:
        """The key for it was pressed: True if the question stood there already, and its answer is yes."""
        if self.waits is None:
            self._notice.say("Nothing waits to be fetched.")
            return False
        is_agreed = self._ask(self.waits)
        if is_agreed:
            self.waits = None
        return is_agreed

    @property
    def words(self) -> str:
        """What stands in the place of the tensors; empty if nothing waits."""
        return f"Nothing is read yet: {self._key_of('fetch')} fetches it." if self.waits is not None else ""

    def _ask(self, waits: FetchWaits) -> bool:
        key, leave, room = self._key_of("fetch"), self._key_of("clear"), self._width() - 2
        return self._notice.ask("fetch", question(key, "reads", Amount(waits.nbytes), waits.address, leave, room))
