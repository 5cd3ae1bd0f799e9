"""Conditions on single values (``>3.5``, ``abs>2``, NaN), and the words of bits that meet them, for every real type."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from tui_params.core.dtypes import DType, numpy_dtype
from tui_params.core.kernels.words import Words
from tui_params.core.numbers.decode import numbers, part_dtype
from tui_params.core.text import clean
from tui_params.errors import SliceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Number: TypeAlias = "int | float"

_TERM = re.compile(r"(?P<abs>abs\s*|\|x\|\s*)?(?P<sign>>=|<=|==|=|>|<)\s*(?P<number>\S+)")
_LONGEST = 60
_FAR = 1 << 62
_BRUTE = 16
"""Types of at most so many bits are decided pattern by pattern."""


class Condition(msgspec.Struct, frozen=True):
    """What a value is sought for: an interval in which it, or its magnitude, lies; or that it is not finite.

    A bound is rounded to the element's type first, as torch and numpy do when they compare. A bound that is ``open``
    does not belong to the interval. Infinities lie in an interval that has no end there; NaN lies in none.
    """

    text: str
    kind: Literal["interval", "not finite", "nan", "inf"] = "interval"
    low: Number = -math.inf
    high: Number = math.inf
    is_low_open: bool = False
    is_high_open: bool = False
    is_abs: bool = False


NOT_FINITE = Condition("NaN or Inf", "not finite")


def between(low: Number, high: Number, *, is_closed: bool = False) -> Condition:
    """From ``low`` on, and below ``high``; up to ``high`` if ``is_closed``."""
    return Condition(f"{low!r} to {high!r}", low=low, high=high, is_high_open=not is_closed)


def parse_condition(words: str) -> Condition:
    """The condition that words mean: ``>3.5``, ``<=-1``, ``=0``, ``abs>2``, ``nan``, ``inf``. Raises SliceError."""
    text = clean(words.strip()[:_LONGEST])
    word = text.lower()
    if word in ("nan", "inf"):
        return Condition({"nan": "NaN", "inf": "Inf"}[word], "nan" if word == "nan" else "inf")
    if word in ("nan or inf", "!finite"):
        return NOT_FINITE
    match = _TERM.fullmatch(word)
    if match is None:
        raise SliceError(f"{text!r} is no condition: write >3.5, <-1, =0, abs>2, nan or inf")
    number = _number(match["number"])
    sign, is_abs = match["sign"], match["abs"] is not None
    shown = f"{'abs' if is_abs else ''}{sign.replace('==', '=')}{match['number']}"
    if sign in (">", ">="):
        return Condition(shown, low=number, is_low_open=sign == ">", is_abs=is_abs)
    if sign in ("<", "<="):
        return Condition(shown, high=number, is_high_open=sign == "<", is_abs=is_abs)
    return Condition(shown, low=number, high=number, is_abs=is_abs)


def _number(word: str) -> Number:
    try:
        return int(word)
    except ValueError:
        pass
    try:
        number = float(word)
    except ValueError:
        raise SliceError(f"{word!r} is not a number") from None
    if number != number:
        raise SliceError("nothing is equal to NaN, or more or less: write nan to find one")
    return number


def words_of(condition: Condition, dtype: DType) -> Words:
    """The words of a real type, or of the parts of a complex one, that meet a condition.

    Codes of 4 bits are sought as they are stored; other packed ones one in each byte. Raises ReadError, SliceError.
    """
    part = part_dtype(dtype)
    if dtype.is_complex and condition.kind == "interval":
        raise SliceError("complex numbers have no order here: only nan and inf can be searched in them")
    width = part.bits if part.bits == 4 else max(8, part.bits)
    if part.bits <= _BRUTE:
        return _by_patterns(condition, part, width)
    if part.kind == "float":
        return _float_words(condition, part.bits)
    return Words(width, (1 << width) - 1, _integer_ranges(condition, part))


def _by_patterns(condition: Condition, part: DType, width: int) -> Words:
    """Every pattern is looked at: there are at most 65,536."""
    import numpy as np

    patterns = np.arange(1 << part.bits, dtype=np.min_scalar_type((1 << part.bits) - 1))
    values = numbers(patterns, part)
    found = _meets(condition, values, part)
    sign = 1 << (part.bits - 1)
    if part.kind == "float" and bool((found[:sign] == found[sign:]).all()):
        return Words(width, sign - 1, _runs(found[:sign]))
    return Words(width, (1 << width) - 1, _runs(found))


def _meets(condition: Condition, values: NDArray[Any], part: DType) -> NDArray[np.bool_]:
    import numpy as np

    if condition.kind == "nan":
        return np.asarray(np.isnan(values))
    if condition.kind == "inf":
        return np.asarray(np.isinf(values))
    if condition.kind == "not finite":
        return np.asarray(np.logical_not(np.isfinite(values)))
    sized = np.abs(values) if condition.is_abs else values
    if part.kind != "float":
        first = _first_integer(condition, -_FAR, _FAR)
        return np.asarray(np.logical_and(sized >= first, sized <= _last_integer(condition, -_FAR, _FAR)))
    low, high = _rounded(condition.low, part), _rounded(condition.high, part)
    above = sized > low if condition.is_low_open else sized >= low
    below = sized < high if condition.is_high_open else sized <= high
    return np.asarray(np.logical_and(above, below))


def _rounded(bound: Number, part: DType) -> float:
    """A bound as the type has it; as it is where the type has nothing like it (beyond its range, 0 of float8_e8m0)."""
    import numpy as np

    given = np.float64(_as_float(bound))
    with np.errstate(over="ignore", invalid="ignore"):
        rounded, limit = np.array([given, np.inf]).astype(numpy_dtype(part)).astype(np.float64).tolist()
    # A type without infinities may turn all that is too large into its largest number.
    is_beyond = math.isfinite(limit) and abs(given) > limit
    return rounded if math.isfinite(rounded) and not is_beyond else float(given)


def _as_float(number: Number) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _runs(found: NDArray[Any]) -> tuple[tuple[int, int], ...]:
    import numpy as np

    edges = np.flatnonzero(np.diff(np.concatenate(([0], found.astype(np.int8), [0])))).tolist()
    return tuple((first, stop - first - 1) for first, stop in zip(edges[::2], edges[1::2], strict=True))


def _float_words(condition: Condition, bits: int) -> Words:
    """IEEE 754 binary32 and binary64: of non-negative words the order is that of the values."""
    import numpy as np

    sign = 1 << (bits - 1)
    infinity = 0x7F800000 if bits == 32 else 0x7FF << 52
    magnitudes = sign - 1
    if condition.kind != "interval":
        first = infinity + (condition.kind == "nan")
        last = infinity if condition.kind == "inf" else magnitudes
        return Words(bits, magnitudes, ((first, last - first),))

    def key(value: Number, side: int, *, is_open: bool) -> int:
        """The place, in the order of all words, of the first value from a bound on (side 1) or the last up to it (-1).

        In that order -0 stands just below 0.
        """
        given = _as_float(value)
        with np.errstate(over="ignore"):
            rounded = np.array(given, f"f{bits // 8}")
        word = int(rounded.view(f"u{bits // 8}"))
        if not word & magnitudes:
            word = sign if (side > 0) != is_open else 0
        place = word ^ (2 * sign - 1) if word & sign else word | sign
        if math.isinf(rounded) and math.isfinite(given):
            # The bound lies between the largest finite number and the infinity.
            return place + (side if (given > 0) == (side < 0) else 0)
        return place + side * is_open

    low, high = (
        key(condition.low, 1, is_open=condition.is_low_open),
        key(condition.high, -1, is_open=condition.is_high_open),
    )
    if condition.is_abs:
        low, high = max(low - sign, 0), high - sign
        return Words(bits, magnitudes, ((low, high - low),) if low <= high else ())
    ranges = []
    if max(low, sign) <= high:
        ranges.append((max(low, sign) - sign, high - max(low, sign)))
    if low <= min(high, sign - 1):
        # Below zero the order of the words is the other way round.
        ranges.append(((2 * sign - 1) ^ min(high, sign - 1), min(high, sign - 1) - low))
    return Words(bits, 2 * sign - 1, tuple(ranges))


def _integer_ranges(condition: Condition, part: DType) -> tuple[tuple[int, int], ...]:
    if condition.kind != "interval":
        return ()
    is_unsigned = part.name.startswith(("u", "qu", "bits"))
    least, most = (0, (1 << part.bits) - 1) if is_unsigned else (-(1 << part.bits - 1), (1 << part.bits - 1) - 1)
    low, high = _first_integer(condition, least, most), _last_integer(condition, least, most)
    spans = [(low, high)]
    if condition.is_abs:
        low = max(low, 0)
        spans = [(low, high)]
        if not is_unsigned:
            spans.append((max(-high, least) if high < most else least, -low))
            if low <= 0:
                spans = [(spans[1][0], high)]
    everything = 1 << part.bits
    kept = [(max(first, least), min(last, most)) for first, last in spans]
    return tuple((first % everything, last - first) for first, last in kept if first <= last)


def _first_integer(condition: Condition, least: int, most: int) -> int:
    if condition.low == -math.inf:
        return least
    if condition.low == math.inf:
        return most + 1
    first = math.ceil(condition.low)
    return first + (condition.is_low_open and first == condition.low)


def _last_integer(condition: Condition, least: int, most: int) -> int:
    if condition.high == math.inf:
        return most
    if condition.high == -math.inf:
        return least - 1
    last = math.floor(condition.high)
    return last - (condition.is_high_open and last == condition.high)
