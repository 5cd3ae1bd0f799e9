"""Threads that read pairs of tensors and judge them: range by range in the order of the file, in bounded memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Lock

from tui_params.core.compare.side_by_side import ByteComparison, one_side, pieces
from tui_params.core.compare.structure import Pair
from tui_params.core.compare.verdict import Progress, Tolerance, Verdict, judge, unread
from tui_params.core.dtypes import fit
from tui_params.core.numbers.difference import Counted, Tally
from tui_params.core.reading.outcome import reason_of
from tui_params.core.reading.readable import Readable
from tui_params.core.source import Source
from tui_params.core.team import Compared, Comparing, Team
from tui_params.core.tensor import TensorInfo
from tui_params.errors import StoppedError, TuiParamsError

RANGE_NBYTES = 64 << 20
"""Bytes of a tensor that one thread compares before it takes the next range, so that every thread has work."""

MOST_THREADS = 4
POLL_SECONDS = 0.05
PROGRESS_SECONDS = 0.1

Range = tuple[int, int]


class Job:
    """One pair of tensors to read, which may have several names, and what is known about it so far."""

    def __init__(self, a: TensorInfo, b: TensorInfo, pairs: list[Pair]) -> None:
        self.a, self.b = a, b
        self.pairs = pairs
        # Guarded by the lock of the threads.
        self.tally: Tally | None = None
        self.same: list[Range] = []
        self.reason: str | None = None
        self.left = 0
        self.lock = Lock()
        """Of ``sides``."""

        self.sides: tuple[Readable, Readable] | None = None

    def ranges(self) -> list[Range]:
        """The ranges of elements to compare; a tensor that is not contiguous is one range."""
        if self.a.stride is not None or self.b.stride is not None:
            return [(0, self.a.numel)]
        step = fit(RANGE_NBYTES, self.a.dtype, self.b.dtype)
        return [(start, min(start + step, self.a.numel)) for start in range(0, max(self.a.numel, 1), step)]


def compare_values(
    source_a: Source,
    source_b: Source,
    jobs: Sequence[Job],
    tolerance: Tolerance,
    deliver: Callable[[Verdict], None],
    *,
    settled: int = 0,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[Progress], None] | None = None,
    threads: int | None = None,
    team: Team | None = None,
) -> None:
    """Read and judge every job; ``settled`` more tensors, which were judged before, count as progress.

    All callbacks are called on this thread. The ``team`` reads too. Raises StoppedError, and what the team does.
    """
    total = sum(job.a.nbytes for job in jobs)
    tensors = settled + sum(len(job.pairs) for job in jobs)
    done = settled
    told = 0.0
    count = max(1, threads or min(_processors(), MOST_THREADS))
    readers = _Readers(source_a, source_b, sorted(jobs, key=_place), tolerance, count)
    if team is not None:
        readers.share(team)
    with ThreadPoolExecutor(count, "tui-params compare") as pool:
        futures = [pool.submit(readers.work, number) for number in range(count)]
        try:
            working = count
            while working:
                if should_stop is not None and should_stop():
                    raise StoppedError("the comparison was stopped")
                now = time.monotonic()
                if progress is not None and now - told >= PROGRESS_SECONDS:
                    told = now
                    progress(Progress(min(readers.done_nbytes, total), total, done, tensors))
                try:
                    verdict = readers.verdicts.get(timeout=POLL_SECONDS)
                except Empty:
                    continue
                if verdict is None:
                    working -= 1
                else:
                    done += 1
                    deliver(verdict)
        finally:
            readers.is_stopped.set()
    for future in futures:
        future.result()  # raises an error that was not foreseen
    if progress is not None:
        progress(Progress(total, total, done, tensors))


class _Readers:
    """The work that the threads share."""

    def __init__(
        self, source_a: Source, source_b: Source, jobs: Sequence[Job], tolerance: Tolerance, threads: int
    ) -> None:
        self.verdicts: SimpleQueue[Verdict | None] = SimpleQueue()
        self.is_stopped = Event()
        self.nbytes = [0] * threads
        self._source_a, self._source_b = source_a, source_b
        self._tolerance = tolerance
        self._lock = Lock()
        self._jobs = jobs
        self._ranges = self._in_order()
        self._comparing: Comparing | None = None

    @property
    def done_nbytes(self) -> int:
        """The bytes of A that were read so far."""
        return sum(self.nbytes) + (self._comparing.done_nbytes if self._comparing is not None else 0)

    def _in_order(self) -> Iterator[tuple[Job, int, int, Range]]:
        for number, job in enumerate(self._jobs):
            ranges = job.ranges()
            job.left = len(ranges)
            for place, part in enumerate(ranges):
                yield job, number, place, part

    def share(self, team: Team) -> None:
        """Read together with a team; returns in the process that leads it."""
        sizes = [[job.a.dtype.nbytes(stop - start) for start, stop in job.ranges()] for job in self._jobs]
        question = repr((self._tolerance, [(job.a.name, job.b.name) for job in self._jobs]))
        self._comparing = team.compare((self._source_a, self._source_b), sizes, question, self._read_share)

    def _read_share(self, number: int, places: Sequence[int], tell: Callable[[int], None]) -> Compared:
        """Compare ranges of a job for another process; of all its ranges with the norms of the whole."""
        job, compared = self._jobs[number], ByteComparison()
        ranges = job.ranges()
        sides = self._sides(job)
        tally, same = None, list[Range]()
        for place in places:
            found, equal = self._read(job, sides, ranges[place], compared, tell)
            if tally is not None and found is not None:
                tally.merge(found)
            tally = tally or found
            if equal[0] < equal[1]:
                same.append(equal)
        if tally is not None and len(places) == len(ranges):
            self._add_equal(tally, sides[0], job, same, lambda: tell(0))
            same = []
        return Compared(None if tally is None else tally.counted(), tuple(same))

    def work(self, number: int) -> None:
        """Compare one range after another until none is left or the comparison is stopped."""
        compared = ByteComparison()
        try:
            while not self.is_stopped.is_set():
                with self._lock:
                    found = next(self._ranges, None)
                if found is None:
                    return
                self._compare(*found, compared, number)
        except StoppedError:
            return
        finally:
            # The sign that this thread has no more verdicts.
            self.verdicts.put(None)

    def _compare(self, job: Job, number: int, place: int, part: Range, compared: ByteComparison, thread: int) -> None:
        tally, same, reason = None, tuple[Range, ...](), job.reason
        if reason is None:
            try:
                found = self._comparing(number, place) if self._comparing is not None else None
                if found is not None:
                    tally, same = self._counted(job, found.counted), found.same
                else:
                    tally, equal = self._read(job, self._sides(job), part, compared, partial(self._tell, thread))
                    same = (equal,) if equal[0] < equal[1] else ()
            except StoppedError:
                raise
            except (TuiParamsError, OSError, MemoryError) as error:
                reason = reason_of(error)
        with self._lock:
            job.reason = job.reason or reason
            if tally is not None and job.tally is not None:
                job.tally.merge(tally)
            job.tally = job.tally or tally
            job.same.extend(same)
            job.left -= 1
            is_last = not job.left
        if is_last:
            self._finish(job)

    def _tell(self, thread: int, nbytes: int) -> None:
        self.nbytes[thread] += nbytes
        self._stop_if_unwanted()

    def _counted(self, job: Job, counted: Counted | None) -> Tally | None:
        if counted is None:
            return None
        tally = self._tally(job)
        tally.add_counted(counted)
        return tally

    def _sides(self, job: Job) -> tuple[Readable, Readable]:
        """What both tensors are read from; where they change meanwhile, that is the same for all ranges of a job."""
        with job.lock:
            if job.sides is None:
                job.sides = self._source_a.still(job.a), self._source_b.still(job.b)
            return job.sides

    def _read(
        self,
        job: Job,
        sides: tuple[Readable, Readable],
        part: Range,
        compared: ByteComparison,
        tell: Callable[[int], None],
    ) -> tuple[Tally | None, Range]:
        """The tally of a range from its first difference on, and the range of equal elements before it."""
        a, b = job.a, job.b
        is_same_type = a.dtype == b.dtype
        tally = None if is_same_type else self._tally(job)
        start, stop = part
        same = start
        for piece in pieces(sides[0], a, sides[1], b, start, stop):
            if is_same_type and compared.is_same(piece.a, piece.b):
                if tally is None:
                    same = piece.start + piece.numel
                else:
                    tally.add_equal(piece.a, piece.numel)
            else:
                tally = tally or self._tally(job)
                self._source_a.engine.expect(piece.a.size + piece.b.size)
                tally.add(piece.a, piece.b, piece.numel, piece.start)
            tell(piece.a.size)
        return tally, (start, same)

    def _finish(self, job: Job) -> None:
        reason, tally = job.reason, job.tally
        if reason is None and tally is not None:
            # The norms are of the whole tensor: count the elements in that were only compared as bytes.
            try:
                self._add_equal(tally, self._sides(job)[0], job, job.same, self._stop_if_unwanted)
            except StoppedError:
                raise
            except (TuiParamsError, OSError, MemoryError) as error:
                reason = reason_of(error)
        job.sides = None
        difference = None if reason is not None or tally is None else tally.difference()
        norms_agree = tally is not None and tally.norms_agree
        for pair in job.pairs:
            if reason is None:
                verdict = judge(pair, difference, self._tolerance, norms_agree=norms_agree)
            else:
                verdict = unread(pair, reason, self._tolerance)
            self.verdicts.put(verdict)

    def _add_equal(
        self, tally: Tally, source: Readable, job: Job, ranges: Sequence[Range], listen: Callable[[], None]
    ) -> None:
        for start, stop in ranges:
            for raw, numel in one_side(source, job.a, start, stop):
                tally.add_equal(raw, numel)
                listen()

    def _tally(self, job: Job) -> Tally:
        kernels = self._source_a.engine.current
        return Tally(job.a.dtype, job.b.dtype, self._tolerance.rtol, self._tolerance.atol, kernels)

    def _stop_if_unwanted(self) -> None:
        if self.is_stopped.is_set():
            raise StoppedError("the comparison was stopped")


def _place(job: Job) -> tuple[str, int]:
    """A sort key: the order of the bytes on the disk."""
    return job.a.file or "", job.a.offset or 0


def _processors() -> int:
    # os.cpu_count would ignore the limits of a container or a scheduler.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
