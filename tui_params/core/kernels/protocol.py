"""Kernels: the inner loops of every read as a protocol, and the layout of the tables that they fill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.channels import Side
from tui_params.core.kernels.block_tables import BlockTables
from tui_params.core.kernels.words import Words

WORDS = 1 << 16

LANES = 4
"""Tables that are counted into in turn: one alone makes many processors wait for their own store."""

PACKED_COUNT = 40
"""Low bits of a row of the packed float32 table that hold the sum of the lower halves; the count is in the rest."""

PACKED_LIMIT = (1 << 64 - PACKED_COUNT) - 1
"""Elements after which a count or a sum might not fit into its part of a packed row."""

STEP = 1 << 17
"""Elements that numpy handles at a time: few enough for the second-level cache, and for sums to stay exact."""


class Extremes(msgspec.Struct, frozen=True, gc=False):
    """Least and greatest finite word of some floats, as ``ordered`` (low > high if there is none), and counts."""

    low: int
    high: int
    pos_zeros: int
    neg_zeros: int
    pos_inf: int
    neg_inf: int


class Sums(msgspec.Struct, frozen=True, gc=False):
    """Sum, sum of squares, least and greatest of some integers, at least one."""

    total: int
    squares: int
    low: int
    high: int


class Gap(msgspec.Struct, frozen=True, gc=False):
    """How elements b differ from elements a, all finite: sums in float64 of their squares and products (``aa``, ``bb``,
    ``ab``), of the squares and the sizes of b - a, the greatest size, how many are changed, the first of these, and how
    many are zero in b and not in a.
    """

    aa: float
    bb: float
    ab: float
    dd: float
    total: float
    peak: float
    changed: int
    first: int
    became_zero: int


DECODED = ("float32", "bfloat16", "float16", "float8_e5m2", "float8_e4m3fn")
"""Types that the compiled loop of differences handles: a float32 holds every value of each."""


DIGITS = 24
"""Digits of 32 bits, from 2**-301 on, in which the loop over a step adds up squares; a digit may carry over later."""


class Moved(msgspec.Struct, frozen=True, gc=False):
    """The figures of some elements b, and how they moved from elements a, where there are some.

    ``finite``, ``nan`` and ``infinite`` elements, and the greatest finite size, are those of b; ``rest`` is what the
    squares of the finite ones add to those in the digits. Of the ``pairs`` that are finite on both sides ``aa`` is the
    sum of the squares of a, ``dd`` that of b - a. ``changed`` elements have another value, where NaN counts as one
    value; unless ``differs``, not a bit does.
    """

    finite: int
    nan: int
    infinite: int
    peak: float
    rest: float
    pairs: int
    aa: float
    dd: float
    changed: int
    differs: bool


FEW = 1 << 16
"""The most elements that the loop over few takes."""


class Lines(msgspec.Struct, frozen=True, gc=False):
    """How the elements of a tensor lie in rows and columns, as ``core.channels`` has them.

    A row has ``width`` elements, and ``group`` neighbours of these are of one column; where ``has_columns`` is False
    the columns mean nothing.
    """

    rows: int
    width: int
    group: int
    has_columns: bool


class Few(msgspec.Struct, frozen=True, gc=False):
    """Everything that is shown of a tensor of few elements, as Figures and Channels have it.

    ``total`` and ``squares`` are those of Moments. ``low``, ``high``, ``quantiles`` and the bins of ``spark`` mean
    nothing where nothing is ``finite``.
    """

    finite: int
    nan: int
    pos_inf: int
    neg_inf: int
    zeros: int
    subnormals: int
    at_max: int
    below_max: int
    total: int
    squares: int
    low: float
    high: float
    quantiles: tuple[float, ...]
    spark: tuple[int, ...]
    spark_low: float
    spark_high: float
    rows: Side | None
    columns: Side | None


class Kernels(Protocol):
    """The loops. Inputs are contiguous, may be read-only and unaligned; tables are added to in place."""

    def count16(self, words: NDArray[np.uint16], lanes: NDArray[np.uint32]) -> None:
        """Count ``words`` into ``lanes[LANES, WORDS]``, which must be emptied before 2**32 words."""

    def float32(self, words: NDArray[np.uint32], packed: NDArray[np.uint64], squares: NDArray[np.uint64]) -> Extremes:
        """Count the upper halves and sum up the lower halves into ``packed[WORDS]``; the squares of the lower halves
        by sign and exponent into ``squares[512]``. At most PACKED_LIMIT elements between two unpackings.
        """

    def float64(self, words: NDArray[np.uint64], counts: NDArray[np.int64], sums: NDArray[np.int64]) -> Extremes:
        """Count the upper 19 bits into ``counts[2**19]``, and add to the row of each sign and exponent in
        ``sums[4096, LIMB_SUMS]`` the sums that ``limb_totals`` reads. The rows of NaN and infinities may hold anything.
        At most 2**26 elements before ``sums`` must be emptied.
        """

    def integers(self, values: NDArray[Any], counts: NDArray[np.int64]) -> Sums:
        """Count integers of 32 or 64 bits by their buckets into ``counts[2**19]``; 1 to 2**30 of them."""

    def maxima(
        self,
        grid: NDArray[Any],
        rows: NDArray[Any],
        columns: NDArray[Any],
        most: int,
        *,
        is_doubled: bool,
    ) -> None:
        """Raise ``rows[r]`` and ``columns[c]`` to the greatest of the unsigned ``grid[r, c]``, doubled (without the
        top bit) if ``is_doubled``; what is greater than ``most`` counts as 1. ``columns`` may be empty: rows only.
        """

    def difference(
        self, a: NDArray[np.uint8], b: NDArray[np.uint8], types: tuple[str, str], numel: int, atol: float, rtol: float
    ) -> Gap | None:
        """How ``numel`` elements b differ from a, given as storage bytes; those with |b - a| > atol + rtol |a| are
        changed. None if there is no loop for these types, or if one of the elements is not finite.
        """

    def moved(
        self,
        before: Moved | None,
        a: NDArray[np.uint8] | None,
        b: NDArray[np.uint8],
        types: tuple[str, str],
        numel: int,
        digits: NDArray[np.uint64],
    ) -> Moved | None:
        """How ``numel`` elements b moved from a, given as storage bytes; a may be None. ``before`` is what was found of
        a, if that is known. The squares of b are added to ``digits[DIGITS]``, which must be emptied before 2**41
        elements. None, and nothing is done, if there is no loop for these types.
        """

    def blocks(self, grid: NDArray[Any], kind: str, top: int, left: int, tables: BlockTables) -> bool:
        """Take the elements ``grid[r, c]``, of the type called ``kind``, into the tables of a matrix, in which they lie
        from row ``top`` and column ``left`` on. False, and nothing is done, if there is no loop for the type.

        Means are right to a millionth of the mean magnitude, sums of squares to a millionth of themselves.
        """

    def few(
        self, raw: NDArray[np.uint8], kind: str, numel: int, marks: tuple[int, int, int], lines: Lines | None
    ) -> Few | None:
        """The figures of 1 to FEW elements of the type called ``kind``, and of their rows and columns.

        ``marks`` are the patterns, as float32, of the smallest normal number of the type, of the largest finite one and
        of the one below that (-1: not to be counted). None if there is no loop for the type, or if a quantile lies
        between two numbers so far apart that the loop cannot round it once.
        """

    def seek(self, words: NDArray[Any], sought: Words, start: int, stop: int, step: int) -> int | None:
        """The place of the first (``step`` 1) or the last (-1) of the words ``start:stop`` that is sought, or None.

        ``words`` are unsigned, of ``sought.bits`` each; codes of 4 bits are counted one by one, two in each byte.
        """


KernelSupply: TypeAlias = Callable[[], Kernels]
"""A function that gives the kernels that serve now; it is called again for each block, and may change its answer."""


def ordered(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """float32 words as unsigned numbers in the order of their values, -0 just below +0."""
    negative = (words.view(np.int32) >> 31).view(np.uint32)
    return words ^ (negative | np.uint32(0x80000000))


def unordered(key: int) -> float:
    """The float32 of a number that ``ordered`` returned; -0 becomes 0."""
    word = key ^ (0x80000000 if key >> 31 else 0xFFFFFFFF)
    return float(np.uint32(word).view(np.float32)) + 0.0


def ordered64(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """float64 words as unsigned numbers in the order of their values, -0 just below +0."""
    negative = (words.view(np.int64) >> 63).view(np.uint64)
    return words ^ (negative | np.uint64(1 << 63))


def unordered64(key: int) -> float:
    """The float64 of a number that ``ordered64`` returned; -0 becomes 0."""
    word = key ^ (1 << 63 if key >> 63 else (1 << 64) - 1)
    return float(np.uint64(word).view(np.float64)) + 0.0
