"""ZeRO-3: of each parameter, every rank has as many elements, and those of the last may be padding.

deepspeed/runtime/zero/partition_parameters.py: of n elements, each of W ranks has ``ceil(n / W)``; what is left over at
the end of the last ranks was never written, so it is in no piece. Frozen parameters are cut in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.core.piece import Piece
from tui_params.sources.folder.deepspeed.partitions import Partition, Shape


class Dealt:
    """The partitions by rank; one that is missing is None, and ``lost`` says why."""

    def __init__(self, partitions: Sequence[Partition | None], lost: Sequence[str | None]) -> None:
        self._parts = tuple(partitions)
        self._lost = tuple(lost)

    def share(self, numel: int) -> int:
        """How many elements each rank has of a parameter, padding included."""
        return -(-numel // max(len(self._parts), 1))

    def pieces(self, shape: Shape, start: int, numel: int) -> Iterator[Piece]:
        """Where a tensor of ``numel`` elements lies that begins at the element ``start`` of each partition."""
        share = self.share(numel)
        for rank, part in enumerate(self._parts):
            count = min(share, numel - rank * share)
            if part is not None and count > 0:
                yield from part.pieces(shape, rank * share, start, count)

    def fault(self, start: int, numel: int) -> str | None:
        """Why such a tensor cannot be read, one sentence; None if it can."""
        share = self.share(numel)
        for rank, part in enumerate(self._parts):
            count = min(share, numel - rank * share)
            if count <= 0:
                break
            fault = self._lost[rank] or "its partition is missing" if part is None else part.fault(start, count)
            if fault is not None:
                return fault
        return None
