"""Where the elements of one tensor lie in a file."""

from __future__ import annotations

import msgspec


class Extent(msgspec.Struct, frozen=True, gc=False):
    """Where the elements of one tensor lie.

    ``file`` is the name of a DataFile. ``offset`` is the byte of that file where the first element starts;
    ``begin`` and ``end`` bound the storage, which no read leaves. ``stride`` counts elements and is never negative;
    None means row-major contiguous. ``is_conj`` and ``is_neg`` are torch's lazy bits: the elements in the file have
    yet to be conjugated, or negated. ``is_swapped`` says that their bytes are in big-endian order.
    """

    file: str
    offset: int
    begin: int
    end: int
    stride: tuple[int, ...] | None = None
    is_conj: bool = False
    is_neg: bool = False
    is_swapped: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the elements are what the bytes of the file say, as they are."""
        return not (self.is_conj or self.is_neg or self.is_swapped)
