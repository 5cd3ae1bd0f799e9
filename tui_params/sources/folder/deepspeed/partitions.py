"""Partitions: the elements that each rank has of a flat buffer, one tensor after another in its file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from tui_params.core.piece import Piece, run_of_elements
from tui_params.core.tensor import TensorInfo

Shape = tuple[int, ...]


class Partition:
    """The flat tensors of one rank, as one run of elements; ``numel`` is how many it has."""

    def __init__(self, rank: int, flats: Sequence[TensorInfo]) -> None:
        self.rank = rank
        self.flats = tuple(flats)
        self._ends = list(accumulate(info.numel for info in flats))
        self.numel = self._ends[-1] if self._ends else 0

    def pieces(self, shape: Shape, first: int, start: int, count: int) -> Iterator[Piece]:
        """Where the elements ``start`` and further, ``count`` of them, lie: ``first`` and further of a tensor."""
        number = bisect_right(self._ends, start)
        while count > 0 and number < len(self.flats):
            info, end = self.flats[number], self._ends[number]
            some = min(count, end - start)
            if some and info.file is not None and info.offset is not None:
                size = info.dtype.itemsize
                offset = info.offset + (start - (end - info.numel)) * size
                yield from run_of_elements(shape, first, some, info.file, offset, size, self.rank)
            first, start, count, number = first + some, start + some, count - some, number + 1

    def fault(self, start: int, count: int) -> str | None:
        """Why these elements cannot be read, one sentence; None if they can."""
        number = bisect_right(self._ends, start)
        while count > 0:
            if number >= len(self.flats):
                return f"rank {self.rank:,} has only {self.numel:,} elements of it"
            info = self.flats[number]
            if info.unreadable is not None:
                return info.unreadable
            some = self._ends[number] - start
            start, count, number = start + some, count - some, number + 1
        return None
