"""Guard: what says when nothing is written to a model, of which the steps of its optimizers are only the usual one."""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Event, Thread
from typing import Literal

from tui_params.errors import ReadError
from tui_params.live.attached.connection import Connection
from tui_params.live.attached.shared import PASS_SECONDS, StepPage

PASSES_AFTER = 10.0
"""Seconds without a first step after which the passes of the model are asked for."""


class Guard:
    """Asks a process to count the passes of its model if no step ends. ``close`` ends it."""

    def __init__(self, page: StepPage, connection: Connection) -> None:
        self._page, self._connection = page, connection
        self._asked = 0.0
        """When passes were asked for; 0 if they were not."""

        self._closed = Event()
        if page.age is None or page.are_passes:
            Thread(target=self._wait, name="no step yet", daemon=True).start()

    @property
    def by(self) -> Literal["steps", "passes", "nothing"]:
        """What it is now."""
        age = self._page.age
        if age is None:
            return "nothing" if self._asked and time.monotonic() > self._asked + PASS_SECONDS else "steps"
        if not self._page.are_passes:
            return "steps"
        return "passes" if age < PASS_SECONDS else "nothing"

    @property
    def asked(self) -> float:
        """When passes were asked for, a moment of ``time.monotonic``; 0 if they were not, or there was a step."""
        return self._asked if self._page.age is None else 0.0

    def close(self) -> None:
        self._closed.set()

    @property
    def _is_needed(self) -> bool:
        return self._page.age is None or self._page.are_passes

    def _wait(self) -> None:
        # Passes that are counted for another viewer are counted no longer than that one looks.
        if self._page.are_passes or (not self._closed.wait(PASSES_AFTER) and self._is_needed):
            # A process that serves with another version may not know the question.
            with suppress(ReadError):
                self._connection.ask({"ask": "passes"})
            self._asked = time.monotonic()
