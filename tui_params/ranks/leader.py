"""Leader: the process of a team that has the results of all, merged to what it would have found alone.

What another process could not read, the leader reads itself: it gets it, or the same error as a process alone. What a
lost process should have read is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from tui_params.core.figure_records import decode_record
from tui_params.core.health.checksums import WatchedSource
from tui_params.core.numbers.sent_summary import unpack_summary
from tui_params.core.reading.partial import Measured, Partial
from tui_params.core.reading.readable import Readable
from tui_params.core.reading.sweep import measure_alone
from tui_params.core.reading.tensor_reading import Reading, summarize
from tui_params.core.source import Source
from tui_params.core.team import Compared
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError, StoppedError, TeamError, TuiParamsError
from tui_params.ranks.guarded import GuardedSource
from tui_params.ranks.inbox import Inbox
from tui_params.ranks.sight import disagreement, hello_of
from tui_params.ranks.split import Portion, Unit, elements, split, units_of
from tui_params.ranks.wire import Hello, unpack_compared, unpack_maxima

Owned = tuple[int, Portion]
"""A portion, and the number of the process that reads it."""

STOPPED = "the job was stopped before it was read"


class Leader:
    """Number 0 of ``ways`` processes; ``noun`` is what the others are called. To be used for one command."""

    def __init__(self, ways: int, inbox: Inbox, noun: str, threads: int, version: str) -> None:
        self._ways = ways
        self._version = version
        self._inbox = inbox
        self._noun = noun
        self._threads = threads
        self._lock = Lock()
        self._own_nbytes = 0

    def stop(self) -> None:
        """Read nothing more, and wait for nobody: tell what is known so far. May be called in a signal handler."""
        self._inbox.stop()

    def close(self) -> None:
        """Let the other processes end."""
        self._inbox.close()

    def guard(self, source: Source) -> Source:
        """The source, which refuses to be read once the job is stopped."""
        return GuardedSource(source, lambda: STOPPED if self._inbox.is_stopped else None)

    @property
    def done_nbytes(self) -> int:
        """The bytes that all have read so far."""
        return self._own_nbytes + sum(self._inbox.nbytes.values())

    def measure(self, source: Source, infos: Sequence[TensorInfo], *, has_channels: bool) -> SharedMeasuring:
        """Share the reading of these tensors. Raises TeamError."""
        self._greet(hello_of(self._version, (source,), repr((has_channels, [info.name for info in infos]))))
        owned = _owners(split(units_of(infos), self._ways))
        source.engine.prepare(sum(info.nbytes for info in infos) // self._ways)
        by_name = {info.name: (number, owned.get(number, [])) for number, info in enumerate(infos)}
        return SharedMeasuring(self._inbox, by_name, self._threads, self._count, has_channels=has_channels)

    def compare(
        self,
        sources: tuple[Source, Source],
        jobs: Sequence[Sequence[int]],
        question: str,
        read: Callable[[int, Sequence[int], Callable[[int], None]], Compared],
    ) -> SharedComparing:
        """Share the comparison of these ranges. Raises TeamError."""
        self._greet(hello_of(self._version, sources, question))
        units = [Unit(sum(ranges), len(ranges)) for ranges in jobs]
        return SharedComparing(self._inbox, _owners(split(units, self._ways)))

    def collect(self, *sources: Source) -> None:
        """Wait until the others are done, and take in the checksums that they have computed in passing."""
        self._inbox.wait(self._inbox.has_all)
        with self._inbox.condition:
            runs, self._inbox.runs = self._inbox.runs, []
        for source in sources:
            if isinstance(source, WatchedSource):
                source.take(runs)

    def _count(self, nbytes: int) -> None:
        with self._lock:
            self._own_nbytes += nbytes

    def _greet(self, mine: Hello) -> None:
        """Wait until all have begun or are lost, and compare what they see. Raises TeamError."""
        inbox = self._inbox

        def is_met() -> bool:
            met = inbox.hellos.keys() | inbox.lost.keys()
            return inbox.trouble is not None or len(met) == self._ways - 1

        inbox.wait(is_met)
        trouble = inbox.trouble or disagreement(mine, inbox.hellos, self._noun)
        if trouble is not None:
            self.close()
            raise TeamError(trouble)


class SharedMeasuring:
    """Measuring by a team, as the leader sees it. May be called from several threads."""

    def __init__(
        self,
        inbox: Inbox,
        owned: dict[str, tuple[int, list[Owned]]],
        threads: int,
        count: Callable[[int], None],
        *,
        has_channels: bool,
    ) -> None:
        self._inbox = inbox
        self._owned = owned
        self._threads = threads
        self._count = count
        self._has_channels = has_channels

    def __call__(
        self,
        source: Readable,
        info: TensorInfo,
        *,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
        threads: int | None = None,
    ) -> Measured:
        """The figures of a tensor; waits for what others read of it. Raises ReadError, StoppedError."""
        threads = min(threads or self._threads, self._threads)
        # Asked for twice, as after an error under another name, it is read here.
        number, portions = self._owned.pop(info.name, (0, []))
        others = [(owner, portion) for owner, portion in portions if owner]

        def listen() -> None:
            if should_stop is not None and should_stop():
                raise StoppedError(f"the reading of {info.name} was stopped")
            if progress is not None:
                progress(0)

        def alone() -> Measured:
            return self._alone(source, info, should_stop, progress, threads)

        if not others:
            return alone()
        found = None
        if len(others) < len(portions):
            try:
                found = self._own_part(source, info, portions, should_stop, progress, threads)
            except StoppedError:
                raise
            except (TuiParamsError, OSError, MemoryError):
                return alone()
        for owner, portion in others:
            if not self._wait_for(owner, portion, number, listen):
                return alone()
        with self._inbox.condition:
            record, parts = self._inbox.figured.pop(number, None), self._inbox.parts.pop(number, [])
        if record is not None:
            decoded = decode_record(record)
            return alone() if decoded is None else Measured(decoded.figures, decoded.channels)
        whole = found or Partial.empty(info, has_channels=self._has_channels)
        try:
            for part in parts:
                maxima = None
                if part.maxima is not None and whole.maxima is not None:
                    maxima = unpack_maxima(part.maxima, whole.maxima.word)
                whole.take(unpack_summary(part.summary, info.dtype), maxima)
        except ValueError:
            return alone()
        return whole.measured(info)

    def is_read_here(self, info: TensorInfo) -> bool:
        """Whether no other process has a part of a tensor."""
        _, portions = self._owned.get(info.name, (0, []))
        return not any(owner for owner, _ in portions)

    def _alone(
        self,
        source: Readable,
        info: TensorInfo,
        should_stop: Callable[[], bool] | None,
        progress: Callable[[int], None] | None,
        threads: int,
    ) -> Measured:
        counting = _Counting(self._count, info, progress)
        if self._has_channels:
            return measure_alone(source, info, should_stop=should_stop, progress=counting, threads=threads)
        summary = summarize(source, info, should_stop=should_stop, progress=counting, threads=threads)
        return Measured(summary.figures(info.numel), None)

    def _own_part(
        self,
        source: Readable,
        info: TensorInfo,
        portions: Sequence[Owned],
        should_stop: Callable[[], bool] | None,
        progress: Callable[[int], None] | None,
        threads: int,
    ) -> Partial:
        ranges = [elements(info, portion) for owner, portion in portions if not owner]
        reading = Reading(source, info, has_channels=self._has_channels, ranges=ranges)
        reading.run(should_stop, _Counting(self._count, info, progress), threads)
        return reading.partial()

    def _wait_for(self, owner: int, portion: Portion, number: int, listen: Callable[[], None]) -> bool:
        """Whether a portion was read, once that is known. Raises ReadError if its process is lost, StoppedError."""
        inbox = self._inbox

        def is_there() -> bool:
            return number in inbox.figured or any(part.first == portion.first for part in inbox.parts.get(number, ()))

        def is_settled() -> bool:
            return is_there() or (number, portion.first) in inbox.failed or owner in inbox.lost or owner in inbox.done

        inbox.wait(is_settled, listen)
        with inbox.condition:
            if is_there():
                return True
            if owner in inbox.lost:
                raise ReadError(inbox.lost[owner])
            return False


class _Counting:
    """Progress of one reading, whose bytes are counted on the way."""

    def __init__(self, count: Callable[[int], None], info: TensorInfo, progress: Callable[[int], None] | None) -> None:
        self._count = count
        self._info = info
        self._progress = progress
        self._told = 0

    def __call__(self, done: int) -> None:
        nbytes = self._info.dtype.nbytes(done)
        self._count(nbytes - self._told)
        self._told = nbytes
        if self._progress is not None:
            self._progress(done)


class SharedComparing:
    """A comparison by a team, as the leader sees it. May be called from several threads."""

    def __init__(self, inbox: Inbox, owned: dict[int, list[Owned]]) -> None:
        self._inbox = inbox
        self._owned = owned

    @property
    def done_nbytes(self) -> int:
        """The bytes that the other processes have read so far."""
        return sum(self._inbox.nbytes.values())

    def __call__(self, job: int, place: int) -> Compared | None:
        """What came of a range of a job; None if it is to be read here. Raises ReadError."""
        inbox = self._inbox
        owner, portion = next(
            each for each in self._owned.get(job, [(0, Portion(job, place, place + 1))]) if _has(each[1], place)
        )
        if not owner:
            return None
        key = job, portion.first

        def is_settled() -> bool:
            return key in inbox.compared or key in inbox.failed or owner in inbox.lost or owner in inbox.done

        inbox.wait(is_settled)
        with inbox.condition:
            found = inbox.compared.get(key)
            if found is None and owner in inbox.lost:
                raise ReadError(inbox.lost[owner])
        if found is None:
            return None
        return unpack_compared(found) if place == portion.first else Compared(None, ())


def _has(portion: Portion, place: int) -> bool:
    return portion.first <= place < portion.stop


def _owners(shares: Sequence[Sequence[Portion]]) -> dict[int, list[Owned]]:
    """The portions of each unit, by its number."""
    owned: dict[int, list[Owned]] = {}
    for owner, portions in enumerate(shares):
        for portion in portions:
            owned.setdefault(portion.number, []).append((owner, portion))
    return owned
