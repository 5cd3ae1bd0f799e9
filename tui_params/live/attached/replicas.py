"""Whether the ranks of a job have the same parameters: the bytes of each, compared as they were after the same step.

Nothing is asked of the ranks together, and none waits for another: each is read by itself, again until both were read
after the same step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tui_params.core import text
from tui_params.core.findings import Finding, Severity
from tui_params.core.numbers.decode import decode
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError
from tui_params.live.attached.together import Part, look_together
from tui_params.live.attached.trained import TrainedSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SECONDS = 3.0
"""How long the comparison of a whole job may take."""

TENSOR_SECONDS = 1.0
"""How long it is tried to look at one parameter of all ranks after the same step."""

MOST = 512 << 20
"""The most bytes of a parameter that are read of all ranks at once; of larger ones, those of two."""

FAR = 8 << 20
"""The most bytes that are fetched from another machine only to say how many values differ."""

_TRIES = 30
_REPLICATED = "DistributedDataParallel"
_SPLIT = ("Shard(", "Partial(", "_StridedShard(")
_FSDP1 = "FullyShardedDataParallel"


def compare_ranks(ranks: Mapping[int, TrainedSource], seconds: float = SECONDS) -> tuple[Finding, ...]:
    """What is to be said of the parameters of other ranks, each compared with the same of the first one.

    It is an error if a parameter of DistributedDataParallel differs, whose ranks are replicas. Of other models it is
    not known whether they are: then a warning if a few differ, and one remark if most do. Tensors of which a rank has
    a shard are not compared.
    """
    if any(_FSDP1 in source.listing.modules.values() for source in ranks.values()):
        return ()
    first, *others = sorted(ranks)
    deadline = time.monotonic() + seconds
    offsets = {rank: steps_before(source) for rank, source in ranks.items()}
    found: list[Finding] = []
    compared = 0
    severity: Severity = "error" if are_replicas(ranks) else "warning"
    lost = _Lost(seconds)
    for info in ranks[first].listing.tensors:
        parts = {first: Part(ranks[first], info, offsets[first])}
        for rank in others:
            other = ranks[rank].find(info.name) if info.name in ranks[rank] else None
            if other is None or not (is_comparable(info) and is_comparable(other)):
                continue
            reason = info.unreadable or other.unreadable
            if reason is not None:
                lost.unreadable[info.name] = reason
            else:
                parts[rank] = Part(ranks[rank], other, offsets[rank])
        together = (
            [[*parts]] if info.nbytes * len(parts) <= MOST else [[first, rank] for rank in parts if rank != first]
        )
        for some in together:
            if len(some) < 2:
                continue
            sentences = _differences({rank: parts[rank] for rank in some}, deadline, lost)
            compared += len(some) - 1 if sentences is not None else 0
            found += [
                Finding(severity, "replicas-differ", f"rank{rank}.{info.name}", sentence)
                for rank, sentence in (sentences or {}).items()
            ]
    if severity != "error" and len(found) * 2 > compared:
        words = f"{len(found):,} of {text.plural(compared, 'parameter')} differ between ranks"
        found = [Finding("info", "replicas-differ", None, f"{words}: each may have a part of its own")]
    return (*found, *lost.findings())


class _Lost:
    """What was not compared, by name, and why."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.unreadable: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.apart: list[str] = []
        self.late: list[str] = []

    def findings(self) -> Iterator[Finding]:
        for names, words in (
            (self.unreadable, "could not be read, and compared between ranks: {}"),
            (self.failed, "could not be compared between ranks: {}"),
        ):
            if names:
                yield _left_out(len(names), words.format(next(iter(names.values()))))
        if self.apart:
            words = f"{TENSOR_SECONDS:g} s of looks at all ranks had no step in common"
            yield _left_out(len(self.apart), f"could not be compared between ranks after the same step: {words}")
        if self.late:
            yield _left_out(len(self.late), f"had no turn: ranks are compared for at most {self.seconds:g} s")


def _left_out(count: int, words: str) -> Finding:
    return Finding("info", "replicas-not-compared", None, f"{text.plural(count, 'parameter')} {words}")


def are_replicas(ranks: Mapping[int, TrainedSource]) -> bool:
    """Whether it is known that all ranks have the same parameters."""
    return all(_REPLICATED in source.listing.modules.values() for source in ranks.values())


def is_piece(info: TensorInfo) -> bool:
    """Whether a rank has a part of the tensor, of which others have other parts."""
    return any(mark in note for note in info.notes for mark in _SPLIT)


def is_comparable(info: TensorInfo) -> bool:
    """Whether a tensor is a parameter that may be the same on all ranks."""
    return info.kind == "parameter" and not is_piece(info) and info.tied_to is None


def _differences(parts: Mapping[int, Part], deadline: float, lost: _Lost) -> dict[int, str] | None:
    """How what other ranks have differs from the first, by rank; None if that could not be found out."""
    first, *others = parts
    one = parts[first].info
    left = deadline - time.monotonic()
    if left <= 0:
        lost.late.append(one.name)
        return None
    try:
        seen = look_together([*parts.values()], min(left, TENSOR_SECONDS), is_only_bits=True)
    except ReadError as error:
        lost.failed[one.name] = str(error)
        return None
    if seen is None:
        (lost.apart if left >= TENSOR_SECONDS else lost.late).append(one.name)
        return None
    (bits, *rest), step = seen
    found: dict[int, str] = {}
    for rank, other in zip(others, rest, strict=True):
        if other.bits != bits.bits:
            found[rank] = _difference(parts[first], parts[rank], first, step, deadline)
    return found


def _difference(one: Part, other: Part, first: int, step: int, deadline: float) -> str:
    """In what way a tensor is another one on two ranks, of which that was found after ``step``."""
    a, b = one.info, other.info
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{text.shape(b.shape)} {b.dtype.short}, and {text.shape(a.shape)} {a.dtype.short} on rank {first}"
    is_far = one.source.line is not None or other.source.line is not None
    try:
        found = None if is_far and a.nbytes > FAR else _at_same_step(one, other, deadline)
    except ReadError:
        found = None
    if found is None or not (found[0] != found[1]).any():
        return f"differs from rank {first} after step {step:,}"
    before, after, step = found
    values = (decode(raw, a.dtype, a.numel) for raw in (before, after))
    return f"differs from rank {first} after step {step:,}: {_figures(*values)}"


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


def _at_same_step(one: Part, other: Part, deadline: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int] | None:
    """The bytes of both after the same step, and its number in the first; None if that did not come about."""
    before, step = one.source.bytes_at_step(one.info)
    after, other_step = other.source.bytes_at_step(other.info)
    for _ in range(_TRIES):
        ahead = (step + one.before) - (other_step + other.before)
        if not ahead:
            return before, after, step
        if time.monotonic() > deadline:
            return None
        # The one that is behind is read again: it comes to the step of the other, and both go on at one pace.
        if ahead > 0:
            after, other_step = other.source.bytes_at_step(other.info)
        else:
            before, step = one.source.bytes_at_step(one.info)
    return None


def steps_before(source: TrainedSource) -> int:
    """How many steps the optimizer had made before the process began to count; 0 if no state says it."""
    for info in source.listing.tensors:
        if info.numel == 1 and info.name.startswith("optimizer.") and info.name.endswith(".step"):
            try:
                raw, step = source.bytes_at_step(info)
                return round(float(decode(raw, info.dtype, 1)[0])) - step
            except (ReadError, ValueError, OverflowError):
                return 0
    return 0
