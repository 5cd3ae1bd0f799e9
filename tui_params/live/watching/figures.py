"""Figures of a tensor at one step: how many elements are not finite, and the norm of the others."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.dtypes import DType, fit
from tui_params.core.numbers.decode import decode

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


def digest_of(raw: NDArray[np.uint8]) -> bytes:
    """What two tensors have in common only if they are the same to the last bit."""
    return hashlib.sha1(raw.data, usedforsecurity=False).digest()


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
