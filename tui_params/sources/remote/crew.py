"""A crew: daemon threads that fetch pieces side by side, and that no exit of the program waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

AT_ONCE = 32
"""Requests at a time to one server: the headers of 30 shards in one go."""

_IDLE_SECONDS = 5.0


class Crew:
    """Calls what it is given, at most ``size`` at a time, in the order of their coming. Calls raise nothing."""

    def __init__(self, size: int = AT_ONCE) -> None:
        self._size = size
        self._waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def call(self, work: Callable[[], None]) -> None:
        """Have ``work`` called soon, in another thread."""
        with self._lock:
            self._waiting.put(work)
            is_short = self._waiting.qsize() > self._idle and self._threads < self._size
            if is_short:
                self._threads += 1
        if is_short:
            threading.Thread(target=self._run, name="tui-params fetch", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            try:
                work = self._waiting.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    self._idle -= 1
                    if self._waiting.empty():
                        self._threads -= 1
                        return
                continue
            with self._lock:
                self._idle -= 1
            work()
