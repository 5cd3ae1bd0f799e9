"""Rows of an embedding that are there several times: a remark, proved by reading these rows again and no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.factories_safetensors import entry, file_bytes
from tui_params.core import channels
from tui_params.core.findings import Finding
from tui_params.core.health import repeats
from tui_params.core.health.checker import check
from tui_params.core.numbers import row_marks
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.detect import open_path


def table(rows: int = 200, columns: int = 32, dtype: Any = np.float32) -> NDArray[Any]:
    return np.random.default_rng(4).standard_normal((rows, columns)).astype(dtype)


def said(source: Source) -> list[Finding]:
    return [finding for finding in check(source).findings if finding.rule == "repeated-rows"]


def of(array: NDArray[Any], name: str = "model.embed_tokens.weight") -> list[Finding]:
    return said(MemorySource({name: array}, step=77))


def test_added_tokens_that_all_have_the_mean_of_the_others() -> None:
    array = table()
    array[190:] = array[:190].mean(0)
    (finding,) = of(array)
    assert finding == Finding(
        "info",
        "repeated-rows",
        "model.embed_tokens.weight",
        "10 of 200 rows are equal to another row: row 190 is there 10 times",
        tuple((row, 0) for row in range(190, 195)),
    )


def test_two_tokens_with_one_row_in_a_head_of_another_type() -> None:
    array = table(dtype=ml_dtypes.bfloat16)
    array[150] = array[3]
    (finding,) = of(array, "lm_head.weight")
    assert finding.evidence == "2 of 200 rows are equal to another row: row 3 is there 2 times"
    assert finding.indices == ((3, 0), (150, 0))


def test_several_rows_are_there_several_times(tmp_path: Path) -> None:
    array = table()
    array[[5, 17, 18]] = array[4]
    array[[100, 102]] = array[101]
    header = {"wte.weight": entry("F32", array.shape, 0)}
    (tmp_path / "x.safetensors").write_bytes(file_bytes(header, array.tobytes()))
    with open_path(tmp_path) as source:
        (finding,) = said(source)
    assert finding.evidence == (
        "7 of 200 rows are equal to another row: row 4 is there 4 times, and 1 other row several times"
    )
    assert finding.indices == ((4, 0), (5, 0), (17, 0), (18, 0))


def test_what_is_no_news() -> None:
    padded = table()
    padded[180:] = 0  # another rule counts them
    nan = table()
    nan[5:9] = np.nan
    narrow = np.repeat(table(100, 4), 2, axis=0)
    twice = np.repeat(table(100), 2, axis=0)
    for array in (table(), table(dtype=np.float16), padded, nan, narrow, np.ones((8, 32), np.float32)):
        assert of(array) == []
    assert of(twice, "model.layers.0.mlp.up_proj.weight") == []
    assert of(twice, "embed_positions.mask") == []
    assert len(of(twice)) == 1


@given(st.integers(0, 31), st.sampled_from([np.float32, np.float16, ml_dtypes.bfloat16]))
@settings(max_examples=20)
def test_rows_that_differ_in_one_value_are_not_equal(column: int, dtype: Any) -> None:
    array = table(dtype=dtype)
    array[:, 0] = 8  # one largest magnitude for all
    array[50] = array[60]
    array[50, column] = -array[60, column]
    assert of(array) == []


def test_rows_beyond_those_that_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_marks, "MOST_ALIKE", 20)
    monkeypatch.setattr(repeats, "MOST_ALIKE", 20)
    array = table()
    array[100:] = array[0]
    (finding,) = of(array)
    assert finding.evidence == "at least 20 of 200 rows are equal to another row: row 0 is there 20 times"
    assert channels.MOST_ALIKE == 1024


def test_only_the_rows_in_question_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = table(2000, 64)
    array[1500:1600] = array[7]
    header = {"wte.weight": entry("F32", array.shape, 0)}
    (tmp_path / "x.safetensors").write_bytes(file_bytes(header, array.tobytes()))
    read: list[int] = []
    blocks = ExtentSource.blocks

    def counted(
        self: ExtentSource, info: TensorInfo, start: int = 0, stop: int | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        for block in blocks(self, info, start, stop):
            read.append(block.nbytes)
            yield block

    monkeypatch.setattr(ExtentSource, "blocks", counted)
    with open_path(tmp_path) as source:
        (finding,) = said(source)
    assert finding.evidence == "101 of 2,000 rows are equal to another row: row 7 is there 101 times"
    assert sum(read) == array.nbytes + 101 * 256
    # One read for each run of rows.
    assert len(read) == 3
    read.clear()
    monkeypatch.setattr(repeats, "MOST_NBYTES", 10 * 256)
    with open_path(tmp_path) as source:
        (finding,) = said(source)
    assert finding.evidence == "at least 10 of 2,000 rows are equal to another row: row 7 is there 10 times"
    assert sum(read) == array.nbytes + 10 * 256


def test_where_the_second_reading_fails_nothing_is_said() -> None:
    class Once(MemorySource):
        has_read = False

        def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
            if self.has_read:
                raise ReadError("gone")
            self.has_read = True
            yield from super().blocks(info, start, stop)

    array = table()
    array[9] = array[8]
    assert said(Once({"wte.weight": array})) == []
