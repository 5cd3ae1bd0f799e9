"""Against: the comparison with another source: asking for it, what is known of it, its renames, its stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.app import App
from textual.message import Message

from tui_params.core import text
from tui_params.core.source import Source
from tui_params.tui.desk.messages import ComparedAll, ComparedSoFar, PairRead, RankFound, SweepProgress
from tui_params.tui.screens.explorer import delays
from tui_params.tui.screens.explorer.delays import Delays
from tui_params.tui.screens.explorer.filter import Filter
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.questions import Questions
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.state.transfer_words import Amount, question
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.tree.module_tree import ModuleTree

if TYPE_CHECKING:
    from tui_params.core.compare.both import BothSources
    from tui_params.core.compare.comparer import Comparison
    from tui_params.tui.desk.comparison_run import ComparisonRun
    from tui_params.tui.screens.compare import CompareScreen

UNCHANGED = "changed:no"
"""The filter that the key for what did not change puts on."""

_QUIET = 12.0
"""Seconds for which the status line says what the structure is."""


class Against:
    """Compares what is open with another source, in the background; ``changed`` is called to paint the header."""

    def __init__(
        self,
        session: Session,
        tree: ModuleTree,
        filter: Filter,
        questions: Questions,
        waiting: Delays,
        notice: Notice,
        post: Callable[[Message], object],
        changed: Callable[[], None],
        key_of: Callable[[str], str],
    ) -> None:
        self.progress: SweepProgress | None = None
        self.comparison: Comparison | None = None
        self.number = 0
        """Which comparison it is; below 0, so that its messages are those of no opening."""
        self._session = session
        self._tree = tree
        self._filter = filter
        self._questions = questions
        self._waiting = waiting
        self._notice = notice
        self._post = post
        self._changed = changed
        self._key_of = key_of
        self._run: ComparisonRun | None = None
        self._before: tuple[Callable[[], Source] | None, bool] | None = None
        self._asked: CompareScreen | None = None
        self._to_fetch = Amount(0)
        """The bytes that the comparison would bring over the line."""

    @property
    def is_settled(self) -> bool:
        return (self._run is None or self._run.waits) and self._before is None

    @property
    def waits(self) -> bool:
        """Whether the values are not compared before the user agrees to fetch them."""
        return self._run is not None and self._run.waits

    # Opening and closing

    def ask(self, app: App[object], glyphs: Glyphs, open_it: Callable[[], object]) -> None:
        """Ask for the other source; ``open_it`` opens both when it was given."""
        from tui_params.tui.screens.compare import CompareScreen

        if self._session.opened is None:
            return

        def choose(path: str) -> None:
            from tui_params.api.opening import open_source

            self._open_anew(lambda: open_source(path), False, open_it)

        def leave() -> None:
            self._open_anew(None, False, open_it)

        self._asked = CompareScreen(glyphs, self.report(), choose, leave if self._is_on else None)
        app.push_screen(self._asked, self._forget)

    def _forget(self, _: object) -> None:
        self._asked = None

    @property
    def _is_on(self) -> bool:
        opened = self._session.opened
        return opened is not None and opened.both is not None

    def _open_anew(
        self, open_other: Callable[[], Source] | None, is_auto_renamed: bool, open_it: Callable[[], object]
    ) -> None:
        pending = self._session.pending
        self._before = self._before or (pending.open_other, pending.is_auto_renamed)
        pending.open_other, pending.is_auto_renamed = open_other, is_auto_renamed
        open_it()

    def take_failure(self, reason: str) -> bool:
        """The other source could not be opened: what is on screen stays; False if none was asked for."""
        if self._before is None:
            return False
        self._session.pending.open_other, self._session.pending.is_auto_renamed = self._before
        self._before = None
        if self._asked is not None:
            self._asked.say(reason)
        else:
            self._notice.say(f"Not compared: {text.clean(reason, 300)}", _QUIET)
        return True

    # The comparison

    def begin(self) -> bool:
        """A source was opened: compare it, if it is two; False if it is not."""
        self.stop()
        self._before = None
        if self._asked is not None:
            self._asked.finish()
        self.comparison = None
        opened, pages = self._session.opened, self._session.pages
        if opened is None or pages is None or opened.both is None:
            return False
        from tui_params.tui.desk.comparison_run import ComparisonRun

        beat = opened.source.beat()
        at = f" at step {beat.steps:,}" if beat is not None else ""
        pages.changes.begin(f"against {text.clean(opened.both.b.label, 60)}{at}", is_across=True)
        pages.pair.key_of = self._key_of
        self._tree.set_changes(pages.changes)
        self._filter.take_changes()
        self.number -= 1
        desk = self._session.desk
        fetching = desk.asking.pairs.fetching if desk is not None and desk.asking.pairs is not None else None
        both = opened.both
        pairs = both.comparer.structure.pairs
        self._to_fetch = fetching.total(pair.a for pair in pairs) if fetching else Amount(0)
        if fetching is not None and fetching.is_far and (unmatched := _unmatched(both)):
            # Their values are looked for on the other side, as far as sizes and types agree.
            self._to_fetch = Amount(self._to_fetch.nbytes + unmatched, is_most=True)
        waits = fetching is not None and self._to_fetch.nbytes > fetching.below
        self._run = ComparisonRun(both, self.number, self._post, waits=waits)
        self._run.start()
        self._waiting.call("against", delays.DETAIL_DELAY, self._say_at_once)
        return True

    def ask_to_begin(self) -> None:
        """Ask whether so much may be fetched as the comparison needs, and compare if that was asked already."""
        opened = self._session.opened
        if self._run is None or opened is None or opened.both is None or opened.both.line is None:
            return
        key, leave = self._key_of("fetch"), self._key_of("clear")
        address, room = opened.both.line.address, self._tree.app.size.width - 2
        words = question(key, "compares values, and reads", self._to_fetch, address, leave, room)
        if self._notice.ask("compare", words):
            self._run.begin()

    def _say_at_once(self) -> None:
        opened, pages = self._session.opened, self._session.pages
        if self.waits:
            self.ask_to_begin()
        elif pages is not None and pages.changes.is_stopped:
            return  # why is said already
        elif opened is not None and opened.both is not None:
            from tui_params.tui.state.comparison_words import at_once

            self._notice.say(at_once(opened.both, self._key_of("renames")), _QUIET)

    def stop(self) -> bool:
        """Compare no more; False if nothing is being compared."""
        run, self._run, self.progress = self._run, None, None
        if run is None:
            return False
        run.stop()
        return True

    def halt(self) -> bool:
        """Compare no more because the user wants so; what was compared stays. False if nothing is being compared."""
        pages = self._session.pages
        if self.waits or not self.stop() or pages is None:
            return False
        pages.changes.is_stopped = not pages.changes.is_whole
        self._filter.take_changes()
        self._notice.say(f"Stopped: {pages.changes.summary()}; {self._key_of('reload')} begins again.")
        self._changed()
        return True

    def take_progress(self, message: ComparedSoFar) -> None:
        if message.generation == self.number and self._run is not None:
            self.progress = message.progress
            self._changed()

    def take_last(self) -> None:
        """Everything that is shown in the tree is known."""
        self._run = self.progress = None

    def take_all(self, message: ComparedAll) -> None:
        if message.generation == self.number:
            self.comparison = message.comparison
            self._changed()

    def take_pair(self, message: PairRead | RankFound) -> None:
        pages = self._session.pages
        if pages is None or message.generation != self._session.generation:
            return
        if isinstance(message, PairRead):
            pages.pair.take(message)
        else:
            pages.pair.take_rank(message)
        self._questions.show_soon(0.0)

    # Keys

    def toggle_renames(self, open_it: Callable[[], object]) -> None:
        """Apply the renames that are suggested, or drop those that were applied."""
        opened, pending = self._session.opened, self._session.pending
        if opened is None or opened.both is None:
            self._notice.say(f"Only two sources have names to match: {self._key_of('compare')} asks for the other one.")
            return
        laid = opened.both.comparer.structure
        if pending.is_auto_renamed:
            self._open_anew(pending.open_other, False, open_it)
        elif laid.suggested:
            self._open_anew(pending.open_other, True, open_it)
        else:
            self._notice.say("No rename would match more names.")

    def toggle_unchanged(self) -> str | None:
        """The filter for what did not change, or none if it is on already; None where nothing is compared."""
        pages = self._session.pages
        if pages is None or not pages.changes.since:
            self._notice.say(f"Nothing is compared: {self._key_of('compare')} asks for another source.")
            return None
        query = self._filter.query
        return "" if query is not None and query.text.strip() == UNCHANGED else UNCHANGED

    def ask_for_rank(self) -> None:
        """Find the singular values of the difference of the tensor at the cursor."""
        pages = self._session.pages
        info = pages.tensor_at(self._tree.cursor) if pages is not None else None
        if pages is None or info is None:
            self._notice.say("Only a tensor has a difference: move to one first.")
            return
        reason = pages.pair.ask_for_rank(info, pages.changes.of(info.name))
        if reason:
            self._notice.say(reason)
        self._questions.show_soon(0.0)

    # Words

    def report(self) -> Sequence[str]:
        """What is compared, and what came of it, in sentences; the first two are the sides, the third the structure."""
        opened, pages = self._session.opened, self._session.pages
        if opened is None or pages is None or opened.both is None:
            return ()
        from tui_params.tui.state.comparison_words import report

        key = f"{self._key_of('clear')}, then {self._key_of('renames')},"
        return report(opened.both, self.comparison, pages.changes, key)


def _unmatched(both: BothSources) -> int:
    """The bytes elsewhere of the tensors that only one side has, if each side has some."""
    laid = both.comparer.structure
    if not laid.only_in_a or not laid.only_in_b:
        return 0
    sides = (both.a, laid.only_in_a), (both.b, laid.only_in_b)
    return sum(source.find(name).nbytes for source, names in sides if source.line is not None for name in names)
