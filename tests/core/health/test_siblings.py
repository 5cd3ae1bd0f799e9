"""The rules that cross-check the tensors of one kind, and the search for identical bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.health.checker import check
from tui_params.core.health.siblings import spread_of
from tui_params.core.health.thresholds import DEFAULT, Thresholds, with_threshold
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError

KIND = "layers.{}.fc.weight"


def normal(*shape: int, scale: float = 1.0, seed: int = 0, dtype: Any = np.float32) -> NDArray[Any]:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


def layers(count: int = 8, **more: Any) -> dict[str, NDArray[Any]]:
    return {KIND.format(i): normal(16, 16, seed=i, **more) for i in range(count)}


def said(arrays: Mapping[str, Any], limits: Thresholds = DEFAULT, **options: Any) -> dict[tuple[str, str], str]:
    """Evidence by rule and tensor; every finding of these rules has the severity that it should."""
    report = check(MemorySource(arrays, **options), thresholds=limits)
    for finding in report.findings:
        assert finding.severity == ("warning" if finding.rule == "std-of-kind" else "info")
    return {(finding.rule, finding.tensor or ""): finding.evidence for finding in report.findings}


def test_layers_that_are_alike_have_no_findings() -> None:
    assert said(layers()) == {}
    assert said({name: array * (1 + i / 4) for i, (name, array) in enumerate(layers().items())}) == {}


def test_a_layer_that_explodes_and_one_that_dies() -> None:
    arrays = layers()
    arrays[KIND.format(2)] = arrays[KIND.format(2)] * 100
    found = said(arrays)
    assert set(found) == {("std-of-kind", KIND.format(2)), ("abs-max-of-kind", KIND.format(2))}
    evidence = found["std-of-kind", KIND.format(2)]
    assert "times above the median of 8 layers.#.fc.weight" in evidence
    assert "robust z +" in evidence
    arrays[KIND.format(2)] = arrays[KIND.format(2)] / 1e4
    assert set(said(arrays)) == {("std-of-kind", KIND.format(2))}


def test_one_large_value_is_a_remark() -> None:
    arrays = layers()
    arrays[KIND.format(5)][3, 3] = 60
    assert ("abs-max-of-kind", KIND.format(5)) in said(arrays)


def test_too_few_siblings_say_nothing() -> None:
    arrays = layers(5)
    arrays[KIND.format(2)] = arrays[KIND.format(2)] * 100
    assert said(arrays) == {}
    assert said(arrays, with_threshold(DEFAULT, "siblings", 5)) != {}
    assert said(arrays, with_threshold(with_threshold(DEFAULT, "siblings", 5), "sibling-z", 1e6)) == {}


def test_other_types_are_other_siblings() -> None:
    arrays = layers(12)
    for i in range(6):
        arrays[KIND.format(i)] = normal(16, 16, scale=100, seed=i, dtype=ml_dtypes.float8_e4m3fn)
    assert said(arrays) == {}


def test_layers_of_other_shapes_are_no_siblings() -> None:
    arrays = {f"features.{i}.weight": normal(16, 16, 3, 3, seed=i) for i in range(1, 8)}
    arrays["features.0.weight"] = normal(16, 1, 3, 3, scale=100)
    assert said(arrays) == {}
    arrays["features.0.weight"] = normal(16, 16, 3, 3, scale=100)
    assert ("std-of-kind", "features.0.weight") in said(arrays)


def test_biases_unlike_their_kind_are_a_remark() -> None:
    arrays = {f"layers.{i}.fc.bias": normal(64, seed=i) for i in range(8)}
    arrays["layers.4.fc.bias"] = arrays["layers.4.fc.bias"] * 1e4
    report = check(MemorySource(arrays))
    assert {(finding.severity, finding.rule, finding.tensor) for finding in report.findings} == {
        ("info", "std-of-kind", "layers.4.fc.bias"),
        ("info", "abs-max-of-kind", "layers.4.fc.bias"),
        ("warning", "abs-max", "layers.4.fc.bias"),
    }


def test_the_states_of_an_optimizer_have_the_shapes_of_its_parameters() -> None:
    arrays = {f"optimizer.state.{i}.exp_avg": normal(8, 8, seed=i) for i in range(9)}
    arrays["optimizer.state.9.exp_avg"] = normal(8, 4)
    assert said(arrays) == {}


def test_optimizer_states_differ_as_they_like() -> None:
    arrays = {f"optimizer.state.{i}.exp_avg": normal(16, 16, scale=10.0**-i, seed=i) for i in range(8)}
    assert said(arrays) == {}


def test_a_type_and_a_shape_that_break_the_pattern() -> None:
    arrays = layers(10)
    arrays[KIND.format(3)] = normal(16, 16, seed=3, dtype=ml_dtypes.bfloat16)
    assert said(arrays) == {
        ("dtype-of-kind", KIND.format(3)): "the dtype is bf16, but f32 in 9 of 10 layers.#.fc.weight"
    }
    arrays[KIND.format(3)] = normal(16, 8, seed=3)
    assert said(arrays) == {
        ("shape-of-kind", KIND.format(3)): "the shape is [16, 8], but [16, 16] in 9 of 10 layers.#.fc.weight"
    }


def test_the_first_and_the_last_layer_may_have_other_shapes() -> None:
    arrays = layers(12)
    arrays[KIND.format(0)], arrays[KIND.format(11)] = normal(16, 3), normal(4, 16)
    assert said(arrays) == {}
    arrays[KIND.format(5)] = normal(16, 8)
    assert {rule for rule, _ in said(arrays, with_threshold(DEFAULT, "pattern-share", 0.7))} == {"shape-of-kind"}


def test_a_pattern_needs_nearly_all() -> None:
    arrays = layers(10)
    for i in range(3):
        arrays[KIND.format(i)] = normal(16, 16, seed=i, dtype=ml_dtypes.bfloat16)
    assert said(arrays) == {}


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=40))
def test_the_spread_is_that_of_numpy(values: list[float]) -> None:
    spread = spread_of(values)
    assert spread.median == pytest.approx(np.median(values))
    assert spread.mad == pytest.approx(np.median(np.abs(np.array(values) - np.median(values))), abs=1e-12)
    assert spread.z(spread.median) == 0


def copies() -> dict[str, NDArray[Any]]:
    return {"a": normal(64, 64), "b": normal(64, 64, seed=1), "c": normal(64, 64)}


def test_identical_bytes_that_are_not_tied() -> None:
    assert said(copies()) == {("identical-bytes", "c"): "it has the same 16.0 KiB as a, but is not tied to it"}
    assert said(copies(), tied_to={"c": "a"}) == {}
    assert said(copies(), with_threshold(DEFAULT, "duplicate-nbytes", 1 << 20)) == {}


def test_equal_figures_are_no_proof() -> None:
    arrays = copies()
    arrays["c"] = arrays["a"].T.copy()
    assert said(arrays) == {}


def test_masks_and_constants_are_alike_by_nature() -> None:
    mask = np.tri(128, dtype=np.bool_)
    ones = np.ones(4096, np.float32)
    assert said({"m1": mask, "m2": mask.copy(), "fc1.bias": ones, "fc2.bias": ones.copy()}) == {}
    index = np.arange(4096).reshape(64, 64)
    assert said({f"blocks.{i}.attn.relative_position_index": index for i in range(3)}) == {}
    triangle = np.tri(128, dtype=np.float32)
    assert said({f"h.{i}.attn.bias": triangle for i in range(3)}) == {}
    decay = np.log(np.tile(np.arange(1, 17, dtype=np.float32), (128, 1)))
    assert said({f"layers.{i}.mixer.A_log": decay for i in range(3)}) == {}
    weight = normal(64, 64)
    assert said({"fc.weight": weight, "optimizer.state.0.ax": weight.copy()}) == {}


@pytest.mark.parametrize("part", ["vera_A", "randlora_B", "randlora_A.default", "vblora_vector_bank", "shira_indices"])
def test_what_the_adapters_of_all_layers_share_is_no_copy(part: str) -> None:
    shared = normal(64, 64)
    arrays = {f"base_model.model.{layer}.{part}": shared for layer in "ab"} | {f"base_model.{part}": shared}
    assert said(arrays) == {}
    own = {f"base_model.model.{layer}.weight": shared for layer in "ab"}
    assert set(said(arrays | own)) == {("identical-bytes", "base_model.model.b.weight")}


@settings(max_examples=40)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=7), st.integers(16, 5000))
def test_every_copy_is_found_whatever_the_blocks(which: list[int], step: int) -> None:
    arrays = {f"t{i}": normal(64, 64, seed=seed) for i, seed in enumerate(which)}
    found = said(arrays, step=step * 8)
    assert set(found) == {("identical-bytes", f"t{i}") for i, seed in enumerate(which) if seed in which[:i]}


class ReadOnce(MemorySource):
    """A source whose tensors can be read once."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(arrays)
        self.read_before: set[str] = set()

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        if info.name in self.read_before:
            raise ReadError("gone")
        self.read_before.add(info.name)
        yield from super().blocks(info, start, stop)


def test_what_cannot_be_read_again_is_no_duplicate() -> None:
    report = check(ReadOnce(copies()))
    assert (report.status, report.findings, report.checked) == ("ok", (), 3)
