"""The rules about tensors that still have their initial values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check


def told(arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> list[Finding]:
    source = MemorySource({name: np.asarray(array) for name, array in arrays.items()}, metadata=metadata)
    return list(check(source).findings)


def said(arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> set[tuple[str, str, str]]:
    return {(finding.severity, finding.rule, finding.tensor or "") for finding in told(arrays, metadata)}


def normal(*shape: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def fresh(layers: int = 8) -> dict[str, Any]:
    """A model whose weights are drawn, whose biases are zero and whose gains are one."""
    arrays: dict[str, Any] = {}
    for i in range(layers):
        arrays[f"layers.{i}.fc.weight"] = normal(16, 16, seed=i)
        arrays[f"layers.{i}.fc.bias"] = np.zeros(16, np.float32)
        arrays[f"layers.{i}.norm.weight"] = np.ones(16, np.float32)
    return arrays


def test_a_fresh_model_has_one_remark() -> None:
    (finding,) = told(fresh())
    assert (finding.severity, finding.rule, finding.tensor) == ("info", "start-values", None)
    assert finding.evidence == (
        "16 of 24 tensors hold one value each, as before training: zeros in 8 (the first is layers.0.fc.bias), "
        "ones in 8 (the first is layers.0.norm.weight)"
    )


def test_gains_of_other_values_are_told_by_their_value() -> None:
    arrays = fresh()
    scales = {f"layers.{i}.post_norm.weight": np.full(16, 0.25, np.float32) for i in range(8)}
    assert told(arrays | scales)[0].evidence.endswith(
        "ones in 8 (the first is layers.0.norm.weight), 0.25 in 8 (the first is layers.0.post_norm.weight)"
    )
    scales = {f"layers.{i}.post_norm.weight": np.full(16, 0.25 + i, np.float32) for i in range(8)}
    assert told(arrays | scales)[0].evidence.endswith("other values in 8 (the first is layers.0.post_norm.weight)")
    scales = {"post_norm.weight": np.full(16, 0.25, np.float32)}
    assert told(arrays | scales)[0].evidence.endswith("0.25 in 1 (the first is post_norm.weight)")


def test_infinities_beside_numbers_are_not_the_one_value() -> None:
    arrays = {f"layers.{i}.q_proj.input_max": np.array([np.inf, 1.0]) for i in range(6)}
    assert {rule for _, rule, _ in said(arrays)} == {"inf"}
    arrays = {f"layers.{i}.q_proj.input_max": np.array([np.inf, -np.inf]) for i in range(6)}
    assert {rule for _, rule, _ in said(arrays)} == {"inf"}


def test_a_few_are_told_one_by_one() -> None:
    assert said({"a.bias": np.zeros(4), "b.bias": np.zeros(4), "norm.weight": np.ones(4)}) == {
        ("info", "all-zero", "a.bias"),
        ("info", "all-zero", "b.bias"),
        ("info", "constant", "norm.weight"),
    }


def test_a_trained_model_has_none() -> None:
    arrays = {name: normal(*array.shape, seed=i) for i, (name, array) in enumerate(fresh().items())}
    assert said(arrays) == set()


def test_the_norms_of_blocks_without_names_are_gathered() -> None:
    arrays: dict[str, Any] = {}
    for i in range(6):
        arrays |= {f"{i}.0.weight": normal(8, 8, seed=i), f"{i}.0.bias": normal(8, seed=i)}
        arrays |= {f"{i}.1.weight": 1 + 0.1 * normal(8, seed=i), f"{i}.1.bias": np.zeros(8, np.float32)}
    (finding,) = told(arrays)
    assert finding.evidence.startswith("6 of 24 tensors hold one value each")


def test_one_bias_of_zeros_among_trained_ones_keeps_its_remark() -> None:
    arrays = fresh()
    for i in range(8):
        if i != 3:
            arrays[f"layers.{i}.fc.bias"] = normal(16, seed=i)
    assert said(arrays) == {("info", "all-zero", "layers.3.fc.bias"), ("info", "start-values", "")}


def test_errors_and_warnings_are_never_gathered() -> None:
    arrays = fresh()
    for i in range(8):
        arrays[f"layers.{i}.fc.weight"] = np.zeros((16, 16), np.float32)
        arrays[f"layers.{i}.up.weight"] = np.full((16, 16), 0.5, np.float32)
    found = said(arrays)
    assert {tensor for severity, rule, tensor in found if (severity, rule) == ("error", "all-zero")} == {
        f"layers.{i}.fc.weight" for i in range(8)
    }
    assert sum((severity, rule) == ("warning", "constant") for severity, rule, _ in found) == 8


def test_zeros_of_an_optimizer_are_no_start_values() -> None:
    arrays = {f"state.{i}.exp_avg": np.zeros((4, 4), np.float32) for i in range(6)}
    assert {rule for _, rule, _ in said(arrays)} == {"all-zero"}


def test_batchnorms_without_a_batch_are_one_remark_with_the_rest() -> None:
    arrays: dict[str, Any] = {}
    for i in range(4):
        arrays[f"layers.{i}.conv.weight"] = normal(8, 8, 3, 3, seed=i)
        arrays[f"layers.{i}.bn.running_var"] = np.ones(8, np.float32)
        arrays[f"layers.{i}.bn.num_batches_tracked"] = np.zeros((), np.int64)
    (finding,) = told(arrays)
    assert finding.evidence == (
        "4 of 12 tensors hold one value each, as before training: "
        "no batch counted in 4 (the first is layers.0.bn.num_batches_tracked)"
    )
    arrays["layers.2.bn.num_batches_tracked"] = np.int64(12)
    assert {tensor for _, rule, tensor in said(arrays) if rule == "batchnorm"} == {
        f"layers.{i}.bn.num_batches_tracked" for i in (0, 1, 3)
    }


def test_a_head_of_which_only_the_last_layer_starts_at_zero() -> None:
    arrays: dict[str, Any] = {}
    for i in range(4):
        arrays[f"bbox_embed.{i}.layers.0.weight"] = normal(8, 8, seed=i)
        arrays[f"bbox_embed.{i}.layers.1.weight"] = np.zeros((4, 8), np.float32)
    assert {rule for _, rule, _ in said(arrays)} <= {"all-zero", "start-values"}
    assert all(severity == "info" for severity, _, _ in said(arrays))
    arrays["bbox_embed.0.layers.1.weight"] = normal(4, 8)
    assert sum(rule == "untrained-zero-init" for _, rule, _ in said(arrays)) == 3


def test_bounds_that_clip_nothing_are_start_values() -> None:
    arrays = {f"layers.{i}.q_proj.{name}": np.float32(np.inf) for i in range(4) for name in ("input_max", "output_max")}
    (finding,) = told(arrays)
    assert finding.evidence == (
        "8 of 8 tensors hold one value each, as before training: infinities in 8 "
        "(the first is layers.0.q_proj.input_max)"
    )
    arrays["layers.2.q_proj.input_max"] = np.float32(3)
    assert ("info", "inf", "layers.1.q_proj.input_max") in said(arrays)


def test_a_layer_that_starts_at_zero_is_a_warning_only_after_training() -> None:
    name = "blocks.{}.adaLN_modulation.1.weight"
    arrays: dict[str, Any] = {name.format(i): np.zeros((8, 8), np.float32) for i in range(4)}
    assert said(arrays) == {("info", "start-values", "")}
    assert {found[:2] for found in said(arrays, {"global_step": "9"})} == {("warning", "untrained-zero-init")}
    arrays |= {name.format(i): normal(8, 8, seed=i) for i in (0, 1, 3)}
    (finding,) = told(arrays)
    assert (finding.severity, finding.tensor) == ("warning", name.format(2))
    assert finding.evidence == (
        "all 64 values are still zero, as at the start, but 3 of 4 blocks.#.adaLN_modulation.1.weight are not"
    )
    assert said({name.format(i): normal(8, 8, seed=i) for i in range(4)}, {"global_step": "9"}) == set()


def test_a_zero_lora_b_that_is_warned_of_has_no_remark_too() -> None:
    arrays = {f"layers.{i}.q.lora_B.weight": normal(8, 4, seed=i) for i in range(3)}
    arrays |= {f"layers.{i}.q.lora_A.weight": normal(4, 8, seed=i) for i in range(3)}
    arrays["layers.1.q.lora_B.weight"] = np.zeros((8, 4), np.float32)
    assert said(arrays) == {("warning", "untrained-lora", "layers.1.q.lora_B.weight")}


def made(zero: str, layers: int = 4) -> dict[str, Any]:
    """A fresh model in which one matrix of each layer starts at zero."""
    arrays = fresh(layers)
    for i in range(layers):
        arrays[f"layers.{i}.{zero}"] = np.zeros((16, 16), np.float32)
        arrays[f"layers.{i}.up.weight"] = normal(16, 16, seed=100 + i)
    return arrays


@pytest.mark.parametrize(
    "zero", ["mlp.router.gate.weight", "mlstm_layer.igate_preact.weight", "self_attn.output_projection.o_proj.weight"]
)
def test_matrices_that_start_at_zero_are_no_error_in_a_model_that_was_never_trained(zero: str) -> None:
    (finding,) = told(made(zero))
    assert (finding.severity, finding.rule) == ("info", "start-values")
    assert "zeros in 8" in finding.evidence
    (remark,) = [finding for finding in told(made(zero, 1)) if finding.tensor == f"layers.0.{zero}"]
    assert (remark.severity, remark.rule) == ("info", "all-zero")
    assert remark.evidence == (
        "all 256 values are zero, in a model none of whose norms has been trained: it may start so"
    )


def test_a_matrix_of_zeros_stays_an_error_wherever_something_was_trained() -> None:
    name = "layers.2.o_proj.weight"
    trained = made("o_proj.weight") | {"layers.1.norm.weight": 1 + 0.1 * normal(16)}
    narrow = {
        name: array.astype(np.float16) if name.endswith("norm.weight") else array
        for name, array in made("o_proj.weight").items()
    }
    alone = made("o_proj.weight") | {"layers.0.o_proj.weight": normal(16, 16)}
    stepped = made("o_proj.weight") | {"optimizer.state.0.exp_avg": normal(16, 16)}
    without = {name: array for name, array in made("o_proj.weight").items() if "norm" not in name}
    mostly = {name: array for name, array in made("o_proj.weight").items() if "up" not in name}
    for arrays in (trained, narrow, alone, stepped, without, mostly):
        assert ("error", "all-zero", name) in said(arrays)
    assert ("error", "all-zero", name) in said(made("o_proj.weight"), {"global_step": "100"})
