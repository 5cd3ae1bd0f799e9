"""Verifying: the files of a source compared with the hub's digests, on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from textual.message import Message

from tui_params.core.source import Source
from tui_params.tui.desk.messages import FilesVerified, SweepProgress
from tui_params.tui.desk.worker import begin

INTERVAL = 0.1
"""Seconds between two messages about the progress."""


class Verifying:
    """A comparison under way. A message follows each change of ``progress``; the last one has the result."""

    def __init__(self, source: Source, generation: int, post: Callable[[Message], object]) -> None:
        self.progress = SweepProgress(0, 0, 0.0)
        self._source = source
        self._generation = generation
        self._post = post
        self._is_stopped = False
        self._began = self._told = monotonic()
        begin("verify", self._run, self._fail)

    def stop(self) -> None:
        """Read nothing after the present block."""
        self._is_stopped = True

    def _run(self) -> None:
        from tui_params.core.health.digests import verify

        result = verify(self._source, lambda: self._is_stopped, self._tell)
        if not self._is_stopped:
            self._post(FilesVerified(self._generation, result))

    def _fail(self, reason: str) -> None:
        if not self._is_stopped:
            self._post(FilesVerified(self._generation, None, reason))

    def _tell(self, done: int, total: int) -> None:
        now = monotonic()
        if now - self._told >= INTERVAL:
            self._told = now
            self.progress = SweepProgress(done, total, now - self._began)
            self._post(FilesVerified(self._generation, None))
