"""Numbers as text in four ways, and as the fewest digits that give them back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.reading.value_text import Format, bits_text, exact_text, texts_of

VALUES = [0.125, -1234.5678, 0.0, -0.0, math.nan, math.inf, -math.inf, 3e-9, 1e300]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Format("fixed", 2), ["0.12", "-1234.57", "0", "-0", "NaN", "+Inf", "-Inf", "3e-09", "1e+300"]),
        (Format("scientific", 3), ["1.25e-01", "-1.23e+03", "0", "-0", "NaN", "+Inf", "-Inf", "3.00e-09", "1.00e+300"]),
        (
            Format("significant", 3),
            ["1.25e-01", "-1.23e+03", "0", "-0", "NaN", "+Inf", "-Inf", "3.00e-09", "1.00e+300"],
        ),
    ],
)
def test_numbers_are_written_as_the_format_says(how: Format, expected: list[str]) -> None:
    assert texts_of(VALUES, how) == expected


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 17), st.sampled_from(["fixed", "scientific"]))
def test_a_number_is_never_written_as_nothing_at_random(value: float, digits: int, form: str) -> None:
    (text,) = texts_of([value], Format(form, digits))  # type: ignore[arg-type]
    assert (float(text) == 0) == (value == 0)
    assert len(text) < 40


@given(st.floats(allow_nan=False))
def test_the_exact_text_gives_the_number_back_at_random(value: float) -> None:
    assert float(exact_text(value).replace("Inf", "inf")) == value


def test_other_kinds_are_written_whole() -> None:
    assert texts_of([True, False], Format()) == ["1", "0"]
    assert texts_of([10**18, -5], Format("scientific")) == ["1000000000000000000", "-5"]
    assert texts_of([1 + 2j, complex(math.nan, -math.inf)], Format("fixed", 1)) == ["1.0+2.0j", "NaN-Infj"]
    assert exact_text(1 - 2j) == "1.0-2.0j"
    assert bits_text(0x3C, 16) == "0x003c"
    assert bits_text(5, 4) == "0x5"
    assert bits_text(1, 6) == "0x01"


def test_a_format_says_what_it_is() -> None:
    assert [Format(form, 1).words for form in ("significant", "fixed", "scientific", "bits")] == [
        "1 digit", "1 decimal", "1 digit, scientific", "bits in hex",
    ]  # fmt: skip
