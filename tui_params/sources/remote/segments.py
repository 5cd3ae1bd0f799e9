"""Segments: the parts of one file that have arrived, and which are still missing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Segments:
    """Bytes by their offset; no two segments share a byte. Not thread-safe."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._parts: dict[int, bytes] = {}
        self.nbytes = 0

    def add(self, begin: int, data: bytes) -> list[tuple[int, int]]:
        """Keep those of the bytes from ``begin`` on that are not there yet: where each new one begins, its length."""
        added = []
        for first, last in self.gaps(begin, begin + len(data)):
            part = data if last - first == len(data) else data[first - begin : last - begin]
            self._begins.insert(bisect_right(self._begins, first), first)
            self._parts[first] = part
            self.nbytes += len(part)
            added.append((first, len(part)))
        return added

    def gaps(self, begin: int, end: int) -> list[tuple[int, int]]:
        """The parts of ``begin:end`` that are missing, in order."""
        found = []
        for first, part in self._from(begin):
            if first >= end:
                break
            if first > begin:
                found.append((begin, first))
            begin = max(begin, first + len(part))
        if begin < end:
            found.append((begin, end))
        return found

    def read(self, begin: int, end: int) -> bytes | None:
        """The bytes ``begin:end``; None if one of them is missing."""
        found = []
        for first, part in self._from(begin):
            if first > begin or begin >= end:
                break
            found.append(part[begin - first : end - first])
            begin += len(found[-1])
        if begin < end:
            return None
        return found[0] if len(found) == 1 else b"".join(found)

    def drop(self, begin: int) -> None:
        """Forget the segment that begins there, if there is one."""
        part = self._parts.pop(begin, None)
        if part is not None:
            del self._begins[bisect_left(self._begins, begin)]
            self.nbytes -= len(part)

    def _from(self, begin: int) -> Iterator[tuple[int, bytes]]:
        """The segments that end behind ``begin``, in order."""
        for at in range(max(bisect_right(self._begins, begin) - 1, 0), len(self._begins)):
            first = self._begins[at]
            part = self._parts[first]
            if first + len(part) > begin:
                yield first, part


class Spans:
    """Parts ``begin:end`` of one file, which may overlap. Not thread-safe."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._spans = sorted(set(spans))
        self._longest = max((end - begin for begin, end in self._spans), default=0)

    def add(self, begin: int, end: int) -> None:
        at = bisect_left(self._spans, (begin, end))
        if self._spans[at : at + 1] != [(begin, end)]:
            self._spans.insert(at, (begin, end))
            self._longest = max(self._longest, end - begin)

    def drop(self, begin: int, end: int) -> None:
        at = bisect_left(self._spans, (begin, end))
        if self._spans[at : at + 1] == [(begin, end)]:
            del self._spans[at]

    def touching(self, begin: int, end: int) -> tuple[tuple[int, int], ...]:
        """Those that have a byte of ``begin:end``, in order."""
        first, last = bisect_left(self._spans, (begin - self._longest, 0)), bisect_left(self._spans, (end, 0))
        return tuple([span for span in self._spans[first:last] if span[1] > begin])
