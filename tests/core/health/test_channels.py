"""The rules about rows and columns, on channels made by the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.channels import FAINT, Channel, Channels, Side
from tui_params.core.findings import Finding
from tui_params.core.health.channels import column_index, row_index
from tui_params.core.health.registry import apply_rules
from tui_params.core.health.thresholds import DEFAULT, Thresholds, with_threshold
from tui_params.core.reading.tensor_reading import measure, summarize


def side_of(largest: NDArray[Any]) -> Side:
    """The rows (or columns) whose largest magnitudes are these."""
    order = np.argsort(-largest, kind="stable")[:8]
    dead = np.flatnonzero(largest == 0)
    top = tuple(Channel(int(i), float(largest[i])) for i in order)
    median = float(np.median(largest))
    alive = [int(i) for i in np.argsort(largest, kind="stable") if largest[i] > 0]
    smallest = tuple(Channel(i, float(largest[i])) for i in alive[:8])
    faint = sum(float(largest[i]) < FAINT * median for i in alive)
    return Side(largest.size, dead.size, tuple(dead[:8].tolist()), median, top, faint, smallest)


def channels_of(array: NDArray[Any]) -> Channels:
    """By the definition in ``core.channels``."""
    magnitudes = np.abs(array.astype(np.float64))
    if array.ndim >= 4:
        inputs = magnitudes.max(axis=(0, *range(2, array.ndim)))
        return Channels(
            side_of(magnitudes.reshape(array.shape[0], -1).max(axis=1)), side_of(inputs) if inputs.size > 1 else None
        )
    matrix = magnitudes.reshape(-1, array.shape[-1])
    return Channels(side_of(matrix.max(axis=1)), side_of(matrix.max(axis=0)))


def said(array: NDArray[Any], name: str = "fc.weight", limits: Thresholds = DEFAULT) -> dict[str, Finding]:
    source = MemorySource({name: array})
    info = source.listing.tensors[0]
    figures = summarize(source, info).figures(info.numel)
    return {finding.rule: finding for finding in apply_rules(info, figures, channels_of(array), limits)}


def normal(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(100, 40), (10, 10, 40), (100, 4, 3, 3)])
def test_a_healthy_weight_has_no_findings(shape: tuple[int, ...]) -> None:
    assert said(normal(*shape)) == {}


def test_a_dead_input_of_a_convolution_is_a_column() -> None:
    array = normal(16, 8, 3, 3)
    array[:, 5] = 0
    source = MemorySource({"conv.weight": array})
    channels = measure(source, source.listing.tensors[0]).channels
    assert channels == channels_of(array)
    assert channels is not None
    finding = said(array, "conv.weight")["dead-columns"]
    assert finding.evidence == "1 of 8 columns (12.5 %) holds zeros only"
    assert finding.indices == ((0, 5, 0, 0),)
    # One input for each output: nothing to compare.
    single = MemorySource({"w": normal(16, 1, 3, 3)})
    found = measure(single, single.listing.tensors[0]).channels
    assert found == channels_of(normal(16, 1, 3, 3))
    assert found is not None
    assert found.columns is None


def test_dead_rows_are_a_remark_and_many_are_a_warning() -> None:
    array = normal(100, 40)
    array[[3, 50]] = 0
    finding = said(array)["dead-rows"]
    assert (finding.severity, finding.indices) == ("info", ((3, 0), (50, 0)))
    assert finding.evidence == "2 of 100 rows (2.00 %) hold zeros only"
    array[60:64] = 0
    finding = said(array)["dead-rows"]
    assert (finding.severity, len(finding.indices)) == ("warning", 5)
    assert said(array, limits=with_threshold(DEFAULT, "dead-share", 0.5))["dead-rows"].severity == "info"


def test_the_padding_of_a_vocabulary_is_called_so() -> None:
    array = normal(100, 40)
    array[-3:] = 0
    finding = said(array, "model.embed_tokens.weight")["dead-rows"]
    assert finding.severity == "info"
    assert finding.evidence == (
        "3 of 100 rows (3.00 %) hold zeros only: the last ones, as in a vocabulary that was padded"
    )
    array[0] = 0
    assert said(array, "model.embed_tokens.weight")["dead-rows"].evidence.endswith("zeros only")


def test_the_row_of_a_padding_token_is_called_so() -> None:
    array = normal(100, 40)
    array[0] = 0
    finding = said(array, "model.embed_tokens.weight")["dead-rows"]
    assert (finding.severity, finding.indices) == ("info", ((0, 0),))
    assert finding.evidence == "1 of 100 rows (1.00 %) holds zeros only, like the row of a padding token"
    assert said(array)["dead-rows"].evidence == "1 of 100 rows (1.00 %) holds zeros only"
    assert said(array[:3], "model.token_type_embeddings.weight")["dead-rows"].severity == "info"
    assert said(array[:3])["dead-rows"].severity == "warning"


def test_dead_columns() -> None:
    array = normal(100, 40)
    array[:, 7] = 0
    finding = said(array)["dead-columns"]
    assert (finding.severity, finding.indices) == ("info", ((0, 7),))
    assert finding.evidence == "1 of 40 columns (2.50 %) holds zeros only"
    array[:, 9:12] = 0
    assert said(array)["dead-columns"].severity == "warning"


def test_dead_rows_of_what_is_no_weight_mean_nothing() -> None:
    array = normal(100, 40)
    array[:50] = 0
    for name in ("fc.bias", "optimizer.state.0.exp_avg", "attn_mask", "bn.running_mean"):
        assert "dead-rows" not in said(array, name)
    zeros = np.zeros((10, 10), np.float32)
    assert set(said(zeros)) == {"all-zero"}


def test_an_outlier_channel_is_a_remark_with_its_place() -> None:
    array = normal(100, 40)
    array[:, 17] *= 100
    finding = said(array)["outlier-channels"]
    assert finding.severity == "info"
    assert finding.indices == ((0, 17),)
    assert finding.evidence.startswith("column 17 reaches ")
    assert "times the median of 40 columns" in finding.evidence
    rows = normal(100, 4, 3, 3)
    rows[[5, 8]] *= 100
    finding = said(rows)["outlier-channels"]
    assert set(finding.indices) == {(5, 0, 0, 0), (8, 0, 0, 0)}
    assert finding.evidence.endswith(", and 1 more beyond the limit")
    assert said(rows, limits=with_threshold(DEFAULT, "outlier-ratio", 1e4)) == {}


def test_rows_are_found_again_in_the_shape() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    for row in range(6):
        assert array[row_index(array.shape, row)] == array.reshape(6, 4)[row, 0]
    for column in range(4):
        assert array[column_index(array.shape, column)] == array.reshape(6, 4)[0, column]
    assert row_index((5, 2, 3, 3), 4) == (4, 0, 0, 0)


def test_rows_of_an_embedding_that_training_hardly_met() -> None:
    array = normal(100, 40)
    array[[11, 80]] *= 1e-4
    finding = said(array, "model.embed_tokens.weight")["untrained-embedding-rows"]
    assert finding.severity == "info"
    assert set(finding.indices) == {(11, 0), (80, 0)}
    assert finding.evidence.startswith("2 of 100 rows stay below 1/100 of the median")
    assert said(array, "layers.0.fc.weight") == {}
    assert said(normal(100, 40), "model.embed_tokens.weight") == {}
