"""The read of one tensor for its statistics: whole, by several threads, or a sample of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.channels import Channels
from tui_params.core.dtypes import fit
from tui_params.core.figures import Figures
from tui_params.core.reading.cores import cores
from tui_params.core.reading.partial import Partial
from tui_params.core.reading.readable import Readable
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError, StoppedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tui_params.core.kernels.protocol import KernelSupply
    from tui_params.core.numbers.block_picture import Blocking, BlockPicture
    from tui_params.core.numbers.block_sums import BlockSums
    from tui_params.core.numbers.maxima import Maxima
    from tui_params.core.numbers.summary import Summary

SAMPLE_BEYOND = 1 << 22
"""A tensor of more elements is sampled before it is read whole."""

SAMPLE_RUNS = 16
_RUN = 1 << 16

THREADS_BEYOND = 1 << 23
"""Bytes from which a tensor is read by several threads."""

MIN_RANGE, MAX_RANGE = 1 << 21, 1 << 25
"""Bytes that a thread takes at a time."""

POLL_SECONDS = 0.02


class Measurement(msgspec.Struct, frozen=True, eq=False):
    """The result of one read of a tensor: its summary, its channels if it has rows and columns, its picture if one was
    asked for.
    """

    summary: Summary
    channels: Channels | None
    picture: BlockPicture | None = None


def measure(
    source: Readable,
    info: TensorInfo,
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
    threads: int | None = None,
) -> Measurement:
    """The summary and the channels of a tensor, from one read by up to ``threads`` (None: one for each core).

    ``should_stop`` is called once per block, ``progress`` gets the elements read so far, both on the calling thread.
    Raises ReadError (also if fewer bytes come than the tensor has), StoppedError.
    """
    found = source.worked_out(info, has_summary=True, should_stop=should_stop, progress=progress)
    if found is not None and found.summary is not None:
        return Measurement(found.summary, found.channels)
    reading = Reading(source, info, has_channels=True)
    reading.run(should_stop, progress, threads)
    return reading.measurement()


def summarize(
    source: Readable,
    info: TensorInfo,
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
    threads: int | None = None,
) -> Summary:
    """The summary alone; otherwise as ``measure``."""
    found = source.worked_out(info, has_summary=True, should_stop=should_stop, progress=progress)
    if found is not None and found.summary is not None:
        return found.summary
    reading = Reading(source, info, has_channels=False)
    reading.run(should_stop, progress, threads)
    return reading.measurement().summary


def figures_of(source: Readable, info: TensorInfo) -> Figures:
    """The figures alone. Raises ReadError."""
    found = source.worked_out(info, has_summary=False)
    return found.figures if found is not None else summarize(source, info).figures(info.numel)


def sample(source: Readable, info: TensorInfo, *, should_stop: Callable[[], bool] | None = None) -> Summary:
    """The summary of about a million elements in evenly spread runs, of a tensor of more than SAMPLE_BEYOND.

    A smaller one is read whole, and one that the source works out. Raises ReadError, StoppedError.
    """
    if info.numel <= SAMPLE_BEYOND or source.works_out(info, has_summary=True):
        return summarize(source, info, should_stop=should_stop)
    # Runs of whole 64 KiB for every type but those of 6 bits and of blocks.
    run = (2 * _RUN if info.dtype.is_packed else _RUN) // info.dtype.grain * info.dtype.grain
    starts = [(info.numel - run) * i // (SAMPLE_RUNS - 1) // run * run for i in range(SAMPLE_RUNS)]
    reading = Reading(source, info, has_channels=False, ranges=[(start, start + run) for start in starts])
    reading.run(should_stop, None, 1)
    return reading.measurement().summary


class _Share:
    """The results of one thread."""

    def __init__(
        self,
        info: TensorInfo,
        kernels: KernelSupply,
        *,
        has_channels: bool,
        is_counted: bool,
        blocking: Blocking | None,
        origin: int,
    ) -> None:
        from tui_params.core.numbers.summary import Accumulator

        self._is_counted = is_counted
        self._origin = origin
        self.accumulator = Accumulator(info.dtype, kernels)
        self.maxima: Maxima | None = None
        self.blocks: BlockSums | None = None
        if blocking is not None:
            from tui_params.core.numbers.block_sums import BlockSums

            self.blocks = BlockSums(info.dtype, blocking.region.width, blocking.tables(), kernels)
        if has_channels:
            from tui_params.core.numbers.maxima import maxima_of

            self.maxima = maxima_of(info, kernels)

    def add(self, block: NDArray[np.uint8], first: int, count: int) -> None:
        if self._is_counted:
            self.accumulator.add(block, count)
        if self.blocks is not None:
            self.blocks.add_stored(block, first - self._origin, count)
        if self.maxima is not None:
            self.maxima.add(block, first, count)


class Reading:
    """The read of one tensor, or of some ``ranges`` of its elements; it may be stopped and go on later.

    The elements are cut into consecutive ranges, and each thread takes the next one, so that a disk is read forward
    whatever the number of threads. With ``blocking``, a picture is made in the same read: of the elements from number
    ``origin`` on, in rows as wide as its region; without ``is_counted``, the picture alone is made, and no summary.
    Raises ReadError at once for a tensor that cannot be read.
    """

    def __init__(
        self,
        source: Readable,
        info: TensorInfo,
        *,
        has_channels: bool,
        ranges: Sequence[tuple[int, int]] | None = None,
        is_counted: bool = True,
        blocking: Blocking | None = None,
        origin: int = 0,
    ) -> None:
        if info.unreadable is not None:
            raise ReadError(info.unreadable)
        self._source = source
        self._still: Readable | None = None
        self._info = info
        self._has_channels = has_channels
        self._is_counted = is_counted
        self._blocking = blocking
        self._origin = origin
        self._shares = [self._share()]
        self._lock = Lock()
        # Guarded by the lock.
        self._todo = deque([(0, info.numel)] if ranges is None else ranges)
        self._wanted = sum(stop - start for start, stop in self._todo)
        self._error: Exception | None = None
        self.done = 0
        self.can_resume = info.stride is None

    def run(
        self,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
        threads: int | None = None,
    ) -> None:
        """Read what is left. Raises ReadError, StoppedError, and the source's OSError and MemoryError."""
        self._raise_if_stopped(should_stop)
        if self._still is None:
            first = min((start for start, _ in self._todo), default=0)
            self._still = self._source.still(self._info, first, max((stop for _, stop in self._todo), default=0))
            # A copy is not kept, and another one would be of another time.
            self.can_resume = self.can_resume and self._still is self._source
        self._source.engine.expect(self._info.dtype.nbytes(self._wanted - self.done))
        halt = Event()
        helpers = self._start_helpers(self._useful_threads(threads), halt)
        try:
            self._work(self._shares[0], halt, should_stop, progress)
            for helper in helpers:
                while helper.is_alive():
                    helper.join(POLL_SECONDS)
                    if helper.is_alive():
                        self._raise_if_stopped(should_stop)
        finally:
            halt.set()
            for helper in helpers:
                helper.join()
        if helpers and progress is not None:
            progress(self.done)
        if self._error is not None:
            raise self._error
        if self.done != self._wanted:
            raise ReadError(f"{self._info.name} ended after {self.done} of {self._wanted} elements")

    def _share(self) -> _Share:
        return _Share(
            self._info,
            self._source.engine.current,
            has_channels=self._has_channels,
            is_counted=self._is_counted,
            blocking=self._blocking,
            origin=self._origin,
        )

    def partial(self) -> Partial:
        """What was found of all elements read so far; call it once."""
        first, *others = [Partial(share.accumulator.summary(), share.maxima) for share in self._shares]
        for other in others:
            first.merge(other)
        return first

    def measurement(self) -> Measurement:
        """The result of all elements read so far."""
        found = self.partial()
        channels = None if found.maxima is None else found.maxima.channels()
        return Measurement(found.summary, channels, self.picture())

    def picture(self) -> BlockPicture | None:
        """The picture of the elements, all of which must have been read; call it once."""
        first = self._shares[0].blocks
        if first is None or self._blocking is None:
            return None
        from tui_params.core.numbers.block_picture import exact_picture

        for share in self._shares[1:]:
            if share.blocks is not None:
                first.tables.merge(share.blocks.tables)
        return exact_picture(self._blocking, first.tables)

    def _useful_threads(self, threads: int | None) -> int:
        """How many threads to use: one if the loops hold the GIL, or if too little is left to read."""
        info = self._info
        left = info.dtype.nbytes(self._wanted - self.done)
        if threads is None:
            threads = cores()
        if left < THREADS_BEYOND or info.stride is not None or not self._source.engine.ready():
            return 1
        return max(threads, 1)

    def _start_helpers(self, threads: int, halt: Event) -> list[Thread]:
        if threads < 2:
            return []
        info = self._info
        size = fit(min(max(info.nbytes // (4 * threads), MIN_RANGE), MAX_RANGE), info.dtype)
        self._todo = deque(
            (first, min(first + size, stop)) for start, stop in self._todo for first in range(start, stop, size)
        )
        helpers = []
        for number in range(1, threads):
            if number == len(self._shares):
                self._shares.append(self._share())
            helper = Thread(target=self._help, args=(self._shares[number], halt), name="tui-params reader", daemon=True)
            try:
                helper.start()
            except RuntimeError:  # no more threads are allowed: then without
                break
            helpers.append(helper)
        return helpers

    def _help(self, share: _Share, halt: Event) -> None:
        try:
            self._work(share, halt, halt.is_set, None)
        except StoppedError:
            pass
        except Exception as error:  # noqa: BLE001 - raised again on the thread that waits for all
            self._error = error
            halt.set()

    def _work(
        self,
        share: _Share,
        halt: Event,
        should_stop: Callable[[], bool] | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        while not halt.is_set():
            with self._lock:
                if not self._todo:
                    return
                start, stop = self._todo.popleft()
            if start < stop:
                self._read(share, start, stop, halt, should_stop, progress)
            if self._todo:
                self._raise_if_stopped(should_stop)

    def _read(
        self,
        share: _Share,
        start: int,
        stop: int,
        halt: Event,
        should_stop: Callable[[], bool] | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        first = start
        assert self._still is not None
        for block in self._still.blocks(self._info, start, stop):
            # The last byte of a packed tensor may be padded.
            count = min(self._info.dtype.numel(block.size), stop - first)
            share.add(block, first, count)
            first += count
            with self._lock:
                self.done += count
                done = self.done
            if progress is not None:
                progress(done)
            if first < stop:
                try:
                    self._raise_if_stopped(should_stop)
                except StoppedError:
                    with self._lock:
                        self._todo.appendleft((first, stop))
                        self.can_resume = self.can_resume and first % self._info.dtype.grain == 0
                    raise
                if halt.is_set():
                    return
        if first != stop:
            raise ReadError(f"{self._info.name} ended after {first} of {self._info.numel} elements")

    def _raise_if_stopped(self, should_stop: Callable[[], bool] | None) -> None:
        if should_stop is not None and should_stop():
            raise StoppedError(f"the reading of {self._info.name} was stopped")
