"""Summary: exact statistics of the elements of one type, as a value that merges.

A commutative monoid: however a tensor is cut into chunks, and in whatever order their summaries are merged, the
result is the same, to the last bit.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.dtypes import DType
from tui_params.core.figures import QUANTILES, SPARK_BINS, Figures, Histogram
from tui_params.core.kernels.buckets import bounds
from tui_params.core.kernels.by_numpy import NumpyKernels
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.kernels.protocol import KernelSupply
from tui_params.core.numbers.decode import numbers, part_dtype, unpack
from tui_params.core.numbers.moments import Moments, codes_below_max, measure, quantum
from tui_params.core.numbers.order_statistics import Quantile, Ranks, linear_edges, log_edges
from tui_params.core.numbers.patterns import Table, Tally, tally

EXACT_LIMIT = 1 << 16
"""Up to so many elements of a type wider than 16 bits are kept pattern by pattern."""

_SMALL = 1 << 17
"""Up to so many elements of a narrow type are counted without a Tally, whose tables take longer to make. The result is
the same."""

_FEW = 1 << 13
"""Up to so many elements are sorted instead of counted."""

_FIRST = np.zeros(1, np.int64)


class Summary(msgspec.Struct, frozen=True, eq=False):
    """Counts of the bit patterns of ``count`` elements (the parts of a complex type are two elements each).

    ``patterns`` are sorted and unique, ``counts`` (int64) say how many elements have each. For types wider than
    16 bits and more than EXACT_LIMIT elements, the patterns are buckets of the finite elements other than zero,
    and ``moments`` hold what the buckets do not tell; else ``moments`` is None. Only ``dtype`` and ``count`` decide
    which of the two it is.
    """

    dtype: DType
    count: int
    patterns: NDArray[Any]
    counts: NDArray[np.int64]
    moments: Moments | None = None

    @staticmethod
    def empty(dtype: DType) -> Summary:
        """The summary of no element. Raises ReadError for a type that cannot be decoded."""
        return Accumulator(dtype).summary()

    @staticmethod
    def of(raw: NDArray[np.uint8], dtype: DType, numel: int, kernels: KernelSupply = NumpyKernels) -> Summary:
        """The summary of ``numel`` elements from their storage bytes (little-endian). Raises ReadError."""
        accumulator = Accumulator(dtype, kernels)
        accumulator.add(raw, numel)
        return accumulator.summary()

    def merge(self, other: Summary) -> Summary:
        """The summary of the elements of both. Raises ValueError if they are of different types."""
        if self.dtype != other.dtype:
            raise ValueError(f"summaries of {self.dtype} and {other.dtype} do not merge")
        part = part_dtype(self.dtype)
        count = self.count + other.count
        a, b = self, other
        moments = None
        if part.bits > 16 and count > EXACT_LIMIT:
            a, b = a._bucketed(part), b._bucketed(part)
            assert a.moments is not None
            assert b.moments is not None
            moments = a.moments + b.moments
        patterns, counts = _merge_tables((a.patterns, a.counts), (b.patterns, b.counts))
        return _frozen(self.dtype, count, patterns, counts, moments)

    def _bucketed(self, part: DType) -> Summary:
        if self.moments is not None:
            return self
        wide = tally(part)
        raw = np.repeat(self.patterns, self.counts)
        wide.add(raw.view(np.uint8), raw.size)
        return _frozen(self.dtype, self.count, *wide.table(), wide.moments())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Summary):
            return NotImplemented
        return (
            (self.dtype, self.count, self.moments) == (other.dtype, other.count, other.moments)
            and np.array_equal(self.patterns, other.patterns)
            and np.array_equal(self.counts, other.counts)
        )

    __hash__ = None  # type: ignore[assignment]

    @with_subnormals
    def figures(self, numel: int) -> Figures:
        """The figures to show for a tensor of ``numel`` elements; those summarized here may be a part of them.

        All figures of a complex tensor are over its real and imaginary parts, ``abs_max`` too.
        """
        part = part_dtype(self.dtype)
        parts = 2 if self.dtype.is_complex else 1
        moments, ranks = self._ordered(part)
        q = quantum(part)
        quantiles = ranks.quantiles(QUANTILES)
        spark_low, spark_high, spark = _spark(ranks, quantiles)
        is_whole = self.count == numel * parts
        low, high = moments.low, moments.high
        return Figures(
            numel=numel,
            parts=parts,
            count=self.count,
            finite=moments.finite,
            nan=moments.nan,
            pos_inf=moments.pos_inf,
            neg_inf=moments.neg_inf,
            zeros=moments.zeros,
            subnormals=moments.subnormals,
            min=low,
            max=high,
            mean=moments.mean(q),
            std=moments.std(q),
            abs_max=None if low is None or high is None else max(abs(low), abs(high)),
            l2_norm=moments.l2_norm(q),
            rms=moments.rms(q),
            quantiles=tuple(found.value for found in quantiles),
            is_exact=is_whole,
            quantiles_exact=is_whole and not any(found.error for found in quantiles),
            quantile_error=max((found.error for found in quantiles), default=0.0),
            spark=spark,
            spark_low=spark_low,
            spark_high=spark_high,
            at_max=moments.at_max if part.kind == "float" else None,
            below_max=self._below_max(part),
        )

    def moments_of(self) -> Moments:
        """The counts, sums and extremes alone, which take less time than all figures."""
        return self._ordered(part_dtype(self.dtype))[0]

    def _below_max(self, part: DType) -> int | None:
        """How many elements have the magnitude next below the largest finite one; None for integers and wide types."""
        if part.kind != "float" or part.bits > 16:
            return None
        codes = codes_below_max(part)
        places = np.searchsorted(self.patterns, codes)
        places[places == self.patterns.size] = 0
        return int(self.counts[places][self.patterns[places] == codes].sum()) if self.patterns.size else 0

    @with_subnormals
    def histogram(
        self,
        bins: int,
        low: float | None = None,
        high: float | None = None,
        *,
        is_log_axis: bool = False,
        numel: int | None = None,
    ) -> Histogram:
        """Counts of the finite elements in ``bins`` equal bins from ``low`` to ``high`` (None: the extremes).

        On a log axis they are counts of magnitudes, in bins of equal ratio; ``low`` and ``high`` are magnitudes
        too, and zeros count as below. With ``numel`` given, the histogram of a sample says that it is not exact.
        Without a finite element to set the limits by it has no bins. Raises ValueError for limits that are not
        finite, not ascending, or not positive on a log axis.
        """
        part = part_dtype(self.dtype)
        moments, ranks = self._ordered(part)
        is_whole = numel is None or self.count == numel * (2 if self.dtype.is_complex else 1)
        zeros = 0
        if is_log_axis:
            ranks, zeros = ranks.magnitudes(), moments.zeros
        limits = ranks.limits()
        if limits is None and (low is None or high is None):
            return Histogram((), (), zeros, 0, is_whole)
        start = low if low is not None or limits is None else limits[0]
        stop = high if high is not None or limits is None else limits[1]
        assert start is not None
        assert stop is not None
        if low is None or high is None:  # a limit that was asked for may lie beyond the other extreme
            start, stop = (start, max(start, stop)) if high is None else (min(start, stop), stop)
        if bins < 1 or not -math.inf < start <= stop < math.inf or (is_log_axis and start <= 0):
            raise ValueError(f"no {bins} bins fit between {start} and {stop}")
        found = ranks.histogram((log_edges if is_log_axis else linear_edges)(start, stop, bins))
        return msgspec.structs.replace(found, below=found.below + zeros, is_exact=found.is_exact and is_whole)

    @with_subnormals
    def ranks(self) -> Ranks:
        """The finite elements by their values."""
        return self._ordered(part_dtype(self.dtype))[1]

    def _ordered(self, part: DType) -> tuple[Moments, Ranks]:
        if self.moments is not None:
            return self.moments, _bucket_ranks(self.patterns, self.counts, part, self.moments)
        values = numbers(self.patterns, part)
        counts = self.counts
        special = Moments()
        if part.kind == "float":
            is_finite = np.isfinite(values)
            if not is_finite.all():
                special = Moments(
                    nan=int(counts[np.isnan(values)].sum()),
                    pos_inf=int(counts[values == np.inf].sum()),
                    neg_inf=int(counts[values == -np.inf].sum()),
                )
                values, counts = values[is_finite], counts[is_finite]
        order = np.argsort(values, kind="stable")
        values, counts = values[order], counts[order]
        return special + measure(values, counts, part), Ranks(values, values, counts)


class Accumulator:
    """Builds a Summary: one thread adds storage bytes, which ``kernels`` count, then takes the summary."""

    def __init__(self, dtype: DType, kernels: KernelSupply = NumpyKernels) -> None:
        """Raises ReadError, naming the type, if it cannot be decoded."""
        self._kernels = kernels
        self.dtype = dtype
        self._part = part_dtype(dtype)
        self._limit = EXACT_LIMIT if self._part.bits > 16 else 0 if self._part.is_packed else _SMALL
        self._waiting: list[NDArray[Any]] = []
        self._tally: Tally | None = None
        self.count = 0

    def add(self, raw: NDArray[np.uint8], numel: int | None = None) -> None:
        """Add ``numel`` elements (None: as many as fit) from their storage bytes, which are not kept."""
        available = self.dtype.numel(raw.size)
        if numel is None:
            numel = available
        elif numel > available:
            raise ValueError(f"{raw.size} bytes do not hold {numel} elements of {self.dtype}")
        raw = np.ascontiguousarray(raw[: self.dtype.nbytes(numel)])
        if self.dtype.is_complex:
            numel *= 2
        if not numel:
            return
        self.count += numel
        if self._tally is None and self.count <= self._limit:
            self._waiting.append(self._codes(raw, numel))
            return
        if self._tally is None:
            self._tally = tally(self._part, self._kernels)
            waiting, self._waiting = self._waiting, []
            for codes in waiting:
                self._tally.add(codes.view(np.uint8), codes.size)
        self._tally.add(raw, numel)

    def summary(self) -> Summary:
        """The summary of everything that was added so far."""
        if self._tally is not None:
            return _frozen(self.dtype, self.count, *self._tally.table(), self._tally.moments())
        # A copy, because more may be added.
        codes = np.concatenate(self._waiting) if self._waiting else self._codes(np.empty(0, np.uint8), 0)
        if codes.size > _FEW and self._part.bits <= 16:
            found = np.bincount(codes)
            patterns = np.flatnonzero(found != 0)  # of bool numpy has a quicker way
            return _frozen(self.dtype, self.count, patterns.astype(codes.dtype), found[patterns], None)
        if codes.size > 1:
            codes.sort()
            # As np.unique does it, which takes longer for a few elements.
            starts = np.concatenate((_FIRST, (codes[1:] != codes[:-1]).nonzero()[0] + 1, [codes.size]))
            return _frozen(self.dtype, self.count, codes[starts[:-1]], starts[1:] - starts[:-1], None)
        return _frozen(self.dtype, self.count, codes, np.ones(codes.size, np.int64), None)

    def _codes(self, raw: NDArray[np.uint8], numel: int) -> NDArray[Any]:
        """A copy of the bit patterns, one each."""
        if self._part.is_packed:
            return unpack(raw, self._part.bits, numel)
        return raw.view(f"<u{self._part.bits // 8}").copy()


def _frozen(
    dtype: DType, count: int, patterns: NDArray[Any], counts: NDArray[np.int64], moments: Moments | None
) -> Summary:
    patterns.flags.writeable = counts.flags.writeable = False
    return Summary(dtype, count, patterns, counts, moments)


def _merge_tables(a: Table, b: Table) -> Table:
    patterns, places = np.unique(np.concatenate((a[0], b[0])), return_inverse=True)
    counts = np.zeros(patterns.size, np.int64)
    np.add.at(counts, places.reshape(-1), np.concatenate((a[1], b[1])))
    return patterns, counts


def _bucket_ranks(buckets: NDArray[Any], counts: NDArray[np.int64], part: DType, moments: Moments) -> Ranks:
    if moments.low is None:
        return Ranks(np.empty(0), np.empty(0), np.empty(0, np.int64))
    lows, highs = bounds(buckets, part)
    if moments.zeros:
        zero = lows.dtype.type(0)
        lows, highs, counts = np.append(lows, zero), np.append(highs, zero), np.append(counts, moments.zeros)
    order = np.argsort(lows, kind="stable")
    lows, highs, counts = lows[order], highs[order], counts[order]
    lows[0], highs[-1] = moments.low, moments.high
    return Ranks(lows, highs, counts)


def _spark(ranks: Ranks, quantiles: list[Quantile]) -> tuple[float | None, float | None, tuple[int, ...]]:
    limits = ranks.limits()
    if limits is None:
        return None, None, ()
    low, high = quantiles[0].value, quantiles[-1].value
    if low == high:
        low, high = limits
    if low == high:
        middle = SPARK_BINS // 2
        return low, high, tuple(ranks.total if i == middle else 0 for i in range(SPARK_BINS))
    return low, high, ranks.histogram(linear_edges(low, high, SPARK_BINS)).counts
