"""Sides: both sides of one tensor, read beside each other: figures, distributions, the first places that differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tui_params.core import text
from tui_params.core.compare.side_by_side import ByteComparison, Piece, pieces
from tui_params.core.compare.structure import Pair
from tui_params.core.figures import Figures
from tui_params.core.numbers.decode import decode
from tui_params.core.numbers.summary import Accumulator, Summary
from tui_params.core.source import Source
from tui_params.errors import StoppedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 120
"""Bins of each distribution; a page shows fewer, each of several."""

MOST_PLACES = 8


class Place(msgspec.Struct, frozen=True):
    """One element that differs: its index, and what it is on both sides, in words."""

    index: tuple[int, ...]
    a: str
    b: str


class Sides(msgspec.Struct, frozen=True):
    """What was found. ``bars_a`` and ``bars_b`` count the finite elements in equal bins from ``low`` to ``high``.

    These are the least and the greatest of the 0.1 % and 99.9 % quantiles of both; empty where there is no axis.
    ``places`` are the first that differ in value, in row-major order, at most MOST_PLACES.
    """

    a: Figures
    b: Figures
    low: float | None
    high: float | None
    bars_a: tuple[int, ...]
    bars_b: tuple[int, ...]
    places: tuple[Place, ...]


def read_sides(a: Source, b: Source, pair: Pair, should_stop: Callable[[], bool]) -> Sides:
    """Read both tensors once, in step. Raises ReadError, StoppedError."""
    kernels = a.engine.current
    counts = Accumulator(pair.a.dtype, kernels), Accumulator(pair.b.dtype, kernels)
    compared, places = ByteComparison(), list[Place]()
    is_same_type = pair.a.dtype == pair.b.dtype
    for piece in pieces(a, pair.a, b, pair.b, 0, pair.a.numel):
        if should_stop():
            raise StoppedError(f"the reading of {pair.name} was stopped")
        counts[0].add(piece.a, piece.numel)
        counts[1].add(piece.b, piece.numel)
        if len(places) < MOST_PLACES and not (is_same_type and compared.is_same(piece.a, piece.b)):
            places += _places(pair, piece, MOST_PLACES - len(places))
    of_a, of_b = (counter.summary() for counter in counts)
    figures = of_a.figures(pair.a.numel), of_b.figures(pair.b.numel)
    low, high = _axis(*figures)
    return Sides(*figures, low, high, _bars(of_a, low, high), _bars(of_b, low, high), tuple(places))


def _axis(a: Figures, b: Figures) -> tuple[float | None, float | None]:
    lows = [each.spark_low for each in (a, b) if each.spark_low is not None]
    highs = [each.spark_high for each in (a, b) if each.spark_high is not None]
    if not lows or not highs or not 0 < max(highs) - min(lows) < float("inf"):
        return None, None
    return min(lows), max(highs)


def _bars(summary: Summary, low: float | None, high: float | None) -> tuple[int, ...]:
    return summary.histogram(BINS, low, high).counts if low is not None and high is not None else ()


def _places(pair: Pair, piece: Piece, most: int) -> list[Place]:
    """The first elements of a piece that differ in value."""
    a, b = decode(piece.a, pair.a.dtype, piece.numel), decode(piece.b, pair.b.dtype, piece.numel)
    with np.errstate(all="ignore"):
        left, right = _comparable(a), _comparable(b)
        differ = np.not_equal(left, right) & ~(np.not_equal(left, left) & np.not_equal(right, right))
    return [
        Place(
            tuple(int(each) for each in np.unravel_index(piece.start + int(at), pair.a.shape)),
            _words(a[at]),
            _words(b[at]),
        )
        for at in np.flatnonzero(differ)[:most]
    ]


def _comparable(values: NDArray[Any]) -> NDArray[Any]:
    """The values as a type that numpy compares without loss."""
    if values.dtype.kind in "biu":
        return values
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)


def _words(value: Any) -> str:
    if isinstance(value, (np.bool_, np.integer)):
        return str(value.item())
    if np.iscomplexobj(value):
        return f"{text.number(float(value.real), 4)}{float(value.imag):+.4g}i"
    return text.number(float(value), 6)
