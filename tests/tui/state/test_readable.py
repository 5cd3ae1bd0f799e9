"""Metadata for the eye: JSON in lines, times as dates, and texts that are neither."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_params.tui.state.readable import readable_lines


def test_json_has_a_line_for_each_entry() -> None:
    text = json.dumps({"10_cat": {"a, b": 3, 'say "hi"': [1, 2]}, "n": None})
    assert readable_lines("ss_tag_frequency", text) == [
        "{",
        '  "10_cat": {',
        '    "a, b": 3,',
        '    "say \\"hi\\"": [',
        "      1,",
        "      2",
        "    ]",
        "  },",
        '  "n": null',
        "}",
    ]
    assert readable_lines("x", "{}") == ["{", "}"]


def test_json_whose_middle_is_left_out() -> None:
    assert readable_lines("x", '{"a": {"b": 1, "c…f": 2}, "g": 3}')[:4] == [
        "{",
        '  "a": {',
        '    "b": 1,',
        '    "c…f": 2',
    ]


def test_times_of_kohya_are_dates() -> None:
    assert readable_lines("ss_training_started_at", "1686850000.25") == ["1686850000.25", "2023-06-15 17:26:40 UTC"]
    for name, value in (("ss_x_at", "None"), ("ss_x_at", "12"), ("ss_x_at", "nan"), ("ss_steps", "1686850000")):
        assert readable_lines(name, value) == [value]


@pytest.mark.parametrize("text", ["", "plain, text", "{", "[" * 3000 + "]" * 3000, '{"a": "'])
def test_other_texts_lose_nothing(text: str) -> None:
    shown = "".join(line.strip(" ") for line in readable_lines("x", text))
    assert shown.replace(" ", "") == text.replace(" ", "")


_VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda e: st.lists(e) | st.dictionaries(st.text(), e)
)


@given(_VALUES)
@settings(max_examples=200)
def test_what_is_shown_is_the_same_json_random(value: object) -> None:
    assert json.loads("\n".join(readable_lines("x", json.dumps(value)))) == value
