"""Configurations of adapters: patterns that are matched as peft does, and those that are not tried."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_params.core.adapter_config import AdapterConfig, parse_adapter_config, parse_adapter_metadata

PATH = "model.layers.11.self_attn.q_proj"


def config(ranks: dict[str, int]) -> AdapterConfig:
    found = parse_adapter_config({"r": 4, "rank_pattern": ranks}, "x")
    assert found is not None
    return found


def of_peft(patterns: dict[str, int], path: str) -> int:
    """peft.utils.other.get_pattern_key."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", path)), 4)


@pytest.mark.parametrize(
    "pattern",
    [
        "q_proj", "self_attn.q_proj", "attn.q_proj", "proj", PATH, f"x.{PATH}", "k_proj|q_proj", r"layers\.1[0-2]\..*",
        r".*\.q_proj", "^model.*", "^layers.*", r"layers\.\d+\.self_attn\.q_proj", "q.proj", "",
    ],
)  # fmt: skip
def test_patterns_match_as_in_peft(pattern: str) -> None:
    patterns = {"nothing": 1, pattern: 2, "q_proj": 3}
    assert config(patterns).rank_of(PATH) == of_peft(patterns, PATH)


@given(st.dictionaries(st.text("ab._", max_size=5), st.integers(1, 9), max_size=4), st.text("ab._", max_size=9))
@settings(max_examples=300)
def test_plain_patterns_match_as_in_peft_random(patterns: dict[str, int], path: str) -> None:
    assert config(patterns).rank_of(path) == of_peft(patterns, path)


@pytest.mark.parametrize("pattern", ["(a+)+", "(a|a)*", "(?=a)", r"(.)\1", ".*.*.*", "a{2,}b*c+", "(", "[x]" * 200])
def test_patterns_that_might_take_for_ever_or_mean_nothing_are_not_tried(pattern: str) -> None:
    assert config({pattern: 2}).rank_of(PATH) is None


def test_very_many_patterns_are_not_tried() -> None:
    assert config({f"m{i}": 1 for i in range(5_001)}).rank_of(PATH) is None
    assert config({f"m{i}": 1 for i in range(5_000)}).rank_of(PATH) == 4
    assert config({f"m{i}.*x": 1 for i in range(20)}).rank_of(PATH) == 4
    assert config({f"m{i}.*x": 1 for i in range(21)}).rank_of(PATH) is None


@pytest.mark.parametrize(
    ("raw", "rank", "alpha"),
    [
        ({"r": 8, "lora_alpha": 16}, 8, 16),
        ({"r": "8", "lora_alpha": "16", "peft_type": "LORA"}, None, None),
        ({"r": True, "alpha": 1e400, "peft_type": "LOHA"}, None, None),
        ({"r": -1, "lora_alpha": None, "alpha": 0.5}, None, 0.5),
        ({"r": 8, "rank_pattern": ["x"], "alpha_pattern": 3}, 8, None),
    ],
)
def test_values_of_another_type_say_nothing(raw: dict[str, Any], rank: int | None, alpha: float | None) -> None:
    found = parse_adapter_config(raw, "x")
    assert found is not None
    assert (found.rank_of(PATH), found.alpha_of(PATH)) == (rank, alpha)


def test_metadata_of_no_adapter_say_nothing() -> None:
    assert parse_adapter_config({"model_type": "llama"}, "x") is None
    for text in ("", "[1]", "{", '{"a": 1}', '"r"', "[" * 5000):
        assert parse_adapter_metadata(text, "x") == ()
