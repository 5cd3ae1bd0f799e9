"""OverRanks: what every rank of a job has of one tensor, read after the same step."""

from __future__ import annotations

import msgspec


class RankFigures(msgspec.Struct, frozen=True, gc=False):
    """Figures of what one rank has. ``norm`` and ``abs_max`` are over the finite values of floating types, else None.

    ``bits`` is equal for ranks that have the same elements to the last bit.
    """

    rank: int
    norm: float | None
    abs_max: float | None
    non_finite: int
    bits: bytes


class OverRanks(msgspec.Struct, frozen=True):
    """The ranks that were read, in their order, and the step after which all were.

    ``served`` is how many ranks the source has, with those that lack the tensor or where it cannot be read.
    ``is_replica``: each is meant to have the same, so one that differs is at fault. ``is_piece``: each has another
    part. Neither is known of other tensors.
    """

    ranks: tuple[RankFigures, ...]
    step: int
    served: int
    is_replica: bool = False
    is_piece: bool = False

    @property
    def odd(self) -> tuple[int, ...]:
        """The ranks that have other bits than most; those after the first if no bits are those of more than half."""
        counts: dict[bytes, int] = {}
        for each in self.ranks:
            counts[each.bits] = counts.get(each.bits, 0) + 1
        most = max(counts, key=lambda bits: counts[bits], default=b"")
        if 2 * counts.get(most, 0) <= len(self.ranks):
            most = self.ranks[0].bits if self.ranks else b""
        return tuple(each.rank for each in self.ranks if each.bits != most)

    @property
    def has_majority(self) -> bool:
        """Whether more than half of the ranks have the same bits, so that the others are those that stand out."""
        return 2 * (len(self.ranks) - len(self.odd)) > len(self.ranks)
