"""Piece: a box of elements of a tensor that a checkpoint keeps in a place of its own, as each rank writes one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import msgspec


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A box of elements, and where they are stored.

    ``start`` and ``shape`` (elements) bound the box in the tensor. ``file`` is the name of a file of the source;
    ``nbytes`` bytes of it, from the byte ``offset`` on, hold the elements, with whatever the format wraps around them.
    ``stride`` counts elements within the box; None means row-major. ``rank`` is the rank that wrote it, if known.
    """

    start: tuple[int, ...]
    shape: tuple[int, ...]
    file: str
    offset: int
    nbytes: int
    stride: tuple[int, ...] | None = None
    rank: int | None = None

    @property
    def stop(self) -> tuple[int, ...]:
        return tuple(begin + length for begin, length in zip(self.start, self.shape, strict=True))

    @property
    def numel(self) -> int:
        return prod(self.shape)

    def __str__(self) -> str:
        """The box as a slice: ``[0:128, :]`` without the shape of the tensor would be ``[0:128, 0:64]``."""
        return f"[{', '.join(f'{begin}:{end}' for begin, end in zip(self.start, self.stop, strict=True))}]"


class LocalPart(msgspec.Struct, frozen=True, gc=False):
    """Which elements of a whole tensor a tensor is that one rank saved by itself.

    ``whole`` is the name of the whole, and ``shape`` its shape. ``boxes`` are where elements lie: start in the whole,
    lengths, start in the part. ``rank`` saved it, of ``ranks``, as far as the file says so.
    """

    whole: str
    shape: tuple[int, ...]
    boxes: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...]
    rank: int | None = None
    ranks: int | None = None


def boxes(shape: tuple[int, ...], start: int, stop: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Boxes (origin, lengths) that together are the elements ``start:stop``, in row-major order."""
    if not shape:
        if start < stop:
            yield (), ()
        return
    inner = prod(shape[1:])
    while start < stop:
        row, within = divmod(start, inner)
        if within or stop - start < inner:
            end = min(stop, (row + 1) * inner)
            for origin, lengths in boxes(shape[1:], within, end - row * inner):
                yield (row, *origin), (1, *lengths)
            start = end
        else:
            rows = (stop - start) // inner
            yield (row, *(0,) * (len(shape) - 1)), (rows, *shape[1:])
            start += rows * inner


def run_of_elements(
    shape: tuple[int, ...], first: int, count: int, file: str, offset: int, itemsize: int, rank: int | None = None
) -> Iterator[Piece]:
    """The pieces of ``count`` elements in row-major order, from element ``first`` on, that lie one after the other.

    They begin at the byte ``offset`` and have ``itemsize`` bytes each: a flat partition of an optimizer.
    """
    for origin, lengths in boxes(shape, first, first + count):
        nbytes = prod(lengths) * itemsize
        yield Piece(origin, lengths, file, offset, nbytes, rank=rank)
        offset += nbytes


class Comparisons:
    """How many pairs of pieces may still be compared, by all calls together."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> None:
        """Count some. Raises OverflowError if there were not so many left."""
        self.left -= count
        if self.left < 0:
            raise OverflowError("the pieces lie side by side in too many places to be compared")


def find_overlap(pieces: Sequence[Piece], most: Comparisons | None = None) -> tuple[Piece, Piece] | None:
    """Two of the pieces that have an element in common, or None. Empty pieces have none.

    Pieces can be laid so that each is beside all others: raises OverflowError if that takes more than ``most``.
    """
    filled = [piece for piece in pieces if piece.numel]
    if not filled:
        return None
    # Along the dimension that is cut most often, the fewest pieces lie side by side.
    axis = max(range(len(filled[0].start)), key=lambda axis: len({piece.start[axis] for piece in filled}), default=0)
    active: list[Piece] = []
    for piece in sorted(filled, key=lambda piece: piece.start[axis : axis + 1]):
        active = [other for other in active if not piece.start or other.stop[axis] > piece.start[axis]]
        if most is not None:
            most.take(len(active) + 1)
        for other in active:
            if all(
                a < d and c < b for a, b, c, d in zip(piece.start, piece.stop, other.start, other.stop, strict=True)
            ):
                return other, piece
        active.append(piece)
    return None
