"""The sweep that reads every tensor in the background, and the batches in which outcomes go to the screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING

from tui_params.core.reading.outcome import attempt
from tui_params.errors import ReadError
from tui_params.tui.desk.messages import JudgedOutcome, SweepProgress

if TYPE_CHECKING:
    from tui_params.core.reading.outcome import Outcome
    from tui_params.core.reading.partial import Measured
    from tui_params.core.reading.readable import Readable
    from tui_params.core.reading.scanner import Scanner
    from tui_params.core.reading.sweep import ScanProgress
    from tui_params.core.source import Source
    from tui_params.core.tensor import TensorInfo

PAUSE = 0.05
"""Seconds from one batch to the next. A message for each tensor would cost more than its reading: each wakes the
screen's thread, which then holds the interpreter."""

MOST = 500
"""Judged outcomes in a batch: the screen takes them within 10 ms, so that no key waits."""


class Batches:
    """Sends judged outcomes to the screen: the first at once, then together all that came within PAUSE.

    ``post`` is called under a lock, so that the order is kept, and must not block.
    """

    def __init__(self, post: Callable[[Sequence[JudgedOutcome]], object]) -> None:
        self._post = post
        self._lock = Lock()
        self._waiting: list[JudgedOutcome] = []
        self._posted = -PAUSE
        self._thread: Thread | None = None
        self._due = Event()
        self._closed = Event()

    @property
    def is_empty(self) -> bool:
        return not self._waiting

    def add(self, judged: JudgedOutcome) -> None:
        with self._lock:
            self._waiting.append(judged)
            if monotonic() - self._posted >= PAUSE or len(self._waiting) >= MOST:
                self._send()
            elif len(self._waiting) == 1:
                self._due.set()
                if self._thread is None:
                    self._thread = Thread(target=self._run, name="batches", daemon=True)
                    self._thread.start()

    def flush(self) -> None:
        """Send everything that waits, now."""
        with self._lock:
            if self._waiting:
                self._send()

    def close(self) -> None:
        """Send nothing more by itself."""
        self._closed.set()
        self._due.set()

    def _send(self) -> None:
        self._post(tuple(self._waiting))
        self._waiting.clear()
        self._posted = monotonic()

    def _run(self) -> None:
        # A thread of its own: the next tensor may hang in a read, and what was found before must not wait for it.
        while self._due.wait() and not self._closed.is_set():
            self._due.clear()
            self._closed.wait(PAUSE)
            self.flush()


class Sweep:
    """Reads every tensor that is not known yet, on the thread that calls ``run``; it pauses while a Scanner reads."""

    def __init__(self, is_closed: Callable[[], bool]) -> None:
        self._is_closed = is_closed
        self._is_stopped = False
        self._began = monotonic()
        self.progress: SweepProgress | None = None

    def stop(self) -> None:
        """Read nothing after the present block."""
        self._is_stopped = True

    def is_over(self) -> bool:
        return self._is_stopped or self._is_closed()

    def run(
        self,
        source: Source,
        names: Sequence[str],
        scanner: Scanner,
        deliver: Callable[[Outcome], None],
        tell: Callable[[], None],
    ) -> None:
        """Read all that is not known yet; ``deliver`` each outcome; call ``tell`` after each new ``progress``.

        Raises StoppedError.
        """
        from tui_params.core.reading.sweep import scan_all

        ledger = scanner.ledger

        def should_stop() -> bool:
            ledger.give_way(self.is_over)
            return self.is_over()

        def known(info: TensorInfo) -> Outcome | None:
            return ledger.lend(info.name, self.is_over)

        def take(outcome: Outcome) -> None:
            if ledger.take(outcome):
                deliver(outcome)

        def progress(far: ScanProgress) -> None:
            self.progress = SweepProgress(far.done_bytes, far.total_bytes, monotonic() - self._began)
            tell()

        try:
            scan_all(
                source,
                names,
                take,
                should_stop=should_stop,
                progress=progress,
                known=known,
                is_known=lambda info: ledger.final(info.name) is not None,
                measuring=_Guarded(),
            )
        finally:
            ledger.take_back()
        ledger.give_way(self.is_over)  # let it deliver what it has read


class _Guarded:
    """Reads one tensor; an error that nobody foresaw becomes its reason, so that the others are read."""

    def __call__(
        self,
        source: Readable,
        info: TensorInfo,
        *,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
        threads: int | None = None,
    ) -> Measured:
        from tui_params.core.reading.sweep import measure_alone

        found, reason = attempt(
            lambda: measure_alone(source, info, should_stop=should_stop, progress=progress, threads=threads)
        )
        if found is None:
            raise ReadError(reason or "it was not read")
        return found

    def is_read_here(self, info: TensorInfo) -> bool:
        return True
