"""Inbox: what has come from the other processes of a team, and who of them is lost."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Thread
from time import monotonic

from tui_params.core.health.checksums import ComputedRun
from tui_params.ranks.channel import START_FACTOR, Intake, Joiner
from tui_params.ranks.wire import (
    Beat,
    ComparedPart,
    Failed,
    Figured,
    Finished,
    Goodbye,
    Hello,
    Part,
    decode,
)

WAIT_SECONDS = 0.05
_CLOSE_SECONDS = 1.0

GRACE_SECONDS = 1.0
"""How long to wait, once this process should end, for what the others have to say."""


class Inbox:
    """Takes messages on a thread of its own, from when it is opened on. Everything is guarded by ``condition``."""

    def __init__(self, ways: int, intake: Intake, noun: str, most_silent: float) -> None:
        self.condition = Condition()
        self.hellos: dict[int, Hello] = {}
        self.figured: dict[int, bytes] = {}
        self.parts: dict[int, list[Part]] = {}
        self.compared: dict[tuple[int, int], ComparedPart] = {}
        self.failed: set[tuple[int, int]] = set()
        self.runs: list[ComputedRun] = []
        self.lost: dict[int, str] = {}
        """Why nothing more comes from a process that had not finished: one sentence."""
        self.done: set[int] = set()
        """The processes that have sent everything."""
        self.nbytes: dict[int, int] = {}
        self.trouble: str | None = None
        """Why the processes cannot read together, one sentence."""
        self._others = range(1, ways)
        self._intake = intake
        self._noun = noun
        self._most_silent = most_silent
        self._joiners = {number: Joiner() for number in self._others}
        self._heard = dict.fromkeys(self._others, monotonic())
        self._stopped_at: float | None = None
        self._is_closed = False
        self._thread = Thread(target=self._receive, name="tui-params team", daemon=True)
        self._thread.start()

    @property
    def is_stopped(self) -> bool:
        return self._stopped_at is not None

    def stop(self) -> None:
        """Wait for nobody any longer than GRACE_SECONDS from now. May be called in a signal handler: takes no lock."""
        if self._stopped_at is None:
            self._stopped_at = monotonic()

    def close(self) -> None:
        """Take nothing more."""
        self._is_closed = True
        self._thread.join(_CLOSE_SECONDS)
        self._intake.close()

    def has_all(self) -> bool:
        """Whether nothing more will come; under the condition."""
        return len(self.done) + len(self.lost) == len(self._others)

    def wait(self, until: Callable[[], bool], listen: Callable[[], None] | None = None) -> None:
        """Wait until that is so, which is asked under the condition; ``listen`` is called meanwhile, outside of it."""
        while True:
            with self.condition:
                if until() or self.condition.wait_for(until, WAIT_SECONDS):
                    return
            if listen is not None:
                listen()

    def _receive(self) -> None:
        try:
            while not self._is_closed and not self._take_all():
                pass
        finally:
            # Whatever has happened here, nobody waits for what will not come.
            with self.condition:
                self._look_for_lost("nothing more is taken here")
                self.condition.notify_all()

    def _take_all(self) -> bool:
        """Take what has come; whether nothing more will."""
        reason = None
        try:
            for number, piece in self._intake.take():
                self._take(number, piece)
        except OSError as error:
            reason = f"the connection was lost ({error})"
        with self.condition:
            self._look_for_lost(reason)
            self.condition.notify_all()
            return self.has_all()

    def _take(self, number: int, piece: bytes | None) -> None:
        if number in self.done or number in self.lost:
            return
        if piece is None:
            self._lose(number, "ended before it had read its share")
            return
        self._heard[number] = monotonic()
        try:
            data = self._joiners[number].add(piece)
            messages = () if data is None else decode(data)
        except ValueError as error:
            with self.condition:
                if number in self.hellos:
                    self._lose(number, f"sent what cannot be understood: {error}")
                else:
                    # The first message says the version; one that cannot be read is of another.
                    self.trouble = f"{self._noun} {number} runs another version of tui-params: all must run one version"
            return
        with self.condition:
            for message in messages:
                self._enter(number, message)

    def _enter(self, number: int, message: object) -> None:
        """Keep what a message says; under the condition."""
        if isinstance(message, Beat):
            self.nbytes[number] = message.nbytes
        elif isinstance(message, Figured):
            self.figured[message.number] = message.record
        elif isinstance(message, Part):
            self.parts.setdefault(message.number, []).append(message)
        elif isinstance(message, ComparedPart):
            self.compared[message.number, message.first] = message
        elif isinstance(message, Failed):
            self.failed.add((message.number, message.first))
        elif isinstance(message, Hello):
            self.hellos[number] = message
        elif isinstance(message, Finished):
            self.runs += message.runs
            self.nbytes[number] = message.nbytes
            self.done.add(number)
        elif isinstance(message, Goodbye):
            self._lose(number, "was stopped before it had read its share")

    def _lose(self, number: int, what: str) -> None:
        self.lost[number] = f"{self._noun} {number} {what}"

    def _look_for_lost(self, reason: str | None) -> None:
        """Give up those of whom nothing more is to be expected; under the condition."""
        now = monotonic()
        is_over = self._stopped_at is not None and now - self._stopped_at > GRACE_SECONDS
        for number in self._others:
            if number in self.done or number in self.lost:
                continue
            silent = now - self._heard[number]
            if reason is not None:
                self._lose(number, f"ended before it had read its share: {reason}")
            elif is_over:
                self._lose(number, "ended before it had read its share")
            elif number not in self.hellos and silent > START_FACTOR * self._most_silent:
                self._lose(number, f"did not begin within {START_FACTOR * self._most_silent:g} seconds")
            elif number in self.hellos and silent > self._most_silent:
                self._lose(number, f"gave no sign of life for {self._most_silent:g} seconds")
