"""Helper: a process of a team that does not lead. It reads its share, sends what came of it, and prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from time import monotonic
from typing import NoReturn

from tui_params.core.figure_records import encode_record
from tui_params.core.health.checksums import WatchedSource
from tui_params.core.numbers.sent_summary import pack_summary
from tui_params.core.reading.sweep import Measuring
from tui_params.core.reading.tensor_reading import Reading
from tui_params.core.source import Source
from tui_params.core.team import Compared, Comparing
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ShareReadError, StoppedError, TuiParamsError
from tui_params.ranks.channel import LeaderGoneError, Post, cut
from tui_params.ranks.sight import hello_of
from tui_params.ranks.split import Portion, Unit, elements, split, units_of
from tui_params.ranks.wire import (
    AnyMessage,
    Beat,
    Failed,
    Figured,
    Finished,
    Goodbye,
    Hello,
    Part,
    encode,
    pack_compared,
    pack_maxima,
)

BEAT_SECONDS = 0.5
"""How often a helper says how far it has come; what it has found waits for that too."""

_MOST_WAITING = 1 << 18
"""Bytes of results that wait to be sent together."""


class Helper:
    """Number ``number`` of ``ways`` processes. To be used for one command."""

    def __init__(self, number: int, ways: int, post: Post, threads: int, version: str) -> None:
        self._number, self._ways = number, ways
        self._version = version
        self._post = post
        self._threads = threads
        self._lock = Lock()
        self._waiting: list[AnyMessage] = []
        self._nbytes_waiting = 0
        self._sent = monotonic()
        self.done_nbytes = 0
        self.is_asked_to_stop = False

    def guard(self, source: Source) -> Source:
        """The source itself: this process may end at any time."""
        return source

    def measure(self, source: Source, infos: Sequence[TensorInfo], *, has_channels: bool) -> Measuring:
        """Read the share of these tensors. Raises ShareReadError."""
        hello = hello_of(self._version, (source,), repr((has_channels, [info.name for info in infos])))
        portions = split(units_of(infos), self._ways)[self._number]
        source.engine.prepare(sum(_nbytes(infos[portion.number], portion) for portion in portions))
        found = (self._measured(source, infos[portion.number], portion, has_channels) for portion in portions)
        whole = [infos[portion.number] for portion in portions if _is_whole(infos[portion.number], portion)]
        with source.expecting(lambda: whole):
            self._work(hello, found, (source,))

    def _measured(self, source: Source, info: TensorInfo, portion: Portion, has_channels: bool) -> AnyMessage:
        start, stop = elements(info, portion)
        before = self.done_nbytes

        def progress(done: int) -> None:
            self.done_nbytes = before + info.dtype.nbytes(done)
            self._beat()

        try:
            reading = Reading(source, info, has_channels=has_channels, ranges=[(start, stop)])
            reading.run(self._is_stopped, progress, self._threads)
            found = reading.partial()
            self.done_nbytes = before + info.dtype.nbytes(stop - start)
            if _is_whole(info, portion):
                return Figured(portion.number, encode_record(*found.measured(info)))
            maxima = None if found.maxima is None else pack_maxima(found.maxima.found_in(start, stop))
            return Part(portion.number, portion.first, pack_summary(found.summary), maxima)
        except StoppedError:
            raise
        except (TuiParamsError, OSError, MemoryError):
            return Failed(portion.number, portion.first)

    def compare(
        self,
        sources: tuple[Source, Source],
        jobs: Sequence[Sequence[int]],
        question: str,
        read: Callable[[int, Sequence[int], Callable[[int], None]], Compared],
    ) -> Comparing:
        """Compare the share of these ranges. Raises ShareReadError."""
        hello = hello_of(self._version, sources, question)
        portions = split([Unit(sum(ranges), len(ranges)) for ranges in jobs], self._ways)[self._number]
        sources[0].engine.prepare(sum(sum(jobs[each.number][each.first : each.stop]) for each in portions))
        self._work(hello, self._together(partial(self._compared, read), portions), sources)

    def collect(self, *sources: Source) -> None:
        """Nothing: a helper has left before."""

    def _together(self, compare: Callable[[Portion], AnyMessage], portions: Sequence[Portion]) -> Iterator[AnyMessage]:
        if self._threads < 2:
            yield from map(compare, portions)
            return
        with ThreadPoolExecutor(self._threads, "tui-params compare") as pool:
            yield from pool.map(compare, portions)

    def _compared(
        self, read: Callable[[int, Sequence[int], Callable[[int], None]], Compared], portion: Portion
    ) -> AnyMessage:
        try:
            found = read(portion.number, range(portion.first, portion.stop), self._tell)
        except StoppedError:
            raise
        except (TuiParamsError, OSError, MemoryError):
            return Failed(portion.number, portion.first)
        return pack_compared(portion.number, portion.first, found)

    def _tell(self, nbytes: int) -> None:
        with self._lock:
            self.done_nbytes += nbytes
        if self.is_asked_to_stop:
            raise StoppedError("the reading was stopped")
        self._beat()

    def _is_stopped(self) -> bool:
        return self.is_asked_to_stop

    def refuse(self, trouble: str) -> None:
        """Tell the leader why this process could not begin."""
        try:
            self._send([Hello(self._version, trouble=trouble)])
        except LeaderGoneError:
            return

    def _work(self, hello: Hello, messages: Iterable[AnyMessage], sources: Sequence[Source]) -> NoReturn:
        try:
            # By itself: another version must be able to read it, or see that it cannot.
            self._send([hello])
            try:
                for message in messages:
                    self._add(message)
                runs = tuple(
                    [run for source in sources if isinstance(source, WatchedSource) for run in source.computed()]
                )
                self._add(Finished(self.done_nbytes, runs))
            except StoppedError:
                self._add(Goodbye())
            with self._lock:
                self._flush()
        except LeaderGoneError:
            pass  # nobody wants the rest
        raise ShareReadError("the share of this process was read")

    def _add(self, message: AnyMessage) -> None:
        nbytes = 64
        if isinstance(message, Part):
            nbytes = _MOST_WAITING
        elif isinstance(message, Figured):
            nbytes = len(message.record)
        with self._lock:
            self._waiting.append(message)
            self._nbytes_waiting += nbytes
            if self._nbytes_waiting >= _MOST_WAITING or monotonic() - self._sent >= BEAT_SECONDS:
                self._flush()

    def _beat(self) -> None:
        """Send what waits, and how far the reading is, if it is time to."""
        if monotonic() - self._sent < BEAT_SECONDS:
            return
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        """Send what waits; under the lock."""
        waiting, self._waiting, self._nbytes_waiting = self._waiting, [], 0
        self._send([*waiting, Beat(self.done_nbytes)] if not _is_last(waiting) else waiting)

    def _send(self, messages: Sequence[AnyMessage]) -> None:
        for piece in cut(encode(messages)):
            self._post.send(piece)
        self._sent = monotonic()


def _is_last(messages: Sequence[AnyMessage]) -> bool:
    return bool(messages) and isinstance(messages[-1], (Finished, Goodbye))


def _is_whole(info: TensorInfo, portion: Portion) -> bool:
    return elements(info, portion) == (0, info.numel)


def _nbytes(info: TensorInfo, portion: Portion) -> int:
    start, stop = elements(info, portion)
    return info.dtype.nbytes(stop - start)
