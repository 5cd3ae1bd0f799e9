"""Transfer: what the user is asked, and asks for, where the source is elsewhere and each byte has to be fetched."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_params.core import text
from tui_params.tui.screens.explorer import delays
from tui_params.tui.screens.explorer.against import Against
from tui_params.tui.screens.explorer.delays import Delays
from tui_params.tui.screens.explorer.meter import Meter
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.questions import Questions
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.state.transfer_words import Amount, question
from tui_params.tui.widgets.tree.module_tree import ModuleTree

if TYPE_CHECKING:
    from tui_params.core.reading.scanner import Activity
    from tui_params.tui.desk.fetching import Fetching


class Transfer:
    """The key that fetches, the questions before much is fetched, and how far a tensor is."""

    def __init__(
        self,
        session: Session,
        tree: ModuleTree,
        questions: Questions,
        against: Against,
        meter: Meter,
        waiting: Delays,
        notice: Notice,
        key_of: Callable[[str], str],
        width: Callable[[], int],
    ) -> None:
        self._session = session
        self._tree = tree
        self._questions = questions
        self._against = against
        self._meter = meter
        self._waiting = waiting
        self._notice = notice
        self._key_of = key_of
        self._width = width

    @property
    def _fetchings(self) -> list[Fetching]:
        desk = self._session.desk
        if desk is None:
            return []
        pairs = desk.asking.pairs
        return [desk.fetching, *([pairs.fetching] if pairs is not None else [])]

    def fetch(self) -> None:
        """Fetch the tensor at the cursor; or compare with a source elsewhere, which waits for that."""
        pages, fetchings = self._session.pages, self._fetchings
        if pages is None:
            return
        if not any(each.is_far for each in fetchings):
            self._notice.say("Nothing has to be fetched: what is open is on this machine.")
        elif self._against.waits:
            self._against.ask_to_begin()
        else:
            info = pages.tensor_at(self._tree.cursor)
            if info is None:
                self._notice.say(f"{self._key_of('fetch')} fetches a tensor: move to one first.")
                return
            tolls = [(each, each.toll(info)) for each in fetchings]
            if not any(toll for _, toll in tolls):
                self._notice.say("It is fetched already, or is being fetched.")
                return
            for each, toll in tolls:
                if toll:
                    each.agree(info, toll)
            self._notice.clear()
            self._questions.ask()
            self._questions.show()

    def stop(self) -> bool:
        """Fetch no more of the tensors that the user asked for; False if all of them are here."""
        desk, pages = self._session.desk, self._session.pages
        if desk is None or pages is None:
            return False
        left = [name for name in desk.fetching.agreed if desk.figures(name) is None and name not in pages.reasons]
        for name in left:
            desk.fetching.withdraw(name)
        if left:
            pages.reading = ("", "")
            self._notice.say(f"Stopped; what has come of {text.name(left[-1], 60)} is kept.")
            self._questions.ask()
            self._questions.show()
        return bool(left)

    def may_read_all(self, notice: Notice, key: str) -> bool:
        """Whether everything may be read: where much would be fetched, ``notice`` asks first. ``key`` is an id."""
        desk = self._session.desk
        is_new = desk is not None and desk.fetching.is_far and not desk.is_sweeping
        amount = desk.fetching.figures_total(desk.left) if desk is not None and is_new else Amount(0)
        return self._may(notice, "scan", self._key_of(key), amount)

    def may_verify(self) -> bool:
        """Whether all files may be read, for their digests."""
        opened, desk = self._session.opened, self._session.desk
        is_far = opened is not None and desk is not None and desk.fetching.is_far
        amount = desk.fetching.total(opened.source) if opened is not None and desk is not None and is_far else Amount(0)
        return self._may(self._notice, "verify", self._key_of("verify"), amount)

    def _may(self, notice: Notice, what: str, key: str, amount: Amount) -> bool:
        desk = self._session.desk
        line = desk.fetching.line if desk is not None else None
        if desk is None or line is None or amount.nbytes <= desk.fetching.below:
            return True
        room = self._width() - 2
        return notice.ask(
            what,
            question(key, "reads", amount, line.address, self._key_of("clear"), room),
        )

    def take_activity(self, activity: Activity | None) -> None:
        """Say on the page how far the tensor is that is being fetched."""
        pages, desk = self._session.pages, self._session.desk
        if pages is None or desk is None or not desk.fetching.is_far:
            return
        before, pages.reading = pages.reading, ("", "")
        info = pages.find(activity.name) if activity is not None else None
        if activity is not None and info is not None and info.numel:
            done = text.size(info.nbytes * activity.done // info.numel)
            share = min(99, 100 * activity.done // info.numel)
            rate = f", {self._meter.rate}" if self._meter.rate else ""
            pages.reading = info.name, f"reading {share} %, {done} of {text.size(info.nbytes)}{rate}"
        shown = pages.tensor_at(self._tree.cursor)
        is_shown = shown is not None and shown.name in (before[0], pages.reading[0])
        if is_shown and pages.reading != before and not self._waiting.is_waiting("detail"):
            self._questions.show_soon(delays.MODULE_DELAY)
