"""The sweep: every wanted tensor of a source, in the order in which the bytes lie on the disk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import NamedTuple, Protocol

import msgspec

from tui_params.core.reading import device_queues
from tui_params.core.reading.cores import cores
from tui_params.core.reading.device_queues import ReadTogether, split_by_device
from tui_params.core.reading.outcome import Outcome, reason_of
from tui_params.core.reading.overlaps import Overlaps
from tui_params.core.reading.partial import Measured
from tui_params.core.reading.readable import Readable
from tui_params.core.reading.tensor_reading import measure
from tui_params.core.tensor import TensorInfo
from tui_params.errors import StoppedError, TuiParamsError

PROGRESS_SECONDS = 0.1

FEW = 1 << 16
"""Elements up to which a tensor is read without the preparations that a larger one needs."""

FEW_COST = 1 << 17
"""numpy takes about as long for such a tensor as for so many bytes of a large one, if not longer."""


class ScanProgress(msgspec.Struct, frozen=True, gc=False):
    """How far a sweep has come. The bytes of tied tensors count once, and those of tensors that failed as done."""

    done_bytes: int
    total_bytes: int


class Measure(Protocol):
    """Reads one tensor for its figures; as ``tensor_reading.measure``."""

    def __call__(
        self,
        source: Readable,
        info: TensorInfo,
        *,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
        threads: int | None = None,
    ) -> Measured: ...


class Measuring(Measure, Protocol):
    """Reads one tensor together with others."""

    def is_read_here(self, info: TensorInfo) -> bool:
        """Whether this process is to read all of a tensor."""


def measure_alone(
    source: Readable,
    info: TensorInfo,
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
    threads: int | None = None,
) -> Measured:
    """The figures of a tensor that this process reads whole. Raises ReadError, StoppedError."""
    ready = source.worked_out(info, has_summary=False, should_stop=should_stop, progress=progress)
    if ready is not None:
        return Measured(ready.figures, ready.channels)
    if info.numel <= FEW and source.engine.ready():
        # Imports numpy, which the engine has done by now.
        from tui_params.core.reading.few_reading import is_few, measure_few

        if is_few(info):
            return measure_few(source, info, should_stop=should_stop, progress=progress)
    found = measure(source, info, should_stop=should_stop, progress=progress, threads=threads)
    return Measured(found.summary.figures(info.numel), found.channels)


def to_read(source: Readable, names: Iterable[str]) -> tuple[TensorInfo, ...]:
    """The tensors that ``scan_all`` will read of those named, in its order: of tied ones and the like the first."""
    infos = []
    for name in dict.fromkeys(names):
        with suppress(TuiParamsError):
            infos.append(source.find(name))
    order = plan(infos)
    overlaps = Overlaps(source, order)
    seen: set[str] = set()
    found = []
    for info in order:
        identity = overlaps.identity(info)
        if info.unreadable is None and identity not in seen:
            seen.add(identity)
            if overlaps.take(info) is None:
                found.append(info)
    return tuple(found)


def plan(infos: Iterable[TensorInfo]) -> tuple[TensorInfo, ...]:
    """The tensors in the order of their bytes: file by file as they are first named, each once and forward."""
    files: dict[str | None, int] = {}
    keys = [(files.setdefault(info.file, len(files)), info.offset or 0, info) for info in infos]
    return tuple(info for _, _, info in sorted(keys, key=lambda key: key[:2]))


def scan_all(
    source: Readable,
    names: Sequence[str],
    deliver: Callable[[Outcome], None],
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[ScanProgress], None] | None = None,
    threads: int | None = None,
    known: Callable[[TensorInfo], Outcome | None] | None = None,
    is_known: Callable[[TensorInfo], bool] | None = None,
    device_of: Callable[[TensorInfo], int | None] | None = None,
    measuring: Measuring | None = None,
) -> None:
    """Read every named tensor whole, and ``deliver`` one final Outcome of each, in the order of ``plan``.

    An unknown name, and a tensor that cannot be read, gives an Outcome with a reason, and the sweep goes on; what is
    known to be unreadable comes first. Tied tensors, and others with the same elements, are read once. Where tensors of
    a file overlap in part, the bytes read are bounded, and the rest gets a reason. ``known`` is called right before a
    tensor is read: an Outcome that it returns is delivered instead; ``is_known`` tells whether it would return one now,
    without taking the tensor. ``threads`` read one tensor together; None: one for each core. ``measuring`` reads the
    tensors instead, with others (``core.team``).

    If the files are on several devices (``device_of``, by default their ``st_dev``), each device is read by a thread of
    its own, in that order. ``deliver`` and ``progress`` (ten times a second at most, and once at the end) are called on
    the calling thread all the same; ``should_stop`` (about every MB) and ``known`` on the one that reads. Raises
    StoppedError, of several devices after two seconds even if one hangs.
    """
    order = plan(info for name in dict.fromkeys(names) if (info := _found(source, name, deliver, known)) is not None)
    overlaps = Overlaps(source, order)
    first = {overlaps.identity(info): info for info in reversed(order)}
    total = _total(first.values(), overlaps)
    source.engine.prepare(total + FEW_COST * sum(info.numel <= FEW for info in first.values()))
    queues = split_by_device(order, device_of or partial(device_queues.device_of, source))
    sweep = _Sweep(total, progress, len(queues))
    sharing = Counter(overlaps.identity(info) for info in order)
    read = partial(_read, source, measuring or measure_alone, first, sharing, known, overlaps)
    if len(queues) < 2:

        def reading(nbytes: int) -> None:
            sweep.reading(0, nbytes)
            sweep.publish()

        results: Generator[_Result, None, None] = (
            result for queue in queues for result in read(queue, 0, reading, should_stop, lambda: threads)
        )
    else:
        results = _read_together(queues, read, sweep, should_stop, threads)

    def expected() -> list[TensorInfo]:
        here = order if measuring is None else [info for info in order if measuring.is_read_here(info)]
        return [info for info in here if is_known is None or not is_known(info)]

    with closing(results), source.expecting(expected):
        for result in results:
            sweep.finish(result.queue, result.nbytes)
            deliver(result.outcome)
            sweep.publish()
    sweep.publish(is_last=True)


def _total(infos: Iterable[TensorInfo], overlaps: Overlaps) -> int:
    """The bytes that will be read."""
    files: Counter[str | None] = Counter()
    for info in infos:
        files[info.file] += info.nbytes
    limits = {file: overlaps.limit(file) for file in files}
    return sum(nbytes if (limit := limits[file]) is None else min(nbytes, limit) for file, nbytes in files.items())


class _Result(NamedTuple):
    """The outcome of a tensor, the queue that it was in, and the bytes that are done with it."""

    outcome: Outcome
    queue: int
    nbytes: int


def _read_together(
    queues: Sequence[Sequence[TensorInfo]],
    read: Callable[..., Iterator[_Result]],
    sweep: _Sweep,
    should_stop: Callable[[], bool] | None,
    threads: int | None,
) -> Generator[_Result, None, None]:
    def is_over() -> bool:
        return together.is_over() or (should_stop is not None and should_stop())

    def share() -> int:
        # The threads of a device that is done help the others.
        return max(1, (threads or cores()) // max(1, together.running))

    def wait() -> None:
        sweep.publish()
        if should_stop is not None and should_stop():
            raise StoppedError("the reading was stopped")

    together: ReadTogether[_Result] = ReadTogether(wait)
    return together.read(
        [read(queue, number, partial(sweep.reading, number), is_over, share) for number, queue in enumerate(queues)]
    )


def _read(
    source: Readable,
    measuring: Measure,
    first: Mapping[str, TensorInfo],
    sharing: Mapping[str, int],
    known: Callable[[TensorInfo], Outcome | None] | None,
    overlaps: Overlaps,
    queue: Sequence[TensorInfo],
    number: int,
    reading: Callable[[int], None],
    should_stop: Callable[[], bool] | None,
    threads: Callable[[], int | None],
) -> Iterator[_Result]:
    """Read the tensors of one queue; ``reading`` gets the bytes read so far of the current one."""
    shared: dict[str, Outcome] = {}
    for info in queue:
        identity = overlaps.identity(info)
        outcome = shared.get(identity)
        if outcome is not None:
            yield _Result(msgspec.structs.replace(outcome, name=info.name), number, 0)
            continue
        outcome = known(info) if known is not None else None
        nbytes = info.nbytes if first[identity] is info else 0
        if outcome is None:
            refusal = overlaps.take(info)
            if refusal is None:
                outcome = _outcome(source, measuring, info, should_stop, reading, threads())
            else:
                outcome, nbytes = Outcome(info.name, None, refusal, True), 0
        # Another name of the same bytes may still be readable where this one is not.
        if sharing[identity] > 1 and outcome.reason is None:
            shared[identity] = outcome
        yield _Result(outcome, number, nbytes)


def _found(
    source: Readable,
    name: str,
    deliver: Callable[[Outcome], None],
    known: Callable[[TensorInfo], Outcome | None] | None,
) -> TensorInfo | None:
    """The tensor to read; None if it cannot be, which is delivered at once: an index may name 100,000 absent ones."""
    try:
        info = source.find(name)
    except TuiParamsError as error:
        deliver(Outcome(name, None, reason_of(error), True))
        return None
    if info.unreadable is None or known is not None or info.tied_to is not None:
        return info
    deliver(Outcome(name, None, info.unreadable, True))
    return None


def _outcome(
    source: Readable,
    measuring: Measure,
    info: TensorInfo,
    should_stop: Callable[[], bool] | None,
    reading: Callable[[int], None],
    threads: int | None,
) -> Outcome:
    if info.unreadable is not None:
        return Outcome(info.name, None, info.unreadable, True)

    def progress(done: int) -> None:
        # Not the bytes of the elements as they are read: blocks that are restored have fewer in the file.
        reading(info.nbytes * done // max(info.numel, 1))

    try:
        figures, channels = measuring(source, info, should_stop=should_stop, progress=progress, threads=threads)
        return Outcome(info.name, figures, None, True, channels)
    except StoppedError:
        raise
    except (TuiParamsError, OSError, MemoryError) as error:
        return Outcome(info.name, None, reason_of(error), True)


class _Sweep:
    """The running totals of one sweep, and when they were last published. Each queue's thread notes its own reading."""

    def __init__(self, nbytes: int, progress: Callable[[ScanProgress], None] | None, queues: int) -> None:
        self._total_bytes = nbytes
        self._progress = progress
        self._done_bytes = self._most = 0
        self._reading = [0] * max(1, queues)
        self._published = time.monotonic()

    def reading(self, queue: int, nbytes: int) -> None:
        self._reading[queue] = nbytes

    def finish(self, queue: int, nbytes: int) -> None:
        self._done_bytes += nbytes
        self._reading[queue] = 0

    def publish(self, *, is_last: bool = False) -> None:
        if self._progress is None:
            return
        now = time.monotonic()
        if is_last or now - self._published >= PROGRESS_SECONDS:
            self._published = now
            # A queue may be at its next tensor before the last one is counted: the progress must not go back then.
            self._most = max(self._most, min(self._done_bytes + sum(self._reading), self._total_bytes))
            self._progress(ScanProgress(self._most, self._total_bytes))
