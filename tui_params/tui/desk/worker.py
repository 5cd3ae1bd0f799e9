"""What runs beside the screen: a thread for one piece of work, and a Worker, which does one after another."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from tui_params.errors import StoppedError

Failed = Callable[[str], object]
"""Gets one sentence on why some work came to nothing, on the thread of the work."""


def begin(name: str, work: Callable[[], object], failed: Failed) -> Thread:
    """Do some work on a daemon thread of its own; unlike an executor's, it never holds up the exit."""
    thread = Thread(target=_do, args=(work, failed), name=name, daemon=True)
    thread.start()
    return thread


class Worker:
    """A daemon thread that does one thing after another, and the next one also where one has failed."""

    def __init__(self, name: str, failed: Failed) -> None:
        self._waiting: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._name = name
        self._failed = failed
        self._thread: Thread | None = None

    def do(self, work: Callable[[], object]) -> None:
        if self._thread is None:
            self._thread = begin(self._name, self._run, self._failed)
        self._waiting.put(work)

    def stop(self) -> None:
        """Do nothing after what is being done now."""
        self._waiting.put(None)

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            _do(work, self._failed)


def _do(work: Callable[[], object], failed: Failed) -> None:
    from tui_params.core.reading.outcome import attempt

    try:
        _, reason = attempt(work)
    except StoppedError:
        return
    if reason is not None:
        failed(reason)
