"""What is done again after a while: requests that a server puts off, or that are lost on the way."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec

from tui_params.errors import ReadError

_T = TypeVar("_T")


class AgainError(Exception):
    """A fault that may be gone after a while; ``wait`` is the seconds that the server asks for."""

    def __init__(self, sentence: str, wait: float | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.wait = wait


class Patience(msgspec.Struct, frozen=True):
    """How long a fault is borne: seconds in all, the number of attempts, and the first pause, doubled each time."""

    seconds: float = 30.0
    attempts: int = 6
    pause: float = 0.25


class Retries:
    """Attempts with growing pauses, until one succeeds, the patience is used up, or ``stop`` is called. Thread-safe.

    A pause is drawn between half of its length and the whole, so that many clients do not come back at once. Clock,
    pause and chance are handed in by tests.
    """

    def __init__(
        self,
        patience: Patience | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._patience = patience or Patience()
        self._stopped = threading.Event()
        self._clock = clock
        self._sleep = sleep or self._stopped.wait
        self._chance = chance

    @property
    def is_stopped(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End every pause, now and from now on: nothing is attempted again."""
        self._stopped.set()

    def run(self, attempt: Callable[[], _T]) -> _T:
        """What ``attempt`` returns; made again for as long as it raises AgainError. Raises ReadError."""
        patience = self._patience
        began = self._clock()
        for number in range(1, patience.attempts + 1):
            if self.is_stopped:
                raise ReadError("the connection was closed")
            try:
                return attempt()
            except AgainError as fault:
                if number == patience.attempts:
                    raise ReadError(f"{fault.sentence}; it was tried {number} times") from None
                pause = patience.pause * 2 ** (number - 1) * (1 + self._chance()) / 2
                if fault.wait is not None:
                    pause = max(pause, fault.wait)
                if self._clock() - began + pause > patience.seconds:
                    asks = f"; it asks to wait {fault.wait:,.0f} s" if fault.wait else ""
                    raise ReadError(f"{fault.sentence}{asks}") from None
                self._sleep(pause)
        raise ReadError("nothing was attempted")


def seconds_to_wait(header: str | None, now: datetime | None = None) -> float | None:
    """The seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3); None where it says neither."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - (now or datetime.now(timezone.utc))).total_seconds())
