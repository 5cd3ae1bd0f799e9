"""What the rules say: singular and plural agree, and nothing is said twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.factories_memory import MemorySource
from tui_params.core.health.checker import check
from tui_params.core.text import article

_WRONG = re.compile(
    r"(?<![\d,.])1 (of [\d,]+ )?\w+ are\b|(?<![\d,.])1 (bytes|values|elements|scales|rows|tensors|modules|steps)\b"
    r"|\ban? an? \b|\ba [aeio]\w*max\b|\ba _\w+|\d B \(\d+ bytes?\)|\ball 1 "
)


def evidence(arrays: Mapping[str, Any]) -> list[str]:
    return [finding.evidence for finding in check(MemorySource(dict(arrays))).findings]


def one_bad(shape: tuple[int, ...], value: float) -> Any:
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    array.reshape(-1)[0] = value
    return array


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a.weight": one_bad((16, 24), np.nan)}, "1 of 384 values is NaN"),
        ({"a.weight": one_bad((16, 24), -np.inf)}, "1 of 384 values is -Inf"),
        ({"a.weight": one_bad((1, 1), np.nan)}, "the one value is NaN"),
        ({"a.weight_scale": one_bad((8,), np.inf)}, "1 of 8 scales is not finite: its block is lost"),
        ({"a.weight_scale": np.abs(one_bad((8,), 0.0))}, "1 of 8 scales is zero: its block is restored as zeros"),
        ({"bn.running_var": np.abs(one_bad((8,), 0.0)), "bn.running_mean": one_bad((8,), 1.0)}, "1 of 8 is zero"),
    ],
)
def test_one_of_many_is_singular(arrays: Mapping[str, Any], said: str) -> None:
    sentences = evidence(arrays)
    assert any(said in sentence for sentence in sentences), sentences
    assert not [sentence for sentence in sentences if _WRONG.search(sentence)]


def test_the_pattern_of_this_file_finds_what_it_should() -> None:
    for wrong in (
        "1 of 384 values are NaN",
        "is a absmax",
        "is a _blocks",
        "8 B (8 bytes)",
        "gives a a value",
        "1 bytes",
    ):
        assert _WRONG.search(wrong), wrong
    for right in ("11 of 384 values are NaN", "1 of 384 values is NaN", article("absmax"), "1,001 bytes"):
        assert not _WRONG.search(right), right
