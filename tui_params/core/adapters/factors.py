"""Factors: the tensors of an adapter as float64, read in blocks, and their r x r Gram matrices.

Every array is kept as a mantissa times a power of two, so that no square leaves the range of float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.tensor import TensorInfo
from tui_params.core.text import shape as shape_text
from tui_params.core.window import Axis, make_window
from tui_params.errors import ReadError, StoppedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tui_params.core.reading.readable import Readable

    Floats = NDArray[Any]

BLOCK = 1 << 18
"""Elements that are read at a time, where no single row is longer."""

MOST_WHOLE = 1 << 23
"""Elements of a factor, or of one row of it, that are held at once: 64 MiB."""

MOST_RANK = 2_048
"""The largest rank whose Gram matrix is computed: 32 MiB each, and half a minute for a large module."""


class NoNormError(ValueError):
    """Why a norm cannot be computed, as one sentence."""


class Gram(msgspec.Struct, frozen=True, eq=False):
    """The products of the vectors of a factor with one another: ``matrix * 4**exponent``, r x r; of ``terms`` each."""

    matrix: Floats
    exponent: int
    terms: int


class Factors:
    """Reads tensors of one source for the norms of adapters; ``should_stop`` is called before each block."""

    def __init__(self, source: Readable, should_stop: Callable[[], bool] | None = None) -> None:
        self._source = source
        self._should_stop = should_stop

    def blocks(self, info: TensorInfo, axis: int = 0, stop: int | None = None) -> Iterator[tuple[int, Floats]]:
        """The values in float64, cut along ``axis``, with the index at which each block begins; only below ``stop``.

        Raises ReadError, StoppedError, and NoNormError for values that are not finite.
        """
        import numpy as np

        if info.unreadable is not None:
            raise ReadError(info.unreadable)
        if info.dtype.kind != "float" or info.dtype.is_packed:
            raise NoNormError(f"{_part(info)} is of {info.dtype.name}: quantised, or no weight")
        if not info.shape:
            raise NoNormError(f"{_part(info)} is a single number")
        length = info.shape[axis] if stop is None else stop
        across = info.numel // max(info.shape[axis], 1)
        if across > MOST_WHOLE:
            raise NoNormError(f"{_part(info)} is too large in more than one dimension: {shape_text(info.shape)}")
        step = max(1, BLOCK // max(across, 1))
        for first in range(0, length, step):
            if self._should_stop is not None and self._should_stop():
                raise StoppedError(f"the reading of {info.name} was stopped")
            axes = [Axis(0, 1, size) for size in info.shape]
            axes[axis] = axes[axis].part(first, min(step, length - first))
            values = self._source.read_window(info, make_window(tuple(axes)))
            with np.errstate(invalid="ignore"):
                block = values.astype(np.float64)
            if not np.isfinite(block).all():
                raise NoNormError(f"{_part(info)} holds values that are not finite")
            yield first, block

    def whole(self, info: TensorInfo) -> tuple[Floats, int]:
        """All values and an exponent: what is stored is ``values * 2**exponent``, and no value is above 1."""
        import numpy as np

        if info.numel > MOST_WHOLE:
            raise NoNormError(
                f"{_part(info)} has {info.numel:,} elements: more than {MOST_WHOLE:,} are not held at once"
            )
        parts = [block for _, block in self.blocks(info)]
        return normalised(np.concatenate(parts) if parts else np.zeros(info.shape))

    def gram(self, info: TensorInfo, axis: int, stop: int | None = None, weights: Floats | None = None) -> Gram:
        """The Gram matrix of the vectors that ``axis`` counts: G[i, j] is the sum over all other indices.

        Of a tensor of two dimensions, ``stop`` cuts the other one off, and ``weights`` multiply along it.
        """
        import numpy as np

        if info.ndim < 2:
            raise NoNormError(f"{_part(info)} has the shape {shape_text(info.shape)}: it is no matrix")
        rank = info.shape[axis]
        if rank > MOST_RANK:
            raise NoNormError(f"its rank is {rank:,}: norms are computed up to {MOST_RANK:,}")
        others = [number for number in range(info.ndim) if number != axis]
        cut = max(others, key=lambda number: info.shape[number])
        terms = prod(info.shape[number] for number in others) if stop is None else stop
        matrix, exponent = np.zeros((rank, rank)), None
        for first, block in self.blocks(info, cut, stop) if info.numel else ():
            vectors = np.moveaxis(block, axis, 0).reshape(rank, -1)
            if weights is not None:
                vectors = vectors * weights[first : first + vectors.shape[1]]
            vectors, power = normalised(vectors)
            if not vectors.any():
                continue
            if exponent is None or power > exponent:
                matrix = np.ldexp(matrix, 2 * ((power if exponent is None else exponent) - power))
                exponent = power
            vectors = np.ldexp(vectors, power - exponent)
            matrix += vectors @ vectors.T
        return Gram(matrix, exponent or 0, terms)

    def norm(self, info: TensorInfo) -> tuple[float, int]:
        """The Frobenius norm of a tensor, as a mantissa and a power of two."""
        import numpy as np

        total, exponent = 0.0, None
        axis = max(range(info.ndim), key=lambda number: info.shape[number], default=0)
        for _, block in self.blocks(info, axis) if info.numel else ():
            values, power = normalised(block)
            if not values.any():
                continue
            if exponent is None or power > exponent:
                total = float(np.ldexp(total, 2 * ((power if exponent is None else exponent) - power)))
                exponent = power
            total += float(np.square(np.ldexp(values, power - exponent)).sum())
        return sqrt(total), exponent or 0


def normalised(values: Floats) -> tuple[Floats, int]:
    """Values divided by a power of two, so that the largest magnitude is from 0.5 to 1, and its exponent."""
    import numpy as np

    largest = float(np.abs(values).max()) if values.size else 0.0
    if not largest:
        return values, 0
    exponent = int(np.frexp(largest)[1])
    return np.ldexp(values, -exponent), exponent


def _part(info: TensorInfo) -> str:
    """The end of a name that says which part of an adapter the tensor is."""
    return ".".join(segment for segment in info.name.split(".")[-3:] if segment not in ("weight", "default"))[-60:]
