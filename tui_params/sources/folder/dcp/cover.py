"""Whether the chunks of a tensor are all of it, and each element in one of them only."""

from __future__ import annotations

from math import prod

import msgspec

from tui_params.core.piece import Comparisons, Piece, find_overlap
from tui_params.sources.folder.dcp.metadata import Chunks, Shape, StoredTensor

_MAX_COMPARISONS = 2_000_000
"""Pairs of chunks that are compared in one checkpoint: 2 seconds. 4,096 ranks in a square need 270,000 a layout."""


class Cover(msgspec.Struct, frozen=True, gc=False):
    """``numel`` elements are in some chunk. ``overlap`` names two chunks that share elements.

    ``is_known`` is False where the chunks lie so that comparing them would take too long.
    """

    numel: int
    overlap: str | None = None
    is_known: bool = True


class Covers:
    """The covers of the tensors of one checkpoint. Tensors of one shape are cut alike: each layout is compared once."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._found: dict[tuple[Shape, tuple[Shape, ...], tuple[Shape, ...]], Cover] = {}
        self._left = Comparisons(_MAX_COMPARISONS)

    def of(self, tensor: StoredTensor) -> Cover:
        """How the chunks of ``tensor`` cover it."""
        span = slice(tensor.first, tensor.first + tensor.count)
        key = (tensor.shape, tuple(self._chunks.starts[span]), tuple(self._chunks.shapes[span]))
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._compare(*key)
        return found

    def _compare(self, shape: Shape, starts: tuple[Shape, ...], shapes: tuple[Shape, ...]) -> Cover:
        numel = sum(map(prod, shapes))
        if _are_rows(shape, starts, shapes):
            return Cover(numel)
        boxes = [Piece(start, lengths, "", 0, 0) for start, lengths in zip(starts, shapes, strict=True)]
        try:
            overlap = find_overlap(boxes, self._left)
        except OverflowError:
            return Cover(numel, is_known=False)
        return Cover(numel, None if overlap is None else f"{overlap[0]} and {overlap[1]}")


def _are_rows(shape: Shape, starts: tuple[Shape, ...], shapes: tuple[Shape, ...]) -> bool:
    """Whether the chunks are whole rows, one run of them after the other."""
    row = 0
    for start, lengths in sorted(zip(starts, shapes, strict=True)):
        if not prod(lengths):
            continue
        if not shape or lengths[1:] != shape[1:] or start[0] < row:
            return not shape and len(starts) == 1
        row = start[0] + lengths[0]
    return True
