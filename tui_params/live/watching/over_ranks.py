"""The figures of one tensor on every rank of a job, all read after the same step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tui_params.core.over_ranks import OverRanks, RankFigures
from tui_params.core.tensor import TensorInfo
from tui_params.live.attached.replicas import is_comparable, is_piece
from tui_params.live.attached.together import Part, read_together
from tui_params.live.watching.figures import abs_max_of, digest_of, figures_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST = 64 << 20
"""The most bytes, of all ranks together, that are read for this: it is done whenever the page is read anew."""


def look_over_ranks(parts: Mapping[int, Part], served: int, *, are_replicas: bool) -> OverRanks | None:
    """What each rank has of a tensor; None if fewer than two have any of it that can be read. Raises ReadError."""
    known = {rank: part for rank, part in parts.items() if part.info.unreadable is None and part.info.numel}
    if len(known) < 2:
        return None
    found, step = read_together(list(known.values()), MOST, "read of all ranks to be compared")
    ranks = [_figures(rank, part.info, raw) for (rank, part), raw in zip(known.items(), found, strict=True)]
    infos = [part.info for part in known.values()]
    return OverRanks(
        tuple(ranks),
        step,
        served,
        is_replica=are_replicas and all(map(is_comparable, infos)),
        is_piece=any(map(is_piece, infos)),
    )


def _figures(rank: int, info: TensorInfo, raw: NDArray[np.uint8]) -> RankFigures:
    # Two shapes of the same bytes are not the same tensor.
    bits = repr((info.shape, info.dtype.name)).encode() + digest_of(raw)
    if info.dtype.kind != "float":
        return RankFigures(rank, None, None, 0, bits)
    figures, abs_max = figures_of(raw, info.dtype, info.numel), abs_max_of(raw, info.dtype, info.numel)
    non_finite = figures.nan + figures.pos_inf + figures.neg_inf
    return RankFigures(rank, None if abs_max is None else figures.norm, abs_max, non_finite, bits)
