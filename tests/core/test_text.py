from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_params.core import text


@pytest.mark.parametrize(
    ("nbytes", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (16384, "16.0 KiB"),
        (1_430_000_000, "1.33 GiB"),
        (2**70, "1024 EiB"),
    ],
)
def test_size(nbytes: int, expected: str) -> None:
    assert text.size(nbytes) == expected


@pytest.mark.parametrize(
    ("nbytes", "expected"),
    [(0, "0 bytes"), (1, "1 byte"), (8, "8 bytes"), (1023, "1,023 bytes"), (1025, "1.00 KiB (1,025 bytes)")],
)
def test_exact_size_says_bytes_once(nbytes: int, expected: str) -> None:
    assert text.exact_size(nbytes) == expected


def test_verbs_and_articles_agree() -> None:
    assert [text.are(count) for count in (0, 1, 2)] == ["are", "is", "are"]
    assert text.are(1, "belongs", "belong") == "belongs"
    assert (text.all_are(1, "value"), text.all_are(1200, "value")) == ("the one value is", "all 1,200 values are")
    nouns = ("DTensor", "AffineQuantizedTensor", "uint4 tensor", "int4 tensor", "")
    assert [text.article(noun) for noun in nouns] == [
        "a DTensor", "an AffineQuantizedTensor", "a uint4 tensor", "an int4 tensor", "a "
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0"), (999, "999"), (1000, "1.00K"), (999_999, "1.00M"), (201_326_592, "201M"), (1_240_000_000, "1.24B")],
)
def test_numel(count: int, expected: str) -> None:
    assert text.numel(count) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0, "0"),
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (0.02, "0.02"),
        (1.7e-06, "1.7e-6"),
        (9999.6, "10,000"),
        (65504.0, "65,504"),
        (1234567.0, "1.235e6"),
        (-12345678, "-12,345,678"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (3.3895e38, "3.39e38"),
    ],
)
def test_number(value: float | None, expected: str) -> None:
    digits = 3 if expected == "3.39e38" else 4
    assert text.number(value, digits) == expected


@given(st.floats(-1e308, 1e308))
def test_number_is_near_and_short(value: float) -> None:
    shown = text.number(value)
    assert len(shown) <= 11
    assert math.isclose(float(shown.replace(",", "")), value, rel_tol=6e-4)


def test_percent_never_rounds_to_none_or_all() -> None:
    assert text.percent(1, 10**9) == "<0.01 %"
    assert text.percent(10**9 - 1, 10**9) == ">99.99 %"
    assert text.percent(0, 5) == "0 %"
    assert text.percent(5, 5) == "100 %"
    assert text.percent(1, 3) == "33.3 %"


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_percent_tells_zero_and_all_apart(part: int, rest: int) -> None:
    assert text.percent(part, part + rest) not in ("0 %", "100 %", "0.00 %", "100.0 %", "100.00 %")


@given(st.text())
def test_clean_leaves_nothing_that_a_terminal_obeys(raw: str) -> None:
    shown = text.clean(raw)
    assert not any(ord(ch) < 32 or 127 <= ord(ch) < 160 for ch in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u2028\u2029\ufeff")
    assert len(text.clean(raw, 20)) <= 20


def test_clean_writes_escapes_out() -> None:
    assert text.clean("a\x1b[2Jb") == "a\\x1b[2Jb"
    assert text.clean("model.\u202egnp") == "model.\\u202egnp"
    assert text.clean("plain.name") == "plain.name"


def test_shorten_keeps_both_ends() -> None:
    assert text.shorten("abcdefghij", 5) == "ab…ij"
    assert text.shorten_name("model.layers.0.weight", 9) == "…0.weight"


def test_spark() -> None:
    assert text.spark([0, 1, 4, 8], 4) == " ▁▄█"
    assert text.spark([5, 5, 5, 5], 4) == "████"
    assert text.spark([0, 0], 2) == "  "
    assert text.spark([], 8) == ""
    assert len(text.spark([1] * 16, 8)) == 8
    assert text.spark([0, 1, 4, 8], 4, ascii_only=True).isascii()


@given(st.lists(st.integers(0, 10**12), max_size=40), st.integers(1, 40))
def test_spark_shows_every_trace(counts: list[int], width: int) -> None:
    shown = text.spark(counts, width)
    assert len(shown) <= width
    if len(counts) <= width:
        assert [mark == " " for mark in shown] == [count == 0 for count in counts]


def test_dtype_mix() -> None:
    assert text.dtype_mix({"f32": 10, "bf16": 90}) == "bf16 f32"
    assert text.dtype_mix({"a": 4, "b": 3, "c": 2, "d": 1}) == "a b +2"


def test_abbreviate_keeps_numbers_and_the_end() -> None:
    name = "model.layers.11.post_attention_layernorm.weight"
    assert text.abbreviate(name, 60) == name
    assert text.abbreviate(name, 43) == "…layers.11.post_attention_layernorm.weight"
    assert text.abbreviate(name, 40) == "…11.post_attention_layernorm.weight"
    assert text.abbreviate(name, 33) == "…11.post_attention_layernorm.w"
    assert text.abbreviate(name, 20) == "…11.post_a…yernorm.w"
    name = "model.layers.10.mlp.experts.13.up_proj.weight"
    assert text.abbreviate(name, 32) == "…10.mlp.experts.13.up_proj.w"
    assert text.abbreviate(name, 26) == "…10.m.e.13.up_proj.weight"
    assert text.abbreviate(name, 20) == "…10.m.e.13.up_proj.w"
    assert text.abbreviate("model.embed_tokens.weight", 24) == "…embed_tokens.weight"
    assert text.abbreviate("embed_tokens.weight", 14) == "embed_tokens.w"


@given(st.text("ab.0", max_size=40), st.integers(0, 30))
def test_abbreviate_fits(name: str, limit: int) -> None:
    assert len(text.abbreviate(name, limit)) <= limit


def test_a_number_in_little_room_has_fewer_digits_never_a_part_of_them() -> None:
    assert text.number_within(-0.000123456, 8) == "-1.23e-4"
    assert text.number_within(-0.000123456, 7) == "-1.2e-4"
    assert text.number_within(-1.5e-300, 7) == "-2e-300"
    assert text.number_within(-999_999, 7) == "-1.00e6"
    assert text.number_within(2**63, 7) == "9.22e18"
    assert text.number_within(-1e-20, 5) == ""
    assert text.number_within(None, 5) == "–"
    assert text.number_within(float("nan"), 2) == text.number_within(None, 0) == ""


@given(st.one_of(st.floats(-1e300, 1e300), st.integers(-(2**63), 2**64)), st.integers(7, 12))
def test_seven_cells_are_enough_for_any_number(value: float, room: int) -> None:
    shown = text.number_within(value, room)
    assert 0 < len(shown) <= room
    read = float(shown.replace(",", ""))
    assert read == value or abs(read - value) <= 0.5 * abs(value)


def test_listed() -> None:
    names = ["a", "b", "c", "d"]
    assert [text.listed(names[:count], 3) for count in range(5)] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and 1 more",
    ]


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 elements"), (1, "1 element"), (2, "2 elements"), (10**6, "1.00M elements")]
)
def test_short_plural(count: int, words: str) -> None:
    assert text.short_plural(count, "element") == words


def test_the_first_words_of_a_sentence_that_is_too_long() -> None:
    words = "21 tensors in both, 1 only in A, 1 of another shape"
    assert text.first_words(words, 60) == words
    assert text.first_words(words, 40) == "21 tensors in both, 1 only in A, 1 of …"
    assert text.first_words("word", 3) == " …"
