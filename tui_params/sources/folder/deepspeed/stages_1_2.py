"""ZeRO-1 and 2, and BF16_Optimizer: the partitions of all ranks, one after the other, are the flat buffer of a group.

deepspeed/runtime/zero/stage_1_and_2.py: parameters lie one after the other in the order of ``param_shapes``, each
followed by its alignment padding; a parameter may begin in one rank and end in another. What is left over at the end
fills the last ranks up, and is stripped from the float32 values but not from the moments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.core.piece import Piece
from tui_params.sources.folder.deepspeed.partitions import Partition, Shape


class Joined:
    """A flat buffer: the partitions by rank. Behind the first that is None, no place is known; ``lost`` says why."""

    def __init__(self, partitions: Sequence[Partition | None], lost: Sequence[str | None]) -> None:
        known = next((rank for rank, part in enumerate(partitions) if part is None), len(partitions))
        self._parts = [part for part in partitions[:known] if part is not None]
        self._lost = None if known == len(partitions) else lost[known] or "a partition is missing"
        self._starts: list[int] = []
        self.numel = 0
        for part in self._parts:
            self._starts.append(self.numel)
            self.numel += part.numel

    @property
    def is_whole(self) -> bool:
        return self._lost is None

    def pieces(self, shape: Shape, start: int, numel: int) -> Iterator[Piece]:
        """Where a tensor of ``numel`` elements lies that begins at the element ``start`` of the buffer."""
        for part, first, count in self._touched(start, numel):
            yield from part.pieces(shape, max(first - start, 0), max(start - first, 0), count)

    def fault(self, start: int, numel: int) -> str | None:
        """Why such a tensor cannot be read, one sentence; None if it can."""
        if start + numel > self.numel:
            if self._lost is not None:
                return self._lost
            return (
                f"it would be the elements {start:,} to {start + numel:,} of a flat buffer,"
                f" and the ranks together have {self.numel:,}"
            )
        for part, first, count in self._touched(start, numel):
            fault = part.fault(max(start - first, 0), count)
            if fault is not None:
                return fault
        return None

    def _touched(self, start: int, numel: int) -> Iterator[tuple[Partition, int, int]]:
        """Each partition that has elements of it, where that begins in the buffer, and how many elements it has."""
        for part, first in zip(self._parts, self._starts, strict=True):
            count = min(first + part.numel, start + numel) - max(first, start)
            if count > 0:
                yield part, first, count
