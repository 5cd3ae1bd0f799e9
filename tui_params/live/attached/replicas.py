"""Whether the ranks of a job have the same parameters: the bytes of each, compared as they were after the same step.

Nothing is asked of the ranks together, and none waits for another: each is read by itself, again until both were read
after the same step.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tui_params.core import text
from tui_params.core.findings import Finding, Severity
from tui_params.core.numbers.decode import decode
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError
from tui_params.live.attached.source import AttachedSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SECONDS = 3.0
"""How long the comparison of a whole job may take."""

_TRIES = 30
_REPLICATED = "DistributedDataParallel"
_SPLIT = ("Shard(", "Partial(", "_StridedShard(")
_FSDP1 = "FullyShardedDataParallel"


def compare_ranks(ranks: Mapping[int, AttachedSource], seconds: float = SECONDS) -> tuple[Finding, ...]:
    """What is to be said of the parameters of other ranks, each compared with the same of the first one.

    It is an error if a parameter of DistributedDataParallel differs, whose ranks are replicas. Of other models it is
    not known whether they are: then a warning if a few differ, and one remark if most do. Tensors of which a rank has
    a shard are not compared.
    """
    first, *others = sorted(ranks)
    deadline = time.monotonic() + seconds
    offsets = {rank: steps_before(source) for rank, source in ranks.items()}
    is_replicated = are_replicas(ranks)
    if any(_FSDP1 in source.listing.modules.values() for source in ranks.values()):
        return ()
    found: list[Finding] = []
    compared, left_out = 0, 0
    unreadable: dict[str, str] = {}
    for info in ranks[first].listing.tensors:
        for rank in others:
            other = ranks[rank].find(info.name) if info.name in ranks[rank] else None
            if other is None or not (is_comparable(info) and is_comparable(other)):
                continue
            reason = info.unreadable or other.unreadable
            if reason is not None:
                unreadable[info.name] = reason
                continue
            pair = (ranks[first], info, offsets[first]), (ranks[rank], other, offsets[rank])
            sentence = _difference(pair, first, deadline)
            if sentence is None:
                left_out += 1
                continue
            compared += 1
            if sentence:
                severity: Severity = "error" if is_replicated else "warning"
                found.append(Finding(severity, "replicas-differ", f"rank{rank}.{info.name}", sentence))
    if not is_replicated and len(found) * 2 > compared:
        words = f"{len(found):,} of {text.plural(compared, 'parameter')} differ between ranks"
        found = [Finding("info", "replicas-differ", None, f"{words}: each may have a part of its own")]
    if unreadable:
        words = f"{text.plural(len(unreadable), 'parameter')} could not be read, and compared between ranks"
        words += f": {next(iter(unreadable.values()))}"
        found.append(Finding("info", "replicas-not-compared", None, words))
    if left_out:
        words = f"{text.plural(left_out, 'parameter')} could not be compared between ranks after the same step"
        found.append(Finding("info", "replicas-not-compared", None, words))
    return tuple(found)


_Side = tuple[AttachedSource, TensorInfo, int]


def are_replicas(ranks: Mapping[int, AttachedSource]) -> bool:
    """Whether it is known that all ranks have the same parameters."""
    return all(_REPLICATED in source.listing.modules.values() for source in ranks.values())


def is_piece(info: TensorInfo) -> bool:
    """Whether a rank has a part of the tensor, of which others have other parts."""
    return any(mark in note for note in info.notes for mark in _SPLIT)


def is_comparable(info: TensorInfo) -> bool:
    """Whether a tensor is a parameter that may be the same on all ranks."""
    return info.kind == "parameter" and not is_piece(info) and info.tied_to is None


def _difference(pair: tuple[_Side, _Side], first: int, deadline: float) -> str | None:
    """What differs, empty if nothing does; None if it could not be found out."""
    (_, one, _), (_, other, _) = pair
    if one.shape != other.shape or one.dtype != other.dtype:
        return (
            f"{text.shape(other.shape)} {other.dtype.short}, and {text.shape(one.shape)} {one.dtype.short} on rank"
            f" {first}"
        )
    try:
        found = _at_same_step(*pair, deadline)
    except ReadError:
        return None
    if found is None:
        return None
    before, after, step = found
    if not (before != after).any():
        return ""
    a, b = (decode(raw, one.dtype, one.numel) for raw in (before, after))
    return f"differs from rank {first} after step {step:,}: {_figures(a, b)}"


def _figures(a: NDArray[Any], b: NDArray[Any]) -> str:
    import numpy as np

    kind = np.complex128 if a.dtype.kind == "c" else np.float64
    with np.errstate(invalid="ignore", over="ignore"):
        moved = np.abs(a.astype(kind) - b.astype(kind))
    differing = int(((a != b) & ~((a != a) & (b != b))).sum())
    finite = moved[np.isfinite(moved)]
    words = f"{differing:,} of {text.plural(a.size, 'value')}"
    if not differing:
        return "only the bits of zeros or of NaN"
    return f"{words}, by {text.number(float(finite.max()))} at most" if finite.size else words


def _at_same_step(one: _Side, other: _Side, deadline: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int] | None:
    """The bytes of both after the same step, and its number in the first; None if that did not come about."""
    (a, a_info, a_offset), (b, b_info, b_offset) = one, other
    before, step = a.bytes_at_step(a_info)
    after, other_step = b.bytes_at_step(b_info)
    for _ in range(_TRIES):
        ahead = (step + a_offset) - (other_step + b_offset)
        if not ahead:
            return before, after, step
        if time.monotonic() > deadline:
            return None
        # The one that is behind is read again: it comes to the step of the other, and both go on at one pace.
        if ahead > 0:
            after, other_step = b.bytes_at_step(b_info)
        else:
            before, step = a.bytes_at_step(a_info)
    return None


def steps_before(source: AttachedSource) -> int:
    """How many steps the optimizer had made before the process began to count; 0 if no state says it."""
    for info in source.listing.tensors:
        if info.numel == 1 and info.name.startswith("optimizer.") and info.name.endswith(".step"):
            try:
                raw, step = source.bytes_at_step(info)
                return round(float(decode(raw, info.dtype, 1)[0])) - step
            except (ReadError, ValueError, OverflowError):
                return 0
    return 0
