"""Scanner: a thread that reads tensors for their statistics in the order in which they are wanted, a sample first."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from threading import Thread, current_thread
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.reading import tensor_reading as reading
from tui_params.core.reading.ledger import Ledger
from tui_params.core.reading.outcome import HistogramOutcome, Outcome, reason_of
from tui_params.core.reading.partial import WorkedOut
from tui_params.core.reading.readable import Readable
from tui_params.core.reading.tensor_reading import Measurement, Reading, sample
from tui_params.core.tensor import TensorInfo
from tui_params.errors import StoppedError

if TYPE_CHECKING:
    from tui_params.core.numbers.summary import Summary

KEPT_SUMMARIES = 16
"""Summaries that a Scanner keeps for requests of histograms: at most 0.8 MB each, 6 MB for float64."""

KEPT_PAUSED = 4
"""Interrupted reads that a Scanner keeps to go on later: some MB for each thread that took part."""

ACTIVITY_SECONDS = 0.1
CLOSE_SECONDS = 2.0


class Activity(msgspec.Struct, frozen=True, gc=False):
    """What a Scanner is doing: it has read ``done`` of ``numel`` elements of a tensor, and ``waiting`` others wait."""

    name: str
    done: int
    numel: int
    waiting: int


class _Question(msgspec.Struct):
    """A histogram that was requested and not delivered yet."""

    bins: int
    low: float | None
    high: float | None
    is_log_axis: bool
    deliver: Callable[[HistogramOutcome], None]
    has_sample: bool = False


class _Kept(msgspec.Struct, frozen=True):
    summary: Summary
    numel: int
    is_final: bool


class Scanner:
    """One daemon thread that reads the tensors of one source in the order in which they are wanted.

    ``deliver`` and ``on_activity`` are called on that thread, never under a lock; they must not block.
    ``on_activity`` is called at most ten times a second while a tensor is read, and with None when all is done.

    ``ledger`` has the final outcomes. A sweep of the same source on another thread uses it to borrow tensors, and so
    waits while something is wanted here.
    """

    def __init__(
        self,
        source: Readable,
        deliver: Callable[[Outcome], None],
        on_activity: Callable[[Activity | None], None],
    ) -> None:
        self._source = source
        self._deliver = deliver
        self._on_activity = on_activity
        # Guarded by the condition of the ledger.
        self._waiting: deque[str] = deque()
        self._questions: dict[str, _Question] = {}
        self._is_closed = False
        self.ledger = Ledger(source, self._questions)
        self._condition = self.ledger.condition
        # Used by the worker alone.
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._paused: OrderedDict[str, Reading] = OrderedDict()
        self._sampled: set[str] = set()
        self._published = -math.inf
        self._thread = Thread(target=self._work, name="tui-params scanner", daemon=True)
        self._thread.start()

    def want(self, names: Sequence[str]) -> None:
        """Replace the waiting list by ``names``, the most urgent first, without those that are final already.

        If the tensor that is being read is not the first of them, its read is interrupted at the next block.
        """
        with self._condition:
            if self._is_closed:
                return
            self._waiting = deque(dict.fromkeys(name for name in names if self.ledger.final(name) is None))
            self._condition.notify_all()

    def want_histogram(
        self,
        name: str,
        bins: int,
        low: float | None,
        high: float | None,
        is_log_axis: bool,
        deliver_histogram: Callable[[HistogramOutcome], None],
    ) -> None:
        """Request a histogram (``Summary.histogram``), which the worker delivers before it reads anything else.

        A newer request for the same tensor replaces an older one, which then gets no answer. The tensor is read again
        if its summary is no longer kept; if only a sample of it is known, the answer comes from that first.
        """
        with self._condition:
            if self._is_closed:
                return
            self._questions[name] = _Question(bins, low, high, is_log_axis, deliver_histogram)
            self._condition.notify_all()

    def summary_of(self, name: str) -> Summary | None:
        """The counts of a tensor that was read whole, as long as they are kept. May be called from any thread."""
        kept = self._kept.get(name)
        return kept.summary if kept is not None and kept.is_final else None

    def close(self) -> None:
        """Stop within a block, and deliver nothing more. Waits two seconds at most; may be called twice."""
        with self._condition:
            self._is_closed = True
            self._waiting.clear()
            self._questions.clear()
            self._condition.notify_all()
        if self._thread is not current_thread():
            self._thread.join(CLOSE_SECONDS)

    def _work(self) -> None:
        is_idle = True
        while True:
            self._answer()
            with self._condition:
                self.ledger.running = name = self._next()
                if name is None:
                    self._condition.notify_all()  # the sweep that waits
                if self._is_closed:
                    return
                if name is None and is_idle and not self._has_answer():
                    self._condition.wait()
                    continue
            if name is not None:
                is_idle = False
                self._read(name)
            elif not is_idle:
                is_idle = True
                self._on_activity(None)

    def _next(self) -> str | None:
        """What to read now; under the lock."""
        for name in self._questions:
            kept = self._kept.get(name)
            is_answered = (kept is not None and kept.is_final) or self.ledger.has_failed(name)
            if not is_answered and not self._is_lent(name):
                return name
        while self._waiting and self.ledger.final(self._waiting[0]) is not None:
            self._waiting.popleft()
        wanted = (name for name in self._waiting if self.ledger.final(name) is None)
        return next((name for name in wanted if not self._is_lent(name)), None)

    def _is_lent(self, name: str) -> bool:
        """Whether there is nothing to do here for a tensor, because a sweep reads it."""
        if not self.ledger.is_lent(name):
            return False
        return name in self._sampled or self._source.find(name).numel <= reading.SAMPLE_BEYOND

    def _has_answer(self) -> bool:
        return any(name in self._kept or self.ledger.has_failed(name) for name in self._questions)

    def _is_unwanted(self) -> bool:
        """Whether the running read is no longer the most urgent; called once per block."""
        self._answer()
        with self._condition:
            return self._is_closed or self._next() != self.ledger.running

    def _read(self, name: str) -> None:
        for is_final in (False, True):
            outcome = self._outcome(name, is_final)
            if outcome is None:
                continue
            question = None
            with self._condition:
                is_news = self.ledger.final(name) is None and not self._is_closed
                if outcome.is_final and is_news:
                    self.ledger.take(outcome)
                if outcome.reason is not None:
                    question = self._questions.pop(name, None)
            if is_news:
                self._deliver(outcome)
            if question is not None:
                question.deliver(HistogramOutcome(name, None, outcome.reason, True))
            if outcome.is_final:
                return

    def _outcome(self, name: str, is_final: bool) -> Outcome | None:
        """The outcome of reading a tensor whole, or of sampling it; None if that was stopped or is not needed."""
        try:
            info = self._source.find(name)
            tied = self.ledger.tied(info)
            if tied is not None and name not in self._questions:
                return tied
            channels = None
            if is_final:
                if self.ledger.is_lent(name):
                    return None
                ready = self._worked_out(info)
                if ready is not None:
                    if ready.summary is not None:
                        self._keep(name, _Kept(ready.summary, info.numel, True))
                    return Outcome(name, ready.figures, None, True, ready.channels)
                found = self._measure(info)
                summary, channels = found.summary, found.channels
            elif self._source.works_out(info, has_summary=False):
                return None
            elif info.numel > reading.SAMPLE_BEYOND and name not in self._sampled:
                summary = sample(self._source, info, should_stop=self._is_unwanted)
                self._sampled.add(name)
            else:
                return None
            figures = summary.figures(info.numel)
        except StoppedError:
            return None
        except Exception as error:  # noqa: BLE001 - the tensor gets it as its reason; the next one is read
            return Outcome(name, None, reason_of(error), True)
        self._keep(name, _Kept(summary, info.numel, is_final))
        return Outcome(name, figures, None, is_final, channels)

    def _keep(self, name: str, kept: _Kept) -> None:
        self._kept[name] = kept
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT_SUMMARIES:
            self._kept.popitem(last=False)

    def _worked_out(self, info: TensorInfo) -> WorkedOut | None:
        """What the source works out itself: the summary too only if somebody has asked for a histogram."""
        has_summary = info.name in self._questions
        if not self._source.works_out(info, has_summary=has_summary):
            return None
        return self._source.worked_out(
            info,
            has_summary=has_summary,
            should_stop=self._is_unwanted,
            progress=lambda done: self._publish(info, done),
        )

    def _measure(self, info: TensorInfo) -> Measurement:
        reading = self._paused.pop(info.name, None) or Reading(self._source, info, has_channels=True)
        try:
            reading.run(self._is_unwanted, lambda done: self._publish(info, done))
        except StoppedError:
            if reading.can_resume and reading.done:
                self._paused[info.name] = reading
                if len(self._paused) > KEPT_PAUSED:
                    self._paused.popitem(last=False)
            raise
        return reading.measurement()

    def _publish(self, info: TensorInfo, done: int) -> None:
        now = time.monotonic()
        if now - self._published >= ACTIVITY_SECONDS:
            self._published = now
            with self._condition:
                waiting = len(self._waiting) - (info.name in self._waiting)
            self._on_activity(Activity(info.name, done, info.numel, waiting))

    def _answer(self) -> None:
        """Answer the requests for tensors whose summary is kept, or that cannot be read."""
        ready: list[tuple[str, _Question, _Kept | None]] = []
        with self._condition:
            for name, question in list(self._questions.items()):
                kept = self._kept.get(name)
                if self.ledger.has_failed(name) or (kept is not None and kept.is_final):
                    del self._questions[name]
                elif kept is None or question.has_sample:
                    continue
                question.has_sample = True
                ready.append((name, question, kept))
        for name, question, kept in ready:
            if kept is None:
                failed = self.ledger.final(name)
                question.deliver(HistogramOutcome(name, None, failed.reason if failed is not None else None, True))
            else:
                self._kept.move_to_end(name)
                question.deliver(_answered(name, question, kept))


def _answered(name: str, question: _Question, kept: _Kept) -> HistogramOutcome:
    try:
        histogram = kept.summary.histogram(
            question.bins, question.low, question.high, is_log_axis=question.is_log_axis, numel=kept.numel
        )
    except ValueError as error:
        return HistogramOutcome(name, None, str(error), True)
    except Exception as error:  # noqa: BLE001 - as of a tensor that cannot be read
        return HistogramOutcome(name, None, reason_of(error), True)
    return HistogramOutcome(name, histogram, None, kept.is_final)
