"""The figures of one tensor on every rank of a job, all read after the same step."""

from __future__ import annotations

from collections.abc import Mapping

from tui_params.core.over_ranks import OverRanks, RankFigures
from tui_params.errors import ReadError
from tui_params.live.attached.replicas import is_comparable, is_piece
from tui_params.live.attached.together import SECONDS, Part, check_together, look_together

MOST = 64 << 20
"""The most bytes, of all ranks together, that are read for this: it is done whenever the page is read anew."""


def look_over_ranks(parts: Mapping[int, Part], served: int, *, are_replicas: bool) -> OverRanks | None:
    """What each rank has of a tensor; None if fewer than two have any of it that can be read. Raises ReadError."""
    known = {rank: part for rank, part in parts.items() if part.info.unreadable is None and part.info.numel}
    if len(known) < 2:
        return None
    check_together(list(known.values()), MOST, "read of all ranks to be compared")
    seen = look_together(list(known.values()), SECONDS)
    if seen is None:
        raise ReadError(f"what the ranks have could not be read after the same step within {SECONDS:.0f} s")
    found, step = seen
    ranks = [
        RankFigures(rank, each.norm, each.abs_max, each.non_finite, each.bits)
        for rank, each in zip(known, found, strict=True)
    ]
    infos = [part.info for part in known.values()]
    return OverRanks(
        tuple(ranks),
        step,
        served,
        is_replica=are_replicas and all(map(is_comparable, infos)),
        is_piece=any(map(is_piece, infos)),
    )
