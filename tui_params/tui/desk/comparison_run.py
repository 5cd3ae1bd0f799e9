"""ComparisonRun: compares the two sides of what is open in a thread of its own, and says what it finds in messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.core.compare.both import BothSources
from tui_params.tui.desk.messages import Compared, ComparedAll, ComparedFailed, ComparedSoFar, SweepProgress
from tui_params.tui.desk.worker import begin

if TYPE_CHECKING:
    from tui_params.core.compare.moved import Change
    from tui_params.core.compare.verdict import Progress, Verdict

PAUSE = 0.1
"""Seconds from one message to the next."""


class ComparisonRun:
    """One comparison: the structure at once, then values, then where else values are. The last Compared says so.

    One that ``waits`` reads no value before ``begin``.
    """

    def __init__(
        self, both: BothSources, generation: int, post: Callable[[Message], object], *, waits: bool = False
    ) -> None:
        self._both = both
        self._generation = generation
        self._post = post
        self._stopped = Event()
        self._may_begin = Event()
        if not waits:
            self._may_begin.set()
        self._changes: dict[str, Change] = {}
        self._all: dict[str, Change] = {}
        self._began = self._told = monotonic()

    def start(self) -> None:
        """Run in a thread of its own."""
        begin("compare", self._run, self._fail)

    @property
    def waits(self) -> bool:
        """Whether it compares no values yet."""
        return not self._may_begin.is_set()

    def begin(self) -> None:
        """Compare the values."""
        self._may_begin.set()

    def stop(self) -> None:
        """Compare nothing after the present block; nothing more is posted."""
        self._stopped.set()
        self._may_begin.set()

    def _fail(self, reason: str) -> None:
        if not self._stopped.is_set():
            self._flush()
            self._post(ComparedFailed(self._generation, reason))

    def _run(self) -> None:
        from tui_params.core.compare.across import adapted, change_of_verdict, is_of_adapter, laid_out, related

        comparer, stopped = self._both.comparer, self._stopped.is_set
        verdicts: list[Verdict] = []

        def deliver(verdict: Verdict) -> None:
            verdicts.append(verdict)
            self._take(((verdict.name, change_of_verdict(verdict)),))

        self._take(laid_out(self._both).items(), is_at_once=True)
        self._may_begin.wait()
        self._began = monotonic()
        comparer.run(deliver, should_stop=stopped, progress=self._tell)
        self._flush()
        if is_of_adapter(self._both):
            for item in adapted(self._both, stopped):
                self._take((item,))
        comparer.verify(verdicts, stopped)
        elsewhere = comparer.find_elsewhere(verdicts, should_stop=stopped)
        tied = comparer.find_tied_heads(should_stop=stopped)
        self._take(related(self._both, elsewhere.relations, self._all))
        in_b = self._both.names_in_b()
        self._take(self._implied(((item.name if item.side == "a" else in_b[item.name]), item.reason) for item in tied))
        if not stopped():
            self._post(ComparedSoFar(self._generation, None))
            self._flush(is_last=True)
            self._post(ComparedAll(self._generation, comparer.comparison(verdicts, elsewhere, tied)))

    def _implied(self, found: Iterable[tuple[str, str]]) -> list[tuple[str, Change]]:
        from tui_params.core.compare.moved import Change

        return [
            (name, Change("implied", about=f"on one side alone, which is no difference: {why}")) for name, why in found
        ]

    def _take(self, changes: Iterable[tuple[str, Change]], *, is_at_once: bool = False) -> None:
        for name, change in changes:
            self._changes[name] = self._all[name] = change
        if is_at_once or monotonic() - self._told >= PAUSE:
            self._flush()

    def _flush(self, *, is_last: bool = False) -> None:
        self._told = monotonic()
        if (self._changes or is_last) and not self._stopped.is_set():
            changes, self._changes = self._changes, {}
            self._post(Compared(self._generation, changes, (), is_last))

    def _tell(self, progress: Progress) -> None:
        if not self._stopped.is_set():
            seconds = monotonic() - self._began
            self._post(ComparedSoFar(self._generation, SweepProgress(progress.nbytes, progress.total_nbytes, seconds)))
