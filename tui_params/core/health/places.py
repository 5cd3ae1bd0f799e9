"""Places: where in a tensor the first values stand that a finding is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.health.thresholds import DEFAULT, Thresholds
from tui_params.core.numbers.decode import decode, part_dtype
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis, make_window
from tui_params.errors import ReadError, StoppedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_INDICES = 5
_LARGEST_SLICE = 1 << 22
"""Elements of one index of the first dimension up to which a tensor that is not contiguous is looked through."""

Index = tuple[int, ...]


class Sought(NamedTuple):
    """Which values are looked for: those that ``is_met`` names, compared with ``limit`` where there is one."""

    what: Literal["NaN", "+Inf", "-Inf", "not finite", "zero", "below", "beyond", "at"]
    limit: float = 0.0

    def is_met(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of some values (float64) are sought; ``beyond`` and ``at`` are about magnitudes."""
        import numpy as np

        found: NDArray[np.bool_]
        if self.what == "NaN":
            found = np.isnan(values)
        elif self.what == "not finite":
            found = ~np.isfinite(values)
        elif self.what == "below":
            found = values < self.limit
        elif self.what == "beyond":
            found = (np.abs(values) > self.limit) & np.isfinite(values)
        elif self.what == "at":
            found = np.abs(values) == self.limit
        else:
            found = values == {"+Inf": np.inf, "-Inf": -np.inf, "zero": 0.0}[self.what]
        return found


NAN, POS_INF, NEG_INF = Sought("NaN"), Sought("+Inf"), Sought("-Inf")
_ARE_NOT_FINITE = frozenset({NAN, POS_INF, NEG_INF, Sought("not finite")})


def locate(
    source: Source,
    info: TensorInfo,
    findings: Sequence[Finding],
    should_stop: Callable[[], bool] | None = None,
    thresholds: Thresholds = DEFAULT,
) -> tuple[Finding, ...]:
    """The ``findings`` of one tensor, those about single values with the first MAX_INDICES places of these.

    Reads the tensor once more, from the start until all wanted are found. Where that fails the findings stand without
    places. Raises StoppedError.
    """
    wanted = [_sought_by(finding, info, thresholds) for finding in findings]
    if not any(wanted):
        return tuple(findings)
    try:
        found = first_places(source, info, tuple({what for what in wanted if what}), should_stop)
    except (ReadError, OSError, MemoryError):
        return tuple(findings)
    return tuple(
        msgspec.structs.replace(finding, indices=found[what]) if what else finding
        for finding, what in zip(findings, wanted, strict=True)
    )


def _sought_by(finding: Finding, info: TensorInfo, thresholds: Thresholds) -> Sought | None:
    """Which values a finding is about, if it is about single ones."""
    is_error = finding.severity == "error"
    found: Sought | None = None
    if finding.rule == "nan":
        found = NAN
    elif finding.rule == "inf":
        found = NEG_INF if finding.evidence.endswith("-Inf") else POS_INF
    elif finding.rule == "abs-max":
        found = Sought("beyond", thresholds.abs_max_error if is_error else thresholds.abs_max_warning)
    elif finding.rule in ("fp16-saturation", "fp8-saturation"):
        from tui_params.core.numbers.moments import largest_finite

        found = Sought("at", largest_finite(part_dtype(info.dtype)))
    elif finding.rule == "broken-scale":
        found = Sought("not finite" if "not finite" in finding.evidence else "zero")
    elif finding.rule == "batchnorm" and finding.severity != "info":
        found = Sought("below", 0.0 if is_error else thresholds.running_var)
    return found


def first_places(
    source: Source, info: TensorInfo, wanted: Sequence[Sought], should_stop: Callable[[], bool] | None = None
) -> dict[Sought, tuple[Index, ...]]:
    """The first MAX_INDICES indices, in row-major order, of the values that are wanted.

    The scan stops once there are so many of each. Raises ReadError, StoppedError.
    """
    import numpy as np

    flat: dict[Sought, list[int]] = {sought: [] for sought in wanted}
    is_quick = _ARE_NOT_FINITE.issuperset(wanted)
    first = 0
    for values in _chunks(source, info):
        if should_stop is not None and should_stop():
            raise StoppedError(f"the reading of {info.name} was stopped")
        suspects = np.flatnonzero(~_is_finite(values)) if is_quick else np.arange(values.size)
        if suspects.size:
            # Widening a signalling NaN raises the invalid flag (IEEE 754, 6.2), of which numpy warns.
            with np.errstate(invalid="ignore"):
                special = values[suspects].astype(np.complex128 if values.dtype.kind == "c" else np.float64)
            for sought, places in flat.items():
                places += (first + suspects[_is_met(special, sought)][: MAX_INDICES - len(places)]).tolist()
            if all(len(places) >= MAX_INDICES for places in flat.values()):
                break
        first += values.size
    return {sought: tuple(unravel(place, info.shape) for place in places) for sought, places in flat.items()}


def unravel(place: int, shape: Index) -> Index:
    """The index in ``shape`` of the element number ``place`` in row-major order."""
    index = []
    for size in reversed(shape):
        place, remainder = divmod(place, size)
        index.append(remainder)
    return tuple(reversed(index))


def _chunks(source: Source, info: TensorInfo) -> Iterator[NDArray[Any]]:
    """The values of a tensor, flat, in row-major order, in arrays of bounded size."""
    if info.unreadable is not None:
        raise ReadError(info.unreadable)
    if info.stride is not None and info.shape:
        yield from _slices(source, info)
        return
    left = info.numel
    for block in source.blocks(info):
        count = min(block.size * 8 // info.dtype.bits, left)
        left -= count
        yield decode(block, info.dtype, count)


def _slices(source: Source, info: TensorInfo) -> Iterator[NDArray[Any]]:
    """The same of a tensor that is not contiguous, whose blocks come in any order."""
    each = prod(info.shape[1:])
    if each > _LARGEST_SLICE or not info.numel:
        return
    step = max(1, _LARGEST_SLICE // 4 // max(each, 1))
    rest = tuple(Axis(0, 1, size) for size in info.shape[1:])
    for start in range(0, info.shape[0], step):
        window = make_window((Axis(start, 1, min(step, info.shape[0] - start)), *rest))
        yield source.read_window(info, window).reshape(-1)


def _is_finite(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values are finite; those of narrow types by their bits, which is many times faster."""
    import numpy as np

    bits = values.dtype.itemsize * 8
    finite: NDArray[np.bool_]
    if values.dtype.name in _EXPONENTS:
        mask = _EXPONENTS[values.dtype.name]
        finite = (values.view(f"u{bits // 8}") & mask) != mask
    elif values.dtype.kind not in "fcV":
        finite = np.ones(values.shape, np.bool_)
    elif bits == 8:
        table = np.isfinite(np.arange(256, dtype=np.uint8).view(values.dtype).astype(np.float32))
        finite = table[values.view(np.uint8)]
    else:
        finite = np.isfinite(values)
    return finite


_EXPONENTS = {"bfloat16": 0x7F80, "float16": 0x7C00}


def _is_met(values: NDArray[Any], sought: Sought) -> NDArray[np.bool_]:
    """Whether a value, or a part of a complex one, is sought."""
    if values.dtype.kind == "c":
        return sought.is_met(values.real) | sought.is_met(values.imag)
    return sought.is_met(values)
