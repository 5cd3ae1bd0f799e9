"""Values of a tensor as text: with significant digits, fixed or scientific, and as their bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor, inf, isfinite, log10
from typing import Literal, TypeAlias

import msgspec

Flag = Literal["nan", "inf", "zero", ""]
Value: TypeAlias = "float | int | complex"

Form = Literal["significant", "fixed", "scientific", "bits"]
FORMS: tuple[Form, ...] = ("significant", "fixed", "scientific", "bits")

MOST_DIGITS = 17
"""Significant digits that tell every float64 from every other (IEEE 754, 5.12.2)."""

_MOST_FIXED = 1e6
_LEAST_FIXED = 1e-3
_LEAST_EXPONENT = 3
"""Characters for an exponent of a number that is too small for its column, such as ``e-7``."""


class Format(msgspec.Struct, frozen=True):
    """How numbers are written. ``digits`` are those of the largest magnitude in sight (significant), behind the point
    (fixed), or of every number (scientific); integers and bits are written whole.
    """

    form: Form = "significant"
    digits: int = 4

    @property
    def words(self) -> str:
        if self.form == "bits":
            return "bits in hex"
        what = "decimal" if self.form == "fixed" else "digit"
        words = f"{self.digits} {what}{'s' if self.digits > 1 else ''}"
        return f"{words}, scientific" if self.form == "scientific" else words


def texts_of(values: Sequence[Value], how: Format) -> list[str]:
    """The numbers of one window as text; all are written alike. ``how`` is not that of the bits."""
    if values and isinstance(values[0], complex):
        parts = [part for value in values for part in (complex(value).real, complex(value).imag)]
        write = _writer(parts, how)
        return [_complex_text(complex(value), write) for value in values]
    if values and isinstance(values[0], float):
        write = _writer([float(value.real) for value in values], how)
        return [write(float(value.real)) for value in values]
    return [str(int(value.real)) for value in values]


def bits_text(bits: int, width: int) -> str:
    """The bits of an element, ``width`` of them, in hexadecimal digits: ``0x3f80``."""
    return f"0x{bits:0{max(1, -(-width // 4))}x}"


def exact_text(value: Value) -> str:
    """A value with the fewest digits that give back the same float64; NaN and infinities as everywhere else."""
    if isinstance(value, complex):
        return _complex_text(value, exact_text)
    if isinstance(value, float):
        return special(value) or f"{value!r}"
    return str(int(value))


def flag_of(value: Value) -> Flag:
    """What a value is beside an ordinary number."""
    if value != value:
        return "nan"
    if isinstance(value, int):
        return "" if value else "zero"
    if isinstance(value, complex):
        return "inf" if inf in (abs(value.real), abs(value.imag)) else "" if value else "zero"
    return "inf" if value in (inf, -inf) else "" if value else "zero"


def sizes_of(values: Sequence[Value]) -> tuple[list[int], float]:
    """The sign of each real number, times 3 from half of the largest magnitude on, 2 from a tenth on, 1 below; 0 for
    zeros and what is not finite. And that largest finite magnitude.
    """
    reals = [value.real for value in values]
    largest = max((abs(value) for value in reals if isfinite(value)), default=0.0)
    return [_size(value, largest) if value and isfinite(value) else 0 for value in reals], float(largest)


def _size(value: float, largest: float) -> int:
    size = 3 if abs(value) >= largest / 2 else 2 if abs(value) >= largest / 10 else 1
    return size if value > 0 else -size


def special(value: float) -> str:
    """NaN, infinities and zeros, which look alike in every format; else empty."""
    if value != value:
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if str(value)[0] == "-" else "0"
    return ""


def _complex_text(value: complex, write: Callable[[float], str]) -> str:
    imaginary = write(value.imag)
    return f"{write(value.real)}{'' if imaginary[0] in '+-' else '+'}{imaginary}j"


def _writer(values: Sequence[float], how: Format) -> Callable[[float], str]:
    digits = how.digits
    if how.form == "scientific":
        return lambda value: special(value) or f"{value:.{digits - 1}e}"
    if how.form == "fixed":
        return _fixed(digits, max(digits - _LEAST_EXPONENT, 0))
    return _significant(values, digits)


def _significant(values: Sequence[float], digits: int) -> Callable[[float], str]:
    """All with the same decimals, or all with an exponent.

    The largest magnitude has ``digits`` significant digits. A number too small to show with those decimals is
    written with an exponent, never as 0.
    """
    magnitudes = [abs(value) for value in values if value and isfinite(value)]
    largest = max(magnitudes, default=1.0)
    if not _LEAST_FIXED <= largest < _MOST_FIXED:
        return lambda value: special(value) or f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - floor(log10(largest)))
    least = 0.5 * 10**-decimals
    shown = [f"{value:.{decimals}f}" for value in magnitudes if value > least]
    if decimals:
        # Trailing zeros that all numbers share are left out: 1.0 instead of 1.000.
        spare = min((len(text) - len(text.rstrip("0")) for text in shown), default=0)
        decimals -= min(spare, decimals - 1)
    return lambda value: (
        special(value) or (f"{value:.{decimals}f}" if abs(value) > least else f"{value:.{max(digits - 3, 0)}e}")
    )


def _fixed(decimals: int, more: int) -> Callable[[float], str]:
    """So many decimals; a number that would look like 0, or is long, is written with an exponent."""
    least = 0.5 * 10**-decimals
    return lambda value: (
        special(value) or (f"{value:.{decimals}f}" if least < abs(value) < 1e9 else f"{value:.{more}e}")
    )
