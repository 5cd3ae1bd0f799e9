"""Overlaps: tensors of a file that share bytes without being tied, and how often these bytes are read at most.

A header of a few megabytes can let 100,000 tensors share the same bytes. What is read must follow from the bytes of the
file, not from what its header says: the same elements are read once, whatever their names, and where places overlap in
part the sum of all reads is bounded.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from tui_params.core.reading.readable import Readable
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, size

MOST_READS = 4
"""How often the bytes that tensors share are read at most, on average over a file."""

FREE_NBYTES = 64 << 20
"""So much is read of any file, however often its tensors overlap: it takes no time."""


class Overlaps:
    """Which tensors of a source have the same elements, and how much may still be read of files that overlap.

    A file without overlaps costs one comparison for each of its tensors. Tied tensors do not count: their source says
    that they are the same. To be used by one thread at a time for each file.
    """

    def __init__(self, source: Readable, order: Iterable[TensorInfo], *, are_ties_read: bool = False) -> None:
        """``order`` has the tensors file by file and forward, as ``sweep.plan`` does.

        ``are_ties_read``: tied tensors are read again, as in a comparison with tensors that are tied otherwise.
        """
        order = tuple(order)
        self._left = _allowances(order, are_ties_read=are_ties_read)
        self._whole = dict(self._left)
        self._identities: dict[str, str] = {}
        if not self._left:
            return
        firsts: dict[Hashable, str] = {}
        for info in order:
            if info.file in self._left and info.tied_to is None and info.unreadable is None:
                place = source.place(info)
                if place is not None:
                    first = firsts.setdefault((place, info.dtype.name, info.shape, info.stride), info.name)
                    self._identities[info.name] = first

    def identity(self, info: TensorInfo) -> str:
        """One name for all tensors with the same elements: the first of them."""
        first = info.first_name
        return self._identities.get(first, first)

    def limit(self, file: str | None) -> int | None:
        """The bytes that are read of a file in which tensors overlap, else None."""
        return self._whole.get(file)

    def take(self, info: TensorInfo) -> str | None:
        """Count the read of a tensor; one sentence if so much of its file was read that it must not be read."""
        left = self._left.get(info.file)
        if left is None:
            return None
        if info.nbytes > left:
            return (
                f"tensors of {clean(info.file or '', 120)} share bytes or repeat their own, so that no more than"
                f" {size(self._whole[info.file])} of it is read: this one was not"
            )
        self._left[info.file] = left - info.nbytes
        return None


def _allowances(order: Iterable[TensorInfo], *, are_ties_read: bool) -> dict[str | None, int]:
    """The bytes that may be read of each file in which tensors overlap."""
    covered: dict[str | None, int] = {}
    overlapping: dict[str | None, None] = {}
    file: str | None = None
    cursor = total = 0
    for info in order:
        begin = info.offset
        if begin is None or not info.nbytes or (info.tied_to is not None and not are_ties_read):
            continue
        if info.file != file:
            covered[file] = total
            file, cursor, total = info.file, 0, 0
        end = begin + (info.nbytes if info.stride is None else _span(info))
        if begin < cursor or end - begin < info.nbytes:
            overlapping[file] = None
        if end > cursor:
            total += end - max(begin, cursor)
            cursor = end
    covered[file] = total
    return {file: MOST_READS * covered[file] + FREE_NBYTES for file in overlapping}


def _span(info: TensorInfo) -> int:
    """The bytes from the first to the last element of a strided view; less than it has where elements are repeated."""
    steps = zip(info.shape, info.stride or (), strict=True)
    return info.dtype.nbytes(1 + sum((dim - 1) * step for dim, step in steps))
