"""Summaries as they go from one process, or machine, to another: msgpack of frozen structs, never a pickle.

Integers may have thousands of bits, so they go as bytes; arrays as the little-endian bytes of their items.
"""

from __future__ import annotations

import math
from typing import Any, Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.dtypes import DType
from tui_params.core.numbers.decode import part_dtype
from tui_params.core.numbers.moments import Moments
from tui_params.core.numbers.summary import EXACT_LIMIT, Summary

MOST_INTEGER_NBYTES = 1 << 10
"""The sum of the squares of 2**63 float64 takes 537 bytes."""

Word = Literal["uint8", "uint16", "uint32", "uint64"]


class SentSummary(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A Summary without its type; ``moments`` are those of its fields that are integers, as bytes.

    ``word`` is the type of the patterns, such as ``uint16``.
    """

    count: int
    word: Word
    patterns: bytes
    counts: bytes
    moments: tuple[bytes, ...] | None
    low: float | bytes | None
    high: float | bytes | None


_SUMS = ("finite", "nan", "pos_inf", "neg_inf", "zeros", "subnormals", "total", "squares", "at_max")


def pack_summary(summary: Summary) -> SentSummary:
    """A summary to send."""
    moments, found = None, summary.moments
    if found is not None:
        moments = tuple([integer_bytes(getattr(found, name)) for name in _SUMS])
    return SentSummary(
        summary.count,
        cast(Word, summary.patterns.dtype.name),
        little(summary.patterns),
        little(summary.counts),
        moments,
        None if found is None else _extreme(found.low),
        None if found is None else _extreme(found.high),
    )


def unpack_summary(sent: SentSummary, dtype: DType) -> Summary:
    """The reverse of ``pack_summary``. Raises ValueError."""
    moments = None
    if sent.moments is not None:
        sums = {name: integer_of(data) for name, data in zip(_SUMS, sent.moments, strict=True)}
        moments = Moments(**sums, low=_limit(sent.low), high=_limit(sent.high))
    patterns, counts = array_of(sent.patterns, np.dtype(sent.word)), array_of(sent.counts, np.dtype(np.int64))
    return Summary(dtype, sent.count, patterns, counts, moments)


def checked_summary(sent: SentSummary, dtype: DType, numel: int) -> Summary:
    """The summary of all elements of a tensor of that type, from anybody. Raises ValueError unless it can be one."""
    part = part_dtype(dtype)
    if any(len(data) > MOST_INTEGER_NBYTES for data in _integers(sent)):
        raise ValueError("a sum of more digits than sums have")
    found, empty = unpack_summary(sent, dtype), Summary.empty(dtype)
    patterns, counts, moments = found.patterns, found.counts, found.moments
    is_bucketed = part.bits > 16 and found.count > EXACT_LIMIT
    if found.count != numel * (2 if dtype.is_complex else 1) or is_bucketed != (moments is not None):
        raise ValueError("it is not of all elements")
    expected = np.dtype(np.uint32) if is_bucketed else empty.patterns.dtype
    if patterns.dtype != expected or patterns.shape != counts.shape or not bool((patterns[1:] > patterns[:-1]).all()):
        raise ValueError("its table is none")
    total = sum(counts.tolist())
    if bool((counts <= 0).any()) or total > found.count:
        raise ValueError("its counts are none")
    if moments is not None:
        _check_moments(moments, found, part, total)
    elif total != found.count:
        raise ValueError("its counts are not of all elements")
    return found


def _integers(sent: SentSummary) -> list[bytes]:
    return [each for each in (*(sent.moments or ()), sent.low, sent.high) if isinstance(each, bytes)]


def _check_moments(moments: Moments, found: Summary, part: DType, inside: int) -> None:
    """Raise ValueError unless these are of a table of buckets, which has the finite elements other than zero."""
    counted = (moments.finite, moments.nan, moments.pos_inf, moments.neg_inf, moments.zeros, moments.subnormals)
    if min(*counted, moments.squares, moments.at_max) < 0 or max(*counted, moments.at_max) > found.count:
        raise ValueError("its counts are none")
    if sum(counted[:4]) != found.count or moments.finite - moments.zeros != inside:
        raise ValueError("its counts are not of all elements")
    if moments.total**2 > moments.finite * moments.squares:
        raise ValueError("no values have such sums")
    kinds = (float if part.kind == "float" else int, type(None))
    for limit in (moments.low, moments.high):
        if (limit is None) != (not moments.finite) or not isinstance(limit, kinds):
            raise ValueError("its extremes are none")
    low, high = moments.low or 0, moments.high or 0
    if not -math.inf < low <= high < math.inf:
        raise ValueError("its extremes are none")
    if part.kind != "float" and not (-(2**63) <= low <= high < 2**64):
        raise ValueError("its extremes are none")


def _extreme(value: float | int | None) -> float | bytes | None:
    return integer_bytes(value) if isinstance(value, int) else value


def _limit(value: float | bytes | None) -> float | int | None:
    return integer_of(value) if isinstance(value, bytes) else value


def integer_bytes(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)


def integer_of(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def little(array: NDArray[Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def array_of(data: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype)
