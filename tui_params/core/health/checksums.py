"""Checksums that a container keeps of its bytes, verified while the tensors are read for their statistics.

The CRC-32 of a whole is combined from those of its parts, in whatever order they were read, so a check reads nothing
twice. Bytes that it has not read, or not completely, are read at the end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tui_params.core.crc32 import crc32
from tui_params.core.findings import Finding
from tui_params.core.passing import PassingSource
from tui_params.core.source import FileRange, Record, Source, StoredFile, Unfinished
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, plural
from tui_params.core.window import Window
from tui_params.errors import ReadError, StoppedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_POLYNOMIAL = 0xEDB88320
"""The polynomial of CRC-32 (ISO 3309, ITU-T V.42, PKWARE APPNOTE 4.4.7) with its bits reversed."""

_ONE = 1 << 31


class Verified(msgspec.Struct, frozen=True):
    """The result of verifying: the findings, and the reason if some bytes could not be read."""

    findings: tuple[Finding, ...]
    unread: str | None


class _Span(NamedTuple):
    """The bytes ``begin:end`` of a tensor are those of a record, by its number, from the byte ``start`` of it on."""

    begin: int
    end: int
    record: int
    start: int


class ComputedRun(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The checksum of the bytes ``begin:end`` of a record, by its number, as another process has read them."""

    record: int
    begin: int
    end: int
    crc: int


class _Run:
    """The checksum of the bytes ``begin:end`` of a record, as far as they were read."""

    __slots__ = ("begin", "crc", "end", "record")

    def __init__(self, record: int, begin: int, end: int, crc: int) -> None:
        self.record = record
        self.begin = begin
        self.end = end
        self.crc = crc


