"""TensorDesk: what the lenses of the tensor screen ask for, computed in threads and answered by messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.core.reading.outcome import attempt
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import StoppedError
from tui_params.tui.desk.worker import Worker
from tui_params.tui.terminal.frozen_message import FrozenMessage

if TYPE_CHECKING:
    from tui_params.core.numbers.condition import Condition
    from tui_params.core.numbers.summary import Summary

BETWEEN = 0.1
"""Seconds between two partial answers to one question."""


@dataclass(slots=True, eq=False)
class Answer(FrozenMessage):
    """What came of the question that was asked in ``slot`` under ``key``: a frozen result, or why there is none.

    An answer that is not ``is_last`` is a part or a picture of the last one, which follows.
    """

    slot: str
    key: Hashable
    result: object
    reason: str | None
    is_last: bool

    def can_replace(self, message: Message) -> bool:
        return (
            isinstance(message, Answer) and not message.is_last and (message.slot, message.key) == (self.slot, self.key)
        )


class Task:
    """One question while it is being answered, as the function that answers it sees it."""

    def __init__(self, slot: str, key: Hashable, post: Callable[[Message], object]) -> None:
        self._slot = slot
        self._key = key
        self._post = post
        self._told = 0.0
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """Raises StoppedError once the answer is no longer wanted; call it after each block that was read."""
        if self._stop.is_set():
            raise StoppedError("the question was taken back")

    def tell(self, partial: object, *, always: bool = False) -> None:
        """Post what is known by now; too soon after the last time, only if ``always``."""
        now = monotonic()
        if not self.is_stopped and (always or now - self._told >= BETWEEN):
            self._told = now
            self._post(Answer(self._slot, self._key, partial, None, False))

    def answer(self, result: object, reason: str | None) -> None:
        if not self.is_stopped:
            self._post(Answer(self._slot, self._key, result, reason, True))


class TensorDesk:
    """Answers questions about the tensors of one source; each slot has a thread, and one question at a time.

    A new question in a slot stops the one before it. ``source`` is for the functions that answer: a widget never
    reads. Answers are posted from the threads as ``Answer``. ``summary_of`` gives the counts of a tensor that was read
    for its figures, as long as they are kept; None where nothing reads it for them.
    """

    def __init__(
        self,
        source: Source,
        post: Callable[[Message], object],
        summary_of: Callable[[str], Summary | None] | None = None,
    ) -> None:
        self.source = source
        self.summary_of = summary_of
        self.refuse: Callable[[TensorInfo, int | None], str] = lambda info, numel: ""
        """Why so many elements of a tensor (None: all) are not read unless the user asks for it; empty if they are."""
        self.most_beside: Callable[[], int | None] = lambda: None
        """The bytes up to which a file beside the checkpoint is fetched by itself; None where nothing is fetched."""
        self.sought: Condition | None = None
        """What the lenses look for; None: NaN and Inf."""
        self._post = post
        self._workers: dict[str, Worker] = {}
        self._tasks: dict[str, Task] = {}
        self._is_closed = False

    def ask(self, slot: str, key: Hashable, work: Callable[[Task], object]) -> None:
        """Answer with what ``work`` returns, or with one sentence on the error that it raises."""
        if self._is_closed:
            return
        self.stop(slot)
        task = self._tasks[slot] = Task(slot, key, self._post)

        def do() -> None:
            if task.is_stopped:
                return
            task.answer(*attempt(lambda: work(task)))

        if slot not in self._workers:
            self._workers[slot] = Worker(slot, lambda reason: None)
        self._workers[slot].do(do)

    def stop(self, slot: str) -> None:
        """Take back the question of a slot, if it has one; no answer to it is posted from now on."""
        task = self._tasks.pop(slot, None)
        if task is not None:
            task.stop()

    def renew(self, source: Source) -> None:
        """Take back all questions; those that follow are about another opening of the source."""
        for slot in tuple(self._tasks):
            self.stop(slot)
        self.source = source

    def close(self) -> None:
        self._is_closed = True
        for slot in tuple(self._tasks):
            self.stop(slot)
        for worker in self._workers.values():
            worker.stop()
