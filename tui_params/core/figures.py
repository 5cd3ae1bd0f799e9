"""Figures: statistics as they are shown and printed. Frozen values, which may cross threads and processes."""

from __future__ import annotations

import msgspec

QUANTILES: tuple[float, ...] = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
"""The quantiles that every Figures carries, in this order."""

SPARK_BINS = 16


class Histogram(msgspec.Struct, frozen=True, gc=False):
    """Counts of the finite elements in bins between ``edges[i]`` and ``edges[i + 1]`` (the last bin closed).

    ``below`` and ``above`` count the finite elements outside. ``is_exact`` is False where a bucket of the summary
    lies across an edge, so that its elements were shared out, or where not every element was read.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    below: int
    above: int
    is_exact: bool


class Figures(msgspec.Struct, frozen=True, gc=False):
    """The statistics of one tensor.

    All statistics are over the finite elements; NaN and infinities are counted apart. ``count`` is how many
    elements were read; of a complex tensor the real and imaginary parts count as two elements, and ``parts`` is 2.
    A statistic that has no value (no finite element) is None. ``min``, ``max``, ``abs_max`` of integers are ints.
    ``std`` is the population standard deviation. ``l2_norm`` is None also where it lies beyond float64.

    ``is_exact``: every element was read, and every field but the quantiles is the exact value, rounded once to
    float64. ``quantiles_exact``: so are the quantiles (numpy's "linear" rule); where False, each is off by at most
    ``quantile_error`` times its own magnitude (of a quantile between two elements of opposite sign, times the larger
    of theirs). Where not every element was read, that holds for the elements that were.
    ``at_max`` counts the elements of a floating type whose magnitude is the largest finite one (65504 of float16, 448
    of float8_e4m3fn), and ``below_max`` those that have the magnitude next below it, of types of 16 bits and less.
    Both are None where they are not counted: integers, and ``below_max`` of wider types.
    ``spark`` counts finite elements in SPARK_BINS equal bins between ``spark_low`` and ``spark_high``, a range
    without the outermost tails (the 0.1 % and 99.9 % quantiles); empty if there is no finite element.
    """

    numel: int
    parts: int
    count: int
    finite: int
    nan: int
    pos_inf: int
    neg_inf: int
    zeros: int
    subnormals: int
    min: float | int | None
    max: float | int | None
    mean: float | None
    std: float | None
    abs_max: float | int | None
    l2_norm: float | None
    rms: float | None
    quantiles: tuple[float, ...]
    is_exact: bool
    quantiles_exact: bool
    quantile_error: float
    spark: tuple[int, ...]
    spark_low: float | None
    spark_high: float | None
    at_max: int | None = None
    below_max: int | None = None

    @property
    def is_sampled(self) -> bool:
        """Whether only a part of the elements was read."""
        return self.count < self.numel * self.parts

    @property
    def non_finite(self) -> int:
        return self.nan + self.pos_inf + self.neg_inf
