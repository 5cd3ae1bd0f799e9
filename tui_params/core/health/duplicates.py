"""Duplicates: tensors with the same bytes that are not tied, found by their figures and proved by reading both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tui_params.core.findings import Finding
from tui_params.core.health.roles import Role
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint
from tui_params.core.reading.overlaps import Overlaps
from tui_params.core.reading.readable import Readable
from tui_params.core.reading.sweep import plan
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import size
from tui_params.errors import ReadError, StoppedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ALIKE: frozenset[Role] = frozenset({"mask", "statistic", "bias", "buffer", "optimizer"})

_SHARED = frozenset({"vera_A", "vera_B", "randlora_A", "randlora_B", "vblora_vector_bank", "shira_indices"})
"""Parts of adapters of peft that all layers share, and of which each keeps a reference or a copy."""

_CHUNK = 1 << 20
"""Elements of each of two tensors that are compared at a time."""


def find_duplicates(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Tensors that have the same bytes as one before them and are not tied to it.

    Masks, buffers, counters, biases and tensors of one value are left out: they are alike by nature. So are the
    states of an optimizer, which begin as copies, and what the adapters of all layers share. Tensors that have the same
    place in a file are no copies: that they overlap is a finding of the reader. A tensor whose second reading fails is
    no duplicate. Raises StoppedError.
    """
    source, should_stop = checkpoint.source, checkpoint.should_stop
    least = checkpoint.thresholds.duplicate_nbytes
    groups: dict[object, list[TensorInfo]] = {}
    for sketch in checkpoint.sketches:
        info = sketch.info
        is_candidate = info.nbytes >= least and info.dtype.kind != "bool" and info.stride is None
        is_candidate = is_candidate and sketch.role not in _ALIKE and sketch.is_exact and sketch.min != sketch.max
        if is_candidate and _SHARED.isdisjoint(info.name.split(".")):
            groups.setdefault((info.dtype.name, info.shape, sketch.fingerprint), []).append(info)
    overlaps: Overlaps | None = None
    for members in groups.values():
        if len(members) < 2:
            continue
        if overlaps is None:
            overlaps = Overlaps(source, plan(checkpoint.infos))
        distinct: dict[str, TensorInfo] = {}
        for info in members:
            distinct.setdefault(overlaps.identity(info), info)
        originals: list[TensorInfo] = []
        for info in distinct.values():
            first = None
            for other in originals:
                may_read = overlaps.take(other) is None and overlaps.take(info) is None
                if may_read and _is_same(source, other, info, should_stop):
                    first = other
                    break
            if first is None:
                originals.append(info)
            else:
                evidence = f"it has the same {size(info.nbytes)} as {first.name}, but is not tied to it"
                yield Finding("info", "identical-bytes", info.name, evidence)


def _is_same(source: Source, a: TensorInfo, b: TensorInfo, should_stop: Callable[[], bool] | None) -> bool:
    import numpy as np

    try:
        first, second = source.still(a), source.still(b)
        for start in range(0, a.numel, _CHUNK):
            if should_stop is not None and should_stop():
                raise StoppedError(f"the reading of {b.name} was stopped")
            stop = min(start + _CHUNK, a.numel)
            if not np.array_equal(_bytes(first, a, start, stop), _bytes(second, b, start, stop)):
                return False
    except (ReadError, OSError, MemoryError):
        return False
    return True


def _bytes(source: Readable, info: TensorInfo, start: int, stop: int) -> NDArray[np.uint8]:
    """The storage bytes of some elements, as a new array."""
    import numpy as np

    wanted = info.dtype.nbytes(stop - start)
    whole = np.empty(wanted, np.uint8)
    done = 0
    for block in source.blocks(info, start, stop):
        whole[done : done + block.size] = block
        done += block.size
    if done != wanted:
        raise ReadError(f"{info.name} ended after {done} of {wanted} bytes")
    return whole


DUPLICATE_RULES: tuple[Rule, ...] = (
    Rule(
        "identical-bytes",
        "Identical bytes",
        ("info",),
        "Two tensors that are not tied have the same bytes: a copy that costs space, or a layer loaded twice.",
        "safetensors: torch shared tensors",
        ("duplicate_nbytes",),
        cross_check=find_duplicates,
    ),
)
