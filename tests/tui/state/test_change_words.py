"""How changes are written: cells that fit, bounds that stay bounds, sentences that say what was compared."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.compare.moved import Change, Sums
from tui_params.core.numbers.difference import Difference
from tui_params.tui.state.change_words import cell_of, rounded_down, sentence_of
from tui_params.tui.terminal.glyphs import ASCII, UNICODE


def sums(norm: float = 2.0, nan: int = 0, inf: int = 0) -> Sums:
    return Sums(4, 4 - nan - inf, nan, inf, 0, 0.5, 0.5, 0.0, 1.0, norm)


def difference(changed: int = 3, became_nan: int = 0) -> Difference:
    return Difference(4, changed, 0, 4, 0.25, 0.1, 0.125, 0.99, became_nan, 0, 0, 0)


CELLS = (
    (Change("same"), "same", "dim"),
    (Change("new"), "new", "accent"),
    (Change("shape"), "reshaped", "accent"),
    (Change("dtype"), "retyped", "accent"),
    (Change("stride"), "strides", "accent"),
    (Change("unread"), "–", "dim"),
    (Change("moved", sums(), sums(), 0.00125, 0.001, difference()), "0.00125", "text"),
    (Change("moved", sums(), sums(), None, 0.00125), "≥0.0012", "text"),
    (Change("moved", sums(), sums(), None, 1.5e-300), "≥2e-300", "text"),
    (Change("moved", sums(), sums()), "moved", "text"),
    (Change("moved", sums(0.0), sums()), "from 0", "accent"),
    (Change("moved", sums(), sums(nan=1), None, None), "+NaN", "error"),
    (Change("moved", sums(), sums(inf=1), None, None), "+Inf", "error"),
    (Change("moved", sums(), sums(), 0.0, None, difference(changed=0)), "bits", "dim"),
)


@pytest.mark.parametrize(("change", "words", "style"), CELLS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_cell_fits_and_says_what_it_is(change: Change, words: str, style: str) -> None:
    if "e-300" not in words:
        assert cell_of(change, 8, UNICODE) == (words, style)
    for room in (7, 8):
        assert len(cell_of(change, room, UNICODE)[0]) <= max(room, 8)
        assert cell_of(change, room, ASCII)[0].replace("–", "-").isascii()


def test_what_is_not_known_yet_is_a_dot() -> None:
    assert cell_of(None, 8, UNICODE) == ("·", "dim")


@given(st.floats(min_value=5e-324, max_value=1e300))
def test_a_bound_is_never_rounded_up(value: float) -> None:
    assert Fraction(rounded_down(value)) <= Fraction(value)
    assert rounded_down(value) >= value * 0.9 or value < 1e-300


def test_a_sentence_says_what_was_compared() -> None:
    exact = sentence_of(Change("moved", sums(), sums(), 0.125, 0.1, difference(became_nan=1)), UNICODE)
    assert exact == "‖change‖ / ‖before‖ = 0.125, 3 of 4 values changed, by at most 0.25, 1 became NaN"
    bound = sentence_of(Change("moved", sums(), sums(), None, 0.1), ASCII)
    assert bound == "||change|| / ||before|| is at least 0.1 by the figures"
    assert "do not say" in sentence_of(Change("moved", sums(), sums()), UNICODE)
    assert "bits" in sentence_of(Change("moved", sums(), sums(), 0.0, None, difference(changed=0)), UNICODE)
    assert sentence_of(Change("same"), UNICODE) == "bit-identical"
    assert sentence_of(Change("shape", about="its shape was [2]"), UNICODE) == "its shape was [2]"
