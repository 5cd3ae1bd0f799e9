"""Checksums that a container keeps of its bytes, verified while the tensors are read for their statistics.

The CRC-32 of a whole is combined from those of its parts, in whatever order they were read, so a check reads nothing
twice. Bytes that it has not read, or not completely, are read at the end.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.reading.readable import FileStamp
from tui_params.core.source import Record, Source, StoredFile, Unfinished
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


class WatchedSource(Source):
    """A source that computes checksums of the bytes that are read from it, in passing."""

    def __init__(self, source: Source, records: Sequence[Record]) -> None:
        self.label = source.label
        self.listing = source.listing
        self.engine = source.engine
        self._source = source
        self._records = records
        self._covered: Mapping[str, int] = {
            name: number for number, record in enumerate(records) for name in record.covering
        }
        self._lock = Lock()
        # For each record, by its number: the end and the checksum of each run that was read, by the start of the run.
        self._parts: dict[int, dict[int, tuple[int, int]]] = {}

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        return self._source.read_window(info, window)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        number = self._covered.get(info.name)
        blocks = self._source.blocks(info, start, stop)
        if number is None:
            yield from blocks
            return
        begin = end = info.dtype.nbytes(start)
        crc = 0
        try:
            for block in blocks:
                crc = zlib.crc32(block.data, crc)
                end += block.size
                yield block
        finally:
            with self._lock:
                self._parts.setdefault(number, {})[begin] = (end, crc)

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        return self._source.data_file(info)

    def place(self, info: TensorInfo) -> Hashable | None:
        return self._source.place(info)

    def stored_files(self) -> tuple[StoredFile, ...]:
        return self._source.stored_files()

    def file_blocks(self, name: str, start: int, stop: int) -> Iterator[memoryview]:
        return self._source.file_blocks(name, start, stop)

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
        known = [self._known(number, record) for number, record in enumerate(self._records)]
        total = sum(record.nbytes for record, crc in zip(self._records, known, strict=True) if crc is None)
        done = 0
        for record, read in zip(self._records, known, strict=True):
            crc = read
            if crc is None:
                crc = 0
                try:
                    for block in self._source.record_blocks(record):
                        if should_stop is not None and should_stop():
                            raise StoppedError("the reading was stopped")
                        crc = zlib.crc32(block, crc)
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

    def _known(self, number: int, record: Record) -> int | None:
        """The checksum of a record if each of its bytes was read, else None."""
        parts = self._parts.get(number, {})
        at = crc = 0
        while at < record.nbytes:
            part = parts.get(at)
            if part is None or part[0] <= at:
                return None
            crc = combine(crc, part[1], part[0] - at) if at else part[1]
            at = part[0]
        return crc if at == record.nbytes else None


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
