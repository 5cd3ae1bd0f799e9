"""The sweep: every wanted tensor of a source, in the order in which the bytes lie on the disk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from tui_params.core.reading import Outcome, measure, reason_of
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import StoppedError, TuiParamsError

PROGRESS_SECONDS = 0.1


class ScanProgress(msgspec.Struct, frozen=True, gc=False):
    """How far a sweep has come. Bytes of tied tensors count once, those of tensors that failed as done."""

    done_bytes: int
    total_bytes: int
    done_tensors: int
    total_tensors: int


def plan(infos: Iterable[TensorInfo]) -> tuple[TensorInfo, ...]:
    """The tensors in the order of their bytes: file by file as they are first named, each once and forward."""
    files: dict[str | None, int] = {}
    keys = [(files.setdefault(info.file, len(files)), info.offset or 0, info) for info in infos]
    return tuple(info for _, _, info in sorted(keys, key=lambda key: key[:2]))


def scan_all(
    source: Source,
    names: Sequence[str],
    deliver: Callable[[Outcome], None],
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[ScanProgress], None] | None = None,
    threads: int | None = None,
) -> None:
    """Read every named tensor whole, and ``deliver`` one final Outcome of each, in the order of ``plan``.

    A name that is unknown, and a tensor that cannot be read, is an Outcome with a reason; the rest goes on. Tied
    tensors are read once. ``deliver``, ``should_stop`` (asked about every MB) and ``progress`` (ten times a second at
    most, and once at the end) are called on the calling thread. ``threads`` read one tensor together; None: one a core.
    Raises StoppedError.
    """
    from tui_params.core import kernels

    order = plan(info for name in dict.fromkeys(names) if (info := _found(source, name, deliver)) is not None)
    sharing = Counter(info.tied_to or info.name for info in order)
    first = {info.tied_to or info.name: info for info in reversed(order)}
    total = sum(info.nbytes for info in first.values())
    if total >= kernels.WORTH_COMPILING:
        kernels.start_compiling()
    sweep = _Sweep(total, len(order), progress)
    shared: dict[str, Outcome] = {}
    for info in order:
        identity = info.tied_to or info.name
        outcome = shared.get(identity)
        if outcome is not None:
            outcome = msgspec.structs.replace(outcome, name=info.name)
        else:
            outcome = _outcome(source, info, should_stop, sweep, threads)
            # Another name of the same bytes may still be readable where this one is not.
            if sharing[identity] > 1 and outcome.reason is None:
                shared[identity] = outcome
            sweep.finish(info.nbytes if first[identity] is info else 0)
        deliver(outcome)
        sweep.count()
    sweep.publish(is_last=True)


def _found(source: Source, name: str, deliver: Callable[[Outcome], None]) -> TensorInfo | None:
    try:
        return source.find(name)
    except TuiParamsError as error:
        deliver(Outcome(name, None, reason_of(error), True))
        return None


def _outcome(
    source: Source, info: TensorInfo, should_stop: Callable[[], bool] | None, sweep: _Sweep, threads: int | None
) -> Outcome:
    def progress(done: int) -> None:
        sweep.reading(info.dtype.nbytes(done))

    try:
        found = measure(source, info, should_stop=should_stop, progress=progress, threads=threads)
        return Outcome(info.name, found.summary.figures(info.numel), None, True, found.channels)
    except StoppedError:
        raise
    except (TuiParamsError, OSError, MemoryError) as error:
        return Outcome(info.name, None, reason_of(error), True)


class _Sweep:
    """The running totals of one sweep, and when they were last told."""

    def __init__(self, nbytes: int, tensors: int, progress: Callable[[ScanProgress], None] | None) -> None:
        self._total_bytes, self._total_tensors = nbytes, tensors
        self._progress = progress
        self._done_bytes = self._reading = self._done_tensors = 0
        self._told = time.monotonic()

    def reading(self, nbytes: int) -> None:
        self._reading = nbytes
        self.publish()

    def finish(self, nbytes: int) -> None:
        self._done_bytes += nbytes
        self._reading = 0

    def count(self) -> None:
        self._done_tensors += 1
        self.publish()

    def publish(self, *, is_last: bool = False) -> None:
        if self._progress is None:
            return
        now = time.monotonic()
        if is_last or now - self._told >= PROGRESS_SECONDS:
            self._told = now
            done = min(self._done_bytes + self._reading, self._total_bytes)
            self._progress(ScanProgress(done, self._total_bytes, self._done_tensors, self._total_tensors))
