"""The flat buffers of all groups, each with the layout in which the ranks share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tui_params.core.dtypes import DType, from_torch, unknown
from tui_params.core.tensor import TensorInfo
from tui_params.sources.folder.deepspeed.assembly import Layout
from tui_params.sources.folder.deepspeed.optimizer_states import OptimizerStates
from tui_params.sources.folder.deepspeed.partitions import Partition, Shape
from tui_params.sources.folder.deepspeed.ranks import Ranks
from tui_params.sources.folder.deepspeed.stage_3 import Dealt
from tui_params.sources.folder.deepspeed.stages_1_2 import Joined
from tui_params.sources.folder.deepspeed.torch_file import Stored


class Placed(msgspec.Struct, frozen=True):
    """A trained parameter: its shape, its group, and where it begins in the buffer, or why that is not known."""

    name: str
    shape: Shape | None
    group: int
    start: int
    lost: str | None = None


class Buffers:
    """The flat buffers of one sort, the float32 values or one of the moments: a layout for each group.

    Of stage 3 all groups are one buffer, which is listed once for each.
    """

    def __init__(self, layouts: Sequence[Layout], dtypes: Sequence[DType], lost: Sequence[str | None]) -> None:
        self.layouts = layouts
        self.dtypes = dtypes
        self.lost = lost


FlatsOf = Callable[[OptimizerStates], Sequence[Stored | None]]
"""The partitions of one rank, by group; None where it has none."""


def build_buffers(ranks: Ranks, count: int, flats_of: FlatsOf) -> Buffers:
    """The buffers of ``count`` groups, from the partitions of each rank."""
    world = ranks.world
    by_rank: list[Sequence[Stored | None] | None] = []
    lost: list[str | None] = []
    for rank in range(world):
        states = ranks.optimizers.found.get(rank)
        by_rank.append(None if states is None else flats_of(states))
        lost.append(ranks.optimizers.why(rank) if states is None else None)
        if states is None and ranks.stage != 3:
            # What lies behind it has no known place.
            break
    if ranks.stage == 3:
        parts = [
            None if flats is None else Partition(rank, [checked_flat(flat) for flat in flats if flat is not None])
            for rank, flats in enumerate(by_rank)
        ]
        dtype, odd = common_dtype(parts)
        return Buffers([Dealt(parts, lost)] * count, [dtype] * count, [odd] * count)
    layouts: list[Layout] = []
    dtypes: list[DType] = []
    odds: list[str | None] = []
    for group in range(count):
        parts, why = [], list(lost)
        for rank, flats in enumerate(by_rank):
            flat = flats[group] if flats is not None and group < len(flats) else None
            parts.append(None if flat is None else Partition(rank, [checked_flat(flat)]))
            if flat is None and flats is not None:
                why[rank] = f"the optimizer file of rank {rank:,} has no partition of it"
        dtype, odd = common_dtype(parts)
        layouts.append(Joined(parts, why))
        dtypes.append(dtype)
        odds.append(odd)
    return Buffers(layouts, dtypes, odds)


def checked_flat(stored: Stored) -> TensorInfo:
    """A flat tensor; one of another layout gets the reason why it cannot be cut."""
    info = stored.info
    is_flat = info.ndim == 1 and stored.extent is None and info.dtype.itemsize
    if info.unreadable is None and not is_flat:
        reason = f"a partition of it is of shape {list(info.shape)[:8]}, or a view, and should be flat"
        return msgspec.structs.replace(info, unreadable=reason)
    return info


def common_dtype(parts: Sequence[Partition | None]) -> tuple[DType, str | None]:
    """The element type of the partitions, and one sentence if they have several."""
    found = {flat.dtype.name: flat.dtype for part in parts if part is not None for flat in part.flats if flat.numel}
    if not found:
        return from_torch("float32") or unknown("float32"), None
    odd = f"its partitions have the types {', '.join(found)}" if len(found) > 1 else None
    return next(iter(found.values())), odd
