"""Tables of indices and counters, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.findings import Finding, Index
from tui_params.core.health.checker import check

IDS = "text_model.embeddings.position_ids"
RELATIVE = "layers.0.attn.relative_position_index"


def told(arrays: Mapping[str, Any]) -> list[Finding]:
    return list(check(MemorySource({name: np.asarray(array) for name, array in arrays.items()})).findings)


def said(arrays: Mapping[str, Any]) -> set[tuple[str, str, str | None]]:
    return {(finding.severity, finding.rule, finding.tensor) for finding in told(arrays)}


def ids(count: int = 77, dtype: Any = np.int64) -> NDArray[Any]:
    return np.arange(count, dtype=dtype)[None]


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("count", [2, 77, 514])
def test_positions_that_rise_by_one_are_well(count: int, start: int, dtype: Any) -> None:
    assert told({IDS: ids(count, dtype) + dtype(start), "position_ids": np.arange(count)}) == []
    assert told({IDS: np.arange(count)[:, None], "rows.position_ids": np.repeat(ids(count), 3, axis=0)}) == []


@pytest.mark.parametrize(("factor", "dtype"), [(0.58301, np.float16), (0.58301, np.float32), (0.9999, np.float32)])
def test_positions_that_merging_made_fractions_are_an_error(factor: float, dtype: Any) -> None:
    array = (np.arange(77)[None] * factor).astype(dtype)
    (finding,) = told({IDS: array})
    assert (finding.severity, finding.rule, finding.tensor) == ("error", "index-values", IDS)
    expected: list[Index] = [(0, int(place)) for place in np.flatnonzero(array[0] % 1)[:5]]
    assert list(finding.indices) == expected
    if factor == 0.9999:
        assert finding.evidence == (
            "77 values from 0 to 75.99 in f32: indices are whole numbers, and merging or a cast has changed them"
        )


def test_a_fraction_in_the_middle_is_seen_in_the_sum() -> None:
    array = ids(dtype=np.float32)
    array[0, 40] += 0.5
    (finding,) = told({IDS: array})
    assert (finding.severity, finding.indices) == ("error", ((0, 40),))


def test_positions_that_became_float_but_are_whole_are_a_remark() -> None:
    (finding,) = told({IDS: ids(dtype=np.float16)})
    assert (finding.severity, finding.rule) == ("info", "index-values")
    assert finding.evidence == "77 values from 0 to 76 in f16, though whole: merging or a cast made floats of integers"
    rounded = np.arange(4100)[None].astype(np.float16)
    (finding,) = told({IDS: rounded})
    assert (finding.severity, finding.rule) == ("error", "index-values")


def test_positions_out_of_order_are_a_warning() -> None:
    wrong = ids()
    wrong[0, 5] = 4
    assert said({IDS: wrong}) == {("warning", "index-values", IDS)}
    for order in (ids()[:, ::-1], np.roll(ids(), 1), np.random.default_rng(0).permutation(77)[None]):
        (finding,) = told({IDS: np.ascontiguousarray(order)})
        assert (finding.severity, finding.evidence) == ("warning", "77 values from 0 to 76 are not in order")
    coordinates = np.stack([np.arange(16) // 4, np.arange(16) % 4], axis=1)
    assert told({IDS: coordinates, "grid.position_ids": coordinates / np.float32(3)}) == []


def test_an_index_beyond_its_table_is_an_error() -> None:
    table = np.random.default_rng(0).standard_normal((77, 8)).astype(np.float32)
    weight = "text_model.embeddings.position_embedding.weight"
    assert said({IDS: ids(), weight: table}) == set()
    assert said({IDS: ids(), weight: table[:64]}) == {("error", "index-range", IDS)}
    bias = np.random.default_rng(1).standard_normal((9, 2)).astype(np.float32)
    index = np.arange(16).reshape(4, 4) % 9
    name = "layers.0.attn.relative_position_bias_table"
    assert said({RELATIVE: index, name: bias}) == set()
    index[2, 2] = 9
    (finding,) = told({RELATIVE: index, name: bias})
    assert (finding.severity, finding.rule) == ("error", "index-range")
    assert finding.evidence == f"the largest index is 9, but {name} has 9 rows"


@pytest.mark.parametrize("name", [IDS, RELATIVE, "token_type_ids"])
def test_a_negative_index_is_an_error(name: str) -> None:
    array = ids(8)
    array[0, 0] = -1
    (finding,) = told({name: array})
    assert (finding.severity, finding.evidence) == ("error", "the smallest value is -1: no index is negative")
    assert finding.indices == ((0, 0),)
    assert told({"labels.pad_ids": array}) == []


def test_counters() -> None:
    tracked, step = "bn.num_batches_tracked", "optimizer.state.0.step"
    assert said({tracked: np.int64(12), step: np.float32(12)}) == set()
    assert said({tracked: np.float32(12)}) == {("info", "index-values", tracked)}
    assert said({tracked: np.float32(12.5)}) == {("warning", "index-values", tracked)}
    assert said({step: np.float32(2.5)}) == {("warning", "index-values", step)}
    assert said({tracked: np.int64(-1), step: np.float32(-3)}) == {
        ("error", "index-values", tracked),
        ("error", "index-values", step),
    }
    assert told({step: np.float32(2.5)})[0].evidence == "the one value is 2.5 in f32: counts are whole numbers"
    assert said({step: np.float32("nan")}) == {("error", "nan", step)}
    # A step beside no optimizer is a tensor like any other.
    assert said({"schedule.step": np.float32(0.5)}) == set()


@pytest.mark.parametrize("name", ["token_type_ids", "vocab.token_ids"])
def test_token_ids(name: str) -> None:
    assert told({name: np.zeros((1, 16), np.int64)}) == []
    found = said({name: np.full((1, 16), 2.5, np.float32)})
    assert {rule for _, rule, _ in found} == {"index-values"}
    assert {severity for severity, _, _ in said({name: np.full((1, 16), 2, np.float32)})} == {"info"}
