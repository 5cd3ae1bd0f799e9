"""Reads the checkpoints of a run side by side: every element of every step once, in bounded memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.compare.side_by_side import ByteComparison, one_side
from tui_params.core.compare.tracks import Moment, Step, Timeline, Track
from tui_params.core.compare.verdict import Progress
from tui_params.core.dtypes import fit
from tui_params.core.kernels.protocol import Moved
from tui_params.core.numbers.decode import part_dtype
from tui_params.core.numbers.difference import Tally
from tui_params.core.numbers.moments import Moments, quantum
from tui_params.core.numbers.movement import Movement
from tui_params.core.numbers.summary import Summary
from tui_params.core.reading.outcome import reason_of
from tui_params.core.reading.tensor_reading import summarize
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import StoppedError, TuiParamsError

RANGE = 1 << 21
"""Bytes of a tensor that are read from one step after the other, before the next bytes of the first step.

As many as most sources give at a time, so that they need not be copied; few enough for the processor's cache.
"""

MOST_AHEAD = 32
"""Steps up to which small tensors are read together with their neighbours: a thread keeps up to 1 MiB of each step."""

_TENSOR_COST = 1 << 15
"""Bytes that numpy reads in the time that one tensor costs, however small: without the loop it takes many calls."""

MOST_THREADS = 4
POLL_SECONDS = 0.05
PROGRESS_SECONDS = 0.1

Bytes = NDArray[np.uint8]

Known = Callable[[str], Sequence[Moment | None]]
"""By the name of a tensor, what is known of it: a moment or None for each step, or nothing at all."""


def read_timeline(
    steps: Sequence[Step],
    sources: Sequence[Source | None],
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[Progress], None] | None = None,
    found: Callable[[Track], object] | None = None,
    known: Known | None = None,
    threads: int | None = None,
) -> Timeline:
    """The timeline of a run; ``sources`` are its steps in order, None for one that could not be opened.

    ``progress`` counts the bytes of all steps, and ``found`` gets each track as soon as it is read; both are called on
    this thread, as ``should_stop`` is. ``known`` has moments that need not be read again, as the same sources gave
    them before; it is called in the threads that read. Raises StoppedError.
    """
    tensors = _by_name(sources)
    total = sum(info.nbytes for infos in tensors.values() for info in infos if info is not None)
    count = max(1, threads or min(_processors(), MOST_THREADS))
    readers = _Readers(sources, tensors, total, known)
    tracks: dict[str, Track] = {}
    told = 0.0
    with ExitStack() as stack:
        if len(sources) <= MOST_AHEAD:
            for source in sources:
                # What lies elsewhere would be fetched early, also if it is known.
                if source is not None and source.line is None:
                    stack.enter_context(source.expecting(partial(tuple, source.listing.tensors)))
        pool = stack.enter_context(ThreadPoolExecutor(count, "tui-params timeline"))
        futures = [pool.submit(readers.work) for _ in range(count)]
        try:
            while len(tracks) < len(tensors):
                if should_stop is not None and should_stop():
                    raise StoppedError("the reading of the timeline was stopped")
                now = time.monotonic()
                if progress is not None and now - told >= PROGRESS_SECONDS:
                    told = now
                    progress(Progress(readers.nbytes, total, len(tracks), len(tensors)))
                try:
                    track = readers.tracks.get(timeout=POLL_SECONDS)
                except Empty:
                    if all(future.done() for future in futures) and readers.tracks.empty():
                        break
                    continue
                tracks[track.name] = track
                if found is not None:
                    found(track)
        finally:
            readers.is_stopped.set()
    for future in futures:
        future.result()  # raises an error that was not foreseen
    if progress is not None:
        progress(Progress(total, total, len(tensors), len(tensors)))
    return Timeline(tuple(steps), tuple(tracks[name] for name in tensors))


def _by_name(sources: Sequence[Source | None]) -> dict[str, list[TensorInfo | None]]:
    """Each tensor at each step, in the order of the first step that has it."""
    found: dict[str, list[TensorInfo | None]] = {}
    for at, source in enumerate(sources):
        for info in source.listing.tensors if source is not None else ():
            found.setdefault(info.name, [None] * len(sources))[at] = info
    return found


class _Readers:
    """The work that the threads share."""

    def __init__(
        self,
        sources: Sequence[Source | None],
        tensors: Mapping[str, list[TensorInfo | None]],
        total: int,
        known: Known | None = None,
    ) -> None:
        self.tracks: SimpleQueue[Track] = SimpleQueue()
        self.is_stopped = Event()
        self.nbytes = 0
        self._sources = sources
        self._known = known
        # An iterator over a dict may be shared by threads: each step of it is one call.
        self._waiting = iter(list(tensors.items()))
        self._cost = 2 * total + _TENSOR_COST * len(tensors) * len(sources)
        engines = {id(source.engine): source.engine for source in sources if source is not None}
        self._unprepared = iter(list(engines.values()))

    def work(self) -> None:
        """Read one tensor after another until none is left or the reading is stopped."""
        compared = ByteComparison()
        try:
            for name, infos in self._waiting:
                self.tracks.put(self._track(name, infos, compared))
        except StoppedError:
            return

    def _track(self, name: str, infos: Sequence[TensorInfo | None], compared: ByteComparison) -> Track:
        first = next(info for info in infos if info is not None)
        known = self._known(name) if self._known is not None else ()
        moments = list(known) or [None] * len(infos)
        # Steps that have the tensor in another shape are tracks of their own within it: compared among themselves.
        for shape in dict.fromkeys(info.shape for info in infos if info is not None):
            places = [at for at, info in enumerate(infos) if info is not None and info.shape == shape]
            for reel, before in self._reels(places, infos, moments, compared):
                moments[reel.at] = reel.moment(before)
        return Track(name, first.shape, tuple(moments))

    def _reels(
        self,
        places: Sequence[int],
        infos: Sequence[TensorInfo | None],
        known: Sequence[Moment | None],
        compared: ByteComparison,
    ) -> list[tuple[_Reel, _Reel | None]]:
        """What has been read of the steps that are not known, each with the one that it was compared with."""
        wanted = _wanted(places, infos, known)
        reels = [_Reel(at, self._sources[at], infos[at]) for at in wanted]
        if reels:
            self._read(reels, compared)
        if len(wanted) < len(places) and any(reel.reason != reel.info.unreadable for reel in reels):
            # What a step is to be compared with was lost meanwhile; the one before that was not read.
            reels = [_Reel(at, self._sources[at], infos[at]) for at in places]
            self._read(reels, compared)
        pairs: list[tuple[_Reel, _Reel | None]] = []
        before: _Reel | None = None
        for reel in reels:
            if not _is_known(known[reel.at]):
                pairs.append((reel, before))
            before = reel if reel.reason is None else before
        self.nbytes += sum(info.nbytes for at in places if at not in wanted and (info := infos[at]) is not None)
        return pairs

    def _read(self, reels: Sequence[_Reel], compared: ByteComparison) -> None:
        """Read all elements of one tensor, range by range, and compare those of each step with the one before."""
        for engine in self._unprepared:  # only at the first tensor that is not known
            engine.prepare(self._cost)
        step = fit(RANGE, *(reel.info.dtype for reel in reels))
        numel = reels[0].info.numel
        for start in range(0, numel, step):
            stop = min(start + step, numel)
            before: _Seen | None = None
            for reel in reels:
                if reel.reason is not None:
                    continue
                if self.is_stopped.is_set():
                    raise StoppedError("the reading of the timeline was stopped")
                try:
                    seen = reel.take(before, start, stop, compared)
                except (TuiParamsError, OSError, MemoryError) as error:
                    reel.reason = reason_of(error)
                    continue
                self.nbytes += seen.raw.size
                before = seen


def _wanted(places: Sequence[int], infos: Sequence[TensorInfo | None], known: Sequence[Moment | None]) -> list[int]:
    """The steps to read: those that are not known, and what each of them is compared with."""
    wanted: set[int] = set()
    before: int | None = None
    for at in places:
        info = infos[at]
        if not _is_known(known[at]):
            wanted.update((at,) if before is None else (before, at))
        if info is not None and info.unreadable is None:
            before = at
    return sorted(wanted)


def _is_known(moment: Moment | None) -> bool:
    return moment is not None and moment.reason is None


class _Seen(NamedTuple):
    """Some elements of a step, their bytes, and what the loop found of them, if there is one for the type."""

    reel: _Reel
    raw: Bytes
    found: Moved | None


class _Reel:
    """One tensor at one step while it is read."""

    def __init__(self, at: int, source: Source | None, info: TensorInfo | None) -> None:
        assert source is not None
        assert info is not None
        self.at = at
        self.info = info
        self.reason = info.unreadable
        self._source = source
        self._moments = Moments()
        self._movement = Movement()
        self._tally: Tally | None = None
        self._same: list[tuple[int, int]] = []
        self._before: _Reel | None = None
        self._is_partial = False

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes of some elements, valid as long as they are held. Raises ReadError."""
        pieces = one_side(self._source, self.info, start, stop)
        first, numel = next(pieces, (np.empty(0, np.uint8), stop - start))
        if numel == stop - start:
            return first
        raw = np.empty(self.info.dtype.nbytes(stop - start), np.uint8)
        raw[: first.size] = first
        at = first.size
        for piece, _ in pieces:
            raw[at : at + piece.size] = piece
            at += piece.size
        return raw

    def take(self, before: _Seen | None, start: int, stop: int, compared: ByteComparison) -> _Seen:
        """Read some elements, and compare them with those of the step before. Raises ReadError."""
        raw, numel = self.read(start, stop), stop - start
        self._source.engine.expect(2 * raw.size)
        if before is not None:
            self._follow(before.reel)
        if self._is_partial:
            before = None  # it is compared from the start once all are read
        earlier, old, known = before if before is not None else (self, None, None)
        types = earlier.info.dtype.name, self.info.dtype.name
        found = self._movement.add(self._source.engine.current(), types, known, old, raw, numel)
        if found is None:
            self._moments += Summary.of(raw, self.info.dtype, numel, self._source.engine.current).moments_of()
        if before is not None and found is None:
            self.compare(before.reel, before.raw, raw, start, stop, compared)
        return _Seen(self, raw, found)

    def _follow(self, before: _Reel) -> None:
        # A step before it may be lost half way; then it is compared with an earlier one, from the start.
        self._is_partial |= self._before is not None and self._before is not before
        self._before = before

    def compare(self, before: _Reel, old: Bytes, new: Bytes, start: int, stop: int, compared: ByteComparison) -> None:
        """Compare some elements with those of the step before. Raises ReadError if the types cannot be decoded."""
        if self.info.dtype == before.info.dtype and compared.is_same(old, new):
            self._same.append((start, stop))
            return
        if self._tally is None:
            self._tally = Tally(before.info.dtype, self.info.dtype, kernels=self._source.engine.current)
        self._tally.add(old, new, stop - start, start)

    def moment(self, before: _Reel | None) -> Moment:
        """What came of it; ``before`` is the step that it was compared with, if it was read whole."""
        info = self.info
        if self.reason is not None:
            return Moment(info.dtype.short, info.numel, reason=self.reason)
        found, quick = self._moments, self._movement
        sizes = [abs(value) for value in (found.low, found.high, quick.abs_max) if value is not None]
        try:
            norm = self._norm()
        except (TuiParamsError, OSError, MemoryError) as error:
            return Moment(info.dtype.short, info.numel, reason=reason_of(error))
        infinite = found.pos_inf + found.neg_inf + quick.infinite
        moment = Moment(info.dtype.short, info.numel, found.nan + quick.nan, infinite, norm, max(sizes, default=None))
        if before is None:
            return moment
        try:
            if self._is_partial:
                self._compare_again(before)
            return self._compared(moment, before)
        except (TuiParamsError, OSError, MemoryError):
            return moment  # it was read, and what it was compared with is gone since

    def _norm(self) -> float | None:
        """The norm, rounded once; for this few have to be read again. Raises ReadError."""
        moments = self._moments
        if self._movement.finite:
            try:
                return self._movement.l2_norm(moments)
            except ArithmeticError:
                moments = summarize(self._source, self.info).moments_of()
        return moments.l2_norm(quantum(part_dtype(self.info.dtype)))

    def _compare_again(self, before: _Reel) -> None:
        self._tally, self._same = None, []
        self._movement.forget()
        compared = ByteComparison()
        step = fit(RANGE, self.info.dtype, before.info.dtype)
        for start in range(0, self.info.numel, step):
            stop = min(start + step, self.info.numel)
            self.compare(before, before.read(start, stop), self.read(start, stop), start, stop, compared)

    def _compared(self, moment: Moment, before: _Reel) -> Moment:
        tally, quick = self._tally, self._movement
        if tally is None and quick.differs and not self._same:
            change, changed = quick.change(), quick.changed_fraction
            return msgspec.structs.replace(moment, since=before.at, change=change, changed=changed, is_identical=False)
        if tally is None and quick.differs:
            tally = Tally(before.info.dtype, self.info.dtype, kernels=self._source.engine.current)
        if tally is None:
            is_same = self.info.dtype == before.info.dtype
            return msgspec.structs.replace(moment, since=before.at, change=0.0, changed=0.0, is_identical=is_same)
        for start, stop in self._same:
            # The norm is of the whole tensor: the equal elements are counted in.
            tally.add_equal(self.read(start, stop), stop - start)
        tally.add_counted(quick.counted())
        difference = tally.difference()
        return msgspec.structs.replace(
            moment,
            since=before.at,
            change=difference.relative_l2,
            changed=difference.changed_fraction,
            is_identical=False,
        )


def _processors() -> int:
    # os.cpu_count would ignore the limits of a container or a scheduler.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