class WatchedSource(PassingSource):
    """A source that computes checksums of the bytes that are read from it, in passing."""

    def __init__(self, source: Source, records: Sequence[Record]) -> None:
        self.label = source.label
        self.listing = source.listing
        self.engine = source.engine
        self.line = source.line
        self._source = source
        self._records = records
        self._covered: Mapping[str, int] = {
            name: number for number, record in enumerate(records) for name in record.covering
        }
        self._starts = sorted((record.file, record.offset, number) for number, record in enumerate(records))
        self._lock = Lock()
        # For each record, by its number: the end and the checksum of each run that was read, by the start of the run.
        self._parts: dict[int, dict[int, tuple[int, int]]] = {}
        # The start of each of these runs, by its record and its end.
        self._ends: dict[tuple[int, int], int] = {}

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        return self._source.read_window(info, window)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        blocks = self._source.blocks(info, start, stop)
        spans = self._spans(info)
        if not spans:
            yield from blocks
            return
        at = info.dtype.nbytes(start)
        place = 0
        found: list[_Run] = []
        try:
            for block in blocks:
                end = at + block.size
                while place < len(spans) and spans[place].begin < end:
                    span = spans[place]
                    low, high = max(span.begin, at), min(span.end, end)
                    if low < high:
                        part = block.data[low - at : high - at]
                        begin = low - span.begin + span.start
                        last = found[-1] if found else None
                        if last is not None and (last.record, last.end) == (span.record, begin):
                            last.crc, last.end = crc32(part, last.crc), begin + len(part)
                        else:
                            run = self._run_before(span.record, begin)
                            run.crc, run.end = crc32(part, run.crc), begin + len(part)
                            found.append(run)
                    if span.end > end:
                        break
                    place += 1
                at = end
                yield block
        finally:
            with self._lock:
                for run in found:
                    runs = self._parts.setdefault(run.record, {})
                    # Bytes that are read again must not take the place of a longer run.
                    if run.begin not in runs or runs[run.begin][0] < run.end:
                        runs[run.begin] = (run.end, run.crc)
                        self._ends[run.record, run.end] = run.begin

    def computed(self) -> tuple[ComputedRun, ...]:
        """The checksums of what was read so far, to be taken in elsewhere."""
        with self._lock:
            return tuple(
                [
                    ComputedRun(record, begin, end, crc)
                    for record, runs in self._parts.items()
                    for begin, (end, crc) in runs.items()
                ]
            )

    def take(self, runs: Iterable[ComputedRun]) -> None:
        """Take in checksums that were computed elsewhere, of the same records."""
        with self._lock:
            for run in runs:
                known = self._parts.setdefault(run.record, {})
                if run.begin not in known or known[run.begin][0] < run.end:
                    known[run.begin] = (run.end, run.crc)

    def _run_before(self, record: int, end: int) -> _Run:
        """The run that ends where another begins, to go on with it, which is cheaper than to combine; or a new one."""
        with self._lock:
            begin = self._ends.pop((record, end), None)
            known = None if begin is None else self._parts[record].get(begin)
            if begin is None or known is None or known[0] != end:
                return _Run(record, end, end, 0)
            del self._parts[record][begin]
            return _Run(record, begin, end, known[1])

    def _spans(self, info: TensorInfo) -> list[_Span]:
        """Which bytes of ``info`` are bytes of which records."""
        number = self._covered.get(info.name)
        if number is not None:
            return [_Span(0, info.nbytes, number, 0)]
        try:
            ranges = self._source.file_ranges(info)
        except ReadError:
            return []
        spans = []
        at = 0
        for part in ranges:
            place = bisect_right(self._starts, (part.file, part.offset, len(self._records))) - 1
            record = self._records[self._starts[place][2]] if place >= 0 else None
            if record is not None and record.file == part.file:
                start = part.offset - record.offset
                if start + part.nbytes <= record.nbytes:
                    spans.append(_Span(at, at + part.nbytes, self._starts[place][2], start))
            at += part.nbytes
        return spans

    def stored_files(self) -> tuple[StoredFile, ...]:
        return self._source.stored_files()

    def file_blocks(self, name: str, start: int, stop: int) -> Iterator[memoryview]:
        return self._source.file_blocks(name, start, stop)

    def file_ranges(self, info: TensorInfo) -> tuple[FileRange, ...]:
        return self._source.file_ranges(info)

    def file_range(self, info: TensorInfo) -> tuple[str, int] | None:
        return self._source.file_range(info)

    def unfinished(self) -> tuple[Unfinished, ...]:
        return self._source.unfinished()

    def changed(self) -> str | None:
        return self._source.changed()

    def close(self) -> None:
        self._source.close()

    def verify(
        self,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Verified:
        """A finding for each record whose bytes do not have its checksum; bytes not read before are read now.

        ``progress`` gets the number of bytes read now, and of those to read in all. Raises StoppedError.
        """
        findings: list[Finding] = []
        unread = None
        runs = [self._runs(number, record) for number, record in enumerate(self._records)]
        total = sum(end - begin for of_record in runs for begin, end, crc in of_record if crc is None)
        done = 0
        for record, of_record in zip(self._records, runs, strict=True):
            crc = 0
            try:
                for begin, end, known in of_record:
                    if known is not None:
                        crc = combine(crc, known, end - begin) if begin else known
                        continue
                    missing = msgspec.structs.replace(record, offset=record.offset + begin, nbytes=end - begin)
                    for block in self._source.record_blocks(missing):
                        if should_stop is not None and should_stop():
                            raise StoppedError("the reading was stopped")
                        crc = crc32(block, crc)
                        done += len(block)
                        if progress is not None:
                            progress(done, total)
            except (ReadError, OSError) as error:
                unread = unread or f"the checksum of {clean(record.label, 120)} could not be verified: {error}"
                continue
            if crc != record.crc:
                file = record.file if record.tensor is None else None
                does, them = ("does", "it") if record.nbytes == 1 else ("do", "them")
                evidence = (
                    f"the {plural(record.nbytes, 'byte')} of {clean(record.label, 120)} {does} not have the checksum"
                    f" that the archive gives {them}"
                )
                findings.append(Finding("error", "checksum", record.tensor, evidence, file=file))
        return Verified(tuple(findings), unread)

    def _runs(self, number: int, record: Record) -> list[tuple[int, int, int | None]]:
        """The bytes of a record as runs (begin, end, checksum); without a checksum, a run was not read."""
        found: list[tuple[int, int, int | None]] = []
        at = 0
        for begin, (end, crc) in sorted(self._parts.get(number, {}).items()):
            if at <= begin < end <= record.nbytes:
                if begin > at:
                    found.append((at, begin, None))
                found.append((begin, end, crc))
                at = end
        if at < record.nbytes:
            found.append((at, record.nbytes, None))
        return found


def watched(source: Source) -> WatchedSource | None:
    """A source that computes checksums of what is read from ``source``, or None if its containers keep none."""
    records = source.records()
    return WatchedSource(source, records) if records else None


def combine(first: int, second: int, nbytes: int) -> int:
    """The CRC-32 of two adjacent runs of bytes, from that of each; the second run has ``nbytes`` bytes.

    The checksum is a remainder modulo a polynomial over GF(2): the first is multiplied by x**(8 nbytes), as
    ``crc32_combine`` of zlib does.
    """
    return _multiply(_power(nbytes), first) ^ second


def _multiply(a: int, b: int) -> int:
    """The product of two polynomials modulo that of CRC-32; the highest bit is the coefficient of 1."""
    product, bit = 0, _ONE
    while bit:
        if a & bit:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
        bit >>= 1
    return product


@lru_cache(maxsize=4096)
def _power(nbytes: int) -> int:
    """x**(8 nbytes)."""
    found, square = _ONE, _ONE >> 8
    while nbytes:
        if nbytes & 1:
            found = _multiply(square, found)
        square = _multiply(square, square)
        nbytes >>= 1
    return found
