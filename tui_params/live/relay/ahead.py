"""Ahead: the figures of the tensors that a sweep comes to next, which a relay is asked for before it comes to them.

With a question for each tensor, a sweep takes as long as a line is slow: 5,000 tensors of 80 ms are 400 s. So one
question is about many, and while its answers come another one is on its way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property

from tui_params.core.reading.partial import WorkedOut
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.errors import ReadError, SourceChangedError
from tui_params.live.attached.replies import not_understood, understood
from tui_params.live.relay import messages as m
from tui_params.live.relay.stream import ANSWER_SECONDS, Asked, Stream

MOST_NAMES = 1 << 20
"""Letters of the names in one question, of which JSON makes 6 bytes each at most."""

MOST_RECORD_NBYTES = 1 << 16
"""The figures and the channels of a tensor: with the most equal rows that are listed, some 12 KB."""

MOST_NBYTES = m.MOST_WORKED_OUT * MOST_RECORD_NBYTES
"""What may come of a question before the sweep takes it."""


class Ahead:
    """Answers about ``infos`` in their order; those that are passed over are not asked for any more. For one thread.

    ``infos`` is called, and anything asked, when the first of them is read. ``named`` tells how the relay knows one.
    """

    def __init__(
        self,
        stream: Stream,
        source: int,
        infos: Callable[[], Sequence[TensorInfo]],
        named: Callable[[TensorInfo], tuple[str, bool]],
    ) -> None:
        self._stream, self._source, self._named = stream, source, named
        self._expected = infos
        self._next = 0
        """The first place that nothing came of yet."""

        self._begun = 0
        """The first place that was not asked for yet."""

        self._questions: deque[_Question] = deque()

    @cached_property
    def _infos(self) -> list[TensorInfo]:
        infos = self._expected()
        # Tied tensors are read once.
        first = {info.first_name: info for info in reversed(infos) if info.unreadable is None}
        return [info for info in infos if first.get(info.first_name) is info]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {info.name: place for place, info in enumerate(self._infos)}

    def worked_out(
        self,
        info: TensorInfo,
        should_stop: Callable[[], bool] | None,
        progress: Callable[[int], None] | None,
    ) -> WorkedOut | None:
        """The figures of a tensor; None if it is not one of those to come. Raises ReadError, StoppedError."""
        place = self._places.get(info.name, -1)
        if place < self._next:
            return None
        while self._questions and self._questions[0].end <= place:
            self._questions.popleft().close()
        self._begun = max(self._begun, place)
        while self._begun < min(place + m.MOST_WORKED_OUT + 1, len(self._infos)):
            self._ask()
        found = self._questions[0].take(place, should_stop, progress)
        self._next = place + 1
        return found

    def _ask(self) -> None:
        wanted: list[m.Wanted] = []
        letters = 0
        for info in self._infos[self._begun : self._begun + m.MOST_WORKED_OUT]:
            letters += len(info.name)
            if wanted and letters > MOST_NAMES:
                break
            wanted.append(m.Wanted(*self._named(info)))
        infos = self._infos[self._begun : self._begun + len(wanted)]
        with ExitStack() as stack:
            asked = stack.enter_context(
                self._stream.begin(lambda mine: m.WorkOutAll(mine, self._source, wanted), MOST_NBYTES)
            )
            self._questions.append(_Question(asked, self._begun, infos, stack.pop_all()))
        self._begun += len(wanted)

    def close(self) -> None:
        """Nothing of what was asked is wanted any more."""
        while self._questions:
            self._questions.popleft().close()


class _Question:
    """One question, about the tensors from the place ``first`` on."""

    def __init__(self, asked: Asked, first: int, infos: Sequence[TensorInfo], leaving: ExitStack) -> None:
        self._asked, self._first, self._infos, self._leaving = asked, first, infos, leaving
        self._come = 0
        """How many of them something came of."""

        self._fault: ReadError | None = None

    @property
    def end(self) -> int:
        """The first place behind its tensors."""
        return self._first + len(self._infos)

    def take(
        self, place: int, should_stop: Callable[[], bool] | None, progress: Callable[[int], None] | None
    ) -> WorkedOut:
        """The figures of the tensor at a place. Raises ReadError, StoppedError."""
        wanted = place - self._first
        while self._fault is None:
            try:
                worked, raw = self._next(should_stop)
            except ReadError as error:
                # Of the tensors after this one, nothing else will come.
                self._fault = error
                break
            if worked.at == wanted and (worked.is_found or worked.error):
                return _found(worked, raw, self._infos[wanted])
            if worked.at == wanted and progress is not None:
                progress(min(worked.done, self._infos[wanted].numel))
        raise self._fault

    def _next(self, should_stop: Callable[[], bool] | None) -> tuple[m.Worked, bytes]:
        """What comes next. Raises ReadError, StoppedError."""
        answer, raw = self._asked.take(ANSWER_SECONDS, should_stop)
        if answer.is_last:
            raise not_understood(f"the statistics of {self._come:,} of {len(self._infos):,} tensors")
        worked = understood(answer.body, m.Worked)
        if worked.at != self._come or len(raw) > MOST_RECORD_NBYTES:
            raise not_understood("statistics of a tensor that was not asked for")
        self._come += bool(worked.is_found or worked.error)
        return worked, raw

    def close(self) -> None:
        if self._come < len(self._infos) and self._fault is None:
            self._asked.stop()
        self._leaving.close()


def _found(worked: m.Worked, raw: bytes, info: TensorInfo) -> WorkedOut:
    """What came of a tensor. Raises ReadError."""
    from tui_params.core.reading.worked_out import unpack

    if worked.error:
        sentence = clean(worked.error, 400)
        raise SourceChangedError(sentence) if worked.is_changed else ReadError(sentence)
    return unpack(raw, info, has_summary=False)
