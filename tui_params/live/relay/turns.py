"""Turns: who of the threads of a relay works something out: one at a time, a sweep only while nobody else waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

from tui_params.core.reading.tensor_reading import POLL_SECONDS


class Turns:
    """Given to one thread at a time. While a thread waits, it calls its ``poll``, which may raise."""

    def __init__(self) -> None:
        self._condition = Condition()
        # Guarded by it.
        self._is_taken = False
        self._urgent = 0

    @contextmanager
    def urgent(self, poll: Callable[[], object]) -> Iterator[None]:
        """A turn for what somebody looks at."""
        with self._condition:
            self._urgent += 1
        try:
            self._take(poll, is_urgent=True)
            try:
                yield
            finally:
                self._leave()
        finally:
            with self._condition:
                self._urgent -= 1
                self._condition.notify_all()

    @contextmanager
    def patient(self, poll: Callable[[], object]) -> Iterator[Callable[[], None]]:
        """A turn for a part of a sweep. It yields what is to be called now and then, and lets others come between."""
        has_turn = False

        def take() -> None:
            nonlocal has_turn
            self._take(poll, is_urgent=False)
            has_turn = True

        def give_way() -> None:
            nonlocal has_turn
            if self._urgent:
                has_turn = False
                self._leave()
                take()

        take()
        try:
            yield give_way
        finally:
            if has_turn:
                self._leave()

    def _take(self, poll: Callable[[], object], *, is_urgent: bool) -> None:
        def is_free() -> bool:
            return not self._is_taken and (is_urgent or not self._urgent)

        while True:
            with self._condition:
                if self._condition.wait_for(is_free, POLL_SECONDS):
                    self._is_taken = True
                    return
            poll()

    def _leave(self) -> None:
        with self._condition:
            self._is_taken = False
            self._condition.notify_all()
