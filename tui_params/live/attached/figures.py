"""Figures of a tensor at one step: how many elements are not finite, and the norm of the others."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.dtypes import DType, fit
from tui_params.core.numbers.decode import decode
from tui_params.core.tensor import TensorInfo
from tui_params.live.attached.trained import StepFigures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK_NBYTES = 1 << 18


class LookFigures(msgspec.Struct, frozen=True, gc=False):
    """Counts of elements (of a complex type: of parts). ``norm`` is the root of the sum of the squares of the finite
    ones, summed up pairwise in float64; its relative error is below 1e-13.
    """

    nan: int
    pos_inf: int
    neg_inf: int
    norm: float

    @property
    def is_finite(self) -> bool:
        return not (self.nan or self.pos_inf or self.neg_inf)


def is_finite(raw: NDArray[np.uint8], dtype: DType, numel: int) -> bool:
    """Whether no element is NaN or infinite. Raises ReadError for a type that cannot be decoded."""
    import numpy as np

    return all(bool(np.isfinite(block).all()) for block in _blocks(raw, dtype, numel))


def figures_of(raw: NDArray[np.uint8], dtype: DType, numel: int) -> LookFigures:
    """The figures of ``numel`` elements from their bytes. Raises ReadError for a type that cannot be decoded."""
    import numpy as np

    nan = pos_inf = neg_inf = 0
    scale, squares = 1.0, 0.0
    for block in _blocks(raw, dtype, numel):
        # Not by a dot product: the library behind it starts threads on cores that the training needs.
        values = block.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            total = float(np.square(values).sum())
        if math.isfinite(total) and (total > 1e-200 or not values.any()) and scale == 1.0:
            squares += total
            continue
        nan += int(np.isnan(values).sum())
        pos_inf += int((values == np.inf).sum())
        neg_inf += int((values == -np.inf).sum())
        values = values[np.isfinite(values)]
        # Squares beyond the range of float64: count in units of the greatest magnitude.
        peak = float(np.abs(values).max(initial=0.0))
        if peak > scale or (squares == 0 and 0 < peak < 1e-100):
            squares *= (scale / peak) ** 2 if squares else 1.0
            scale = peak
        with np.errstate(under="ignore"):
            squares += float(np.square(values / scale).sum())
    return LookFigures(nan, pos_inf, neg_inf, scale * math.sqrt(squares))


def abs_max_of(raw: NDArray[np.uint8], dtype: DType, numel: int) -> float | None:
    """The greatest magnitude of the finite elements of a floating type; None if none is finite."""
    import numpy as np

    found: float | None = None
    for block in _blocks(raw, dtype, numel):
        finite = block[np.isfinite(block)]
        if finite.size:
            found = max(float(finite.max()), -float(finite.min()), found or 0.0)
    return found


def update_of(before: NDArray[np.uint8], after: NDArray[np.uint8], dtype: DType, numel: int) -> float | None:
    """The norm of what was added to a tensor, divided by its norm before; None if either is not finite.

    Infinity if it was zero and is no longer; 0 if no value changed. Sums as in ``figures_of``.
    """
    import numpy as np

    peaks = [0.0, 0.0]
    # Differences of numbers near the largest or the smallest of float64: in units of the greatest magnitude.
    for place, raw in enumerate((before, after)):
        for block in _blocks(raw, dtype, numel):
            with np.errstate(invalid="ignore"):
                peaks[place] = max(peaks[place], float(np.abs(block).max(initial=0.0)), key=_nan_first)
    peak = max(peaks, key=_nan_first)
    if not math.isfinite(peak):
        return None
    unit = 1.0 if 1e-100 < peak < 1e100 else peak or 1.0
    moved = norm = 0.0
    for old, new in zip(_blocks(before, dtype, numel), _blocks(after, dtype, numel), strict=True):
        was = old.astype(np.float64) / unit
        with np.errstate(under="ignore"):
            moved += float(np.square(new.astype(np.float64) / unit - was).sum())
            norm += float(np.square(was).sum())
    if not moved:
        return 0.0
    return math.sqrt(moved) / math.sqrt(norm) if norm else math.inf


def _nan_first(value: float) -> float:
    return math.inf if math.isnan(value) else value


def digest_of(raw: NDArray[np.uint8]) -> bytes:
    """What two tensors have in common only if they are the same to the last bit."""
    return hashlib.sha1(raw.data, usedforsecurity=False).digest()


def step_figures(info: TensorInfo, raw: NDArray[np.uint8], *, is_only_bits: bool = False) -> StepFigures:
    """What a tensor is, from its bytes. Raises ReadError for a type that cannot be decoded."""
    # Two shapes of the same bytes are not the same tensor.
    bits = repr((info.shape, info.dtype.name)).encode() + digest_of(raw)
    if is_only_bits or info.dtype.kind != "float":
        return StepFigures(bits)
    figures, abs_max = figures_of(raw, info.dtype, info.numel), abs_max_of(raw, info.dtype, info.numel)
    non_finite = figures.nan + figures.pos_inf + figures.neg_inf
    return StepFigures(bits, None if abs_max is None else figures.norm, abs_max, non_finite)


def _blocks(raw: NDArray[np.uint8], dtype: DType, numel: int) -> Iterator[NDArray[Any]]:
    """The elements, some at a time, as float32 or float64; complex ones as their parts."""
    import numpy as np

    step = fit(_BLOCK_NBYTES, dtype)
    for start in range(0, numel, step):
        count = min(step, numel - start)
        values = decode(raw[dtype.nbytes(start) : dtype.nbytes(start + count)], dtype, count)
        if values.dtype.kind == "c":
            values = values.view(np.float32 if values.dtype == np.complex64 else np.float64)
        if values.dtype not in (np.float32, np.float64):
            # Converting a signalling NaN makes it quiet, and numpy would warn about that.
            with np.errstate(invalid="ignore"):
                values = values.astype(np.float32)
        yield values
