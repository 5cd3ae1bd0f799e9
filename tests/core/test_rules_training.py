"""The rules about norms, scales, BatchNorm, adapters and optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.check import check
from tui_params.core.rules_training import step_of


def said(arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> set[tuple[str, str, str]]:
    """Severity, rule and tensor of everything that a check says."""
    source = MemorySource({name: np.asarray(array) for name, array in arrays.items()}, metadata=metadata)
    return {(finding.severity, finding.rule, finding.tensor or "") for finding in check(source).findings}


def normal(*shape: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    "name",
    ["layers.0.input_layernorm.weight", "h.0.ln_1.weight", "norm.gamma", "bn2.weight", "encoder.LayerNorm.weight"],
)
def test_gains_near_zero(name: str) -> None:
    assert said({name: 1e-4 * normal(16)}) == {("warning", "norm-near-zero", name)}
    assert said({name: 1 + 0.1 * normal(16)}) == set()


def test_other_vectors_may_be_near_zero() -> None:
    assert said({"fc.bias": 1e-4 * normal(16), "norm.bias": 1e-4 * normal(16)}) == set()


@pytest.mark.parametrize("name", ["fc.weight_scale_inv", "fc.weight_scale", "fc.scales", "fc.weight.absmax"])
def test_scales_that_restore_nothing(name: str) -> None:
    scales = np.abs(normal(4, 4)) + 0.1
    assert said({name: scales}) == set()
    scales[1, 2] = np.inf
    assert ("error", "broken-scale", name) in said({name: scales})
    assert ("error", "broken-scale", name) in said({name: np.zeros((4, 4), np.float32)})
    scales[1, 2] = 0
    one_block = "info" if name.endswith("absmax") else "warning"
    assert said({name: scales}) == {(one_block, "broken-scale", name)}


def test_scales_of_activations_may_wait_for_calibration() -> None:
    zero = np.zeros((), np.float32)
    assert ("warning", "broken-scale", "fc.input_scale") in said({"fc.input_scale": zero})
    assert all(rule != "broken-scale" for _, rule, _ in said({"logit_scale": zero, "layer_scale": zero}))
    assert all(rule != "broken-scale" for _, rule, _ in said({"fc.weight.absmax": np.zeros(8, np.uint8)}))


def test_batchnorm_statistics() -> None:
    name = "bn.running_var"
    assert said({name: np.ones(8, np.float32)}) == set()
    var = np.abs(normal(8)) + 0.1
    assert said({name: var}) == set()
    var[3] = 0
    assert said({name: var}) == {("warning", "batchnorm", name)}
    var[3] = -1
    assert said({name: var}) == {("error", "batchnorm", name)}
    tracked = "bn.num_batches_tracked"
    assert said({tracked: np.zeros((), np.int64)}) == {("info", "batchnorm", tracked)}
    assert said({tracked: np.int64(7)}) == set()


def test_a_lora_b_of_zeros_among_others_that_are_trained() -> None:
    arrays = {f"layers.{i}.q.lora_B.weight": normal(8, 4, seed=i) for i in range(3)}
    assert said(arrays) == set()
    arrays["layers.1.q.lora_B.weight"] = np.zeros((8, 4), np.float32)
    assert ("warning", "untrained-lora", "layers.1.q.lora_B.weight") in said(arrays)


def test_a_fresh_adapter_is_only_remarked_on() -> None:
    arrays = {f"layers.{i}.q.lora_B.weight": np.zeros((8, 4), np.float32) for i in range(3)}
    assert {(severity, rule) for severity, rule, _ in said(arrays)} == {("info", "all-zero")}
    trained = said(arrays, {"global_step": "120"})
    assert {name for _, rule, name in trained if rule == "untrained-lora"} == set(arrays)
    assert ("warning", "untrained-lora") not in {found[:2] for found in said(arrays, {"global_step": "0"})}


@pytest.mark.parametrize("is_metadata", [False, True])
def test_an_optimizer_that_counted_steps_but_never_stepped(is_metadata: bool) -> None:
    def state(step: int) -> set[tuple[str, str, str]]:
        arrays: dict[str, Any] = {"optimizer.state.0.exp_avg_sq": np.zeros((4, 4), np.float32)}
        if not is_metadata:
            arrays["optimizer.state.0.step"] = np.float32(step)
        return said(arrays, {"optimizer.state.0.step": str(step)} if is_metadata else None)

    assert ("warning", "optimizer-never-stepped", "optimizer.state.0.exp_avg_sq") in state(10)
    assert all(severity == "info" for severity, _, _ in state(0))


def test_an_optimizer_that_stepped_is_fine() -> None:
    arrays = {"optimizer.state.0.exp_avg_sq": normal(4, 4) ** 2, "optimizer.state.0.step": np.float32(10)}
    assert said(arrays) == set()


def test_the_step_is_read_from_metadata() -> None:
    assert step_of({"global_step": "12", "trainer.step": "7.0", "lr": "99", "note.step": "soon"}) == 12
    assert step_of({"step": "9" * 400}) == 0
    assert step_of({}) == 0
