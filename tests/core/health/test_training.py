"""The rules about norms, scales, BatchNorm, adapters and optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.health.checker import check
from tui_params.core.health.thresholds import DEFAULT, with_threshold
from tui_params.core.health.training import step_of


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


def gains(faint: int, total: int, value: float = 1e-4) -> dict[str, Any]:
    return {f"layers.{i}.norm.weight": (value if i < faint else 1.0) * normal(16, seed=i) for i in range(total)}


def test_gains_near_zero_among_others_that_are_not() -> None:
    assert said(gains(0, 8)) == set()
    source = MemorySource(gains(1, 8))
    (finding,) = (finding for finding in check(source).findings if finding.rule == "norm-near-zero")
    assert finding.tensor == "layers.0.norm.weight"
    assert finding.evidence.startswith("the root mean square of the 16 gains is ")
    assert finding.evidence.endswith(": little passes; 7 of 8 norms of layers are above 0.001")
    assert {rule for _, rule, _ in said(gains(1, 8, 0.0))} == {"norm-near-zero"}
    limits = with_threshold(DEFAULT, "norm-rms", 1e-6)
    rules = {finding.rule for finding in check(MemorySource(gains(1, 8)), thresholds=limits).findings}
    assert "norm-near-zero" not in rules


def test_a_model_that_multiplies_by_one_plus_the_gain_is_well() -> None:
    assert all(rule != "norm-near-zero" for _, rule, _ in said(gains(8, 8)))
    assert all(rule != "norm-near-zero" for _, rule, _ in said(gains(8, 8, 0.0)))


def test_parts_of_a_model_may_be_made_otherwise() -> None:
    arrays: dict[str, Any] = {
        f"vision.layers.{i}.norm{j}.weight": np.ones(8, np.float32) for i in (0, 1, 2) for j in (1, 2)
    }
    arrays |= {
        f"text.layers.0.{name}.weight": np.zeros(8, np.float32) for name in ("norm1", "norm2", "q_norm", "k_norm")
    }
    arrays["text.norm.weight"] = np.zeros(8, np.float32)
    assert {rule for _, rule, _ in said(arrays)} == {"start-values"}
    arrays["vision.layers.1.norm2.weight"] = np.zeros(8, np.float32)
    assert {found for found in said(arrays) if found[1] == "norm-near-zero"} == {
        ("warning", "norm-near-zero", "vision.layers.1.norm2.weight")
    }


def test_all_the_norms_of_one_layer_are_not_how_the_model_is_made() -> None:
    names = ("input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm")
    arrays = {f"model.layers.{i}.{name}.weight": np.full(8, i != 2, np.float32) for i in range(4) for name in names}
    found = {tensor for _, rule, tensor in said(arrays) if rule == "norm-near-zero"}
    assert found == {f"model.layers.2.{name}.weight" for name in names}


def test_residual_branches_that_start_at_zero_are_well_until_steps_were_counted() -> None:
    arrays: dict[str, Any] = {f"layers.{i}.bn1.weight": np.ones(8, np.float32) for i in range(6)}
    arrays |= {f"layers.{i}.bn2.weight": np.zeros(8, np.float32) for i in range(6)}
    assert said(arrays) == {("info", "start-values", "")}
    assert ("warning", "norm-near-zero", "layers.2.bn2.weight") in said(arrays, {"global_step": "8"})


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
    # The scales of a block are then nested_offset, as those of a weight of one block are.
    for nested, severity in ((np.zeros(1, np.float32), "info"), (np.zeros(3, np.float32), "warning")):
        assert said({"fc.weight.nested_absmax": nested}) == {(severity, "broken-scale", "fc.weight.nested_absmax")}
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


def lora(count: int, second: NDArray[Any]) -> dict[str, Any]:
    """Adapters whose lora_B is ``second``, or a multiple of it."""
    arrays: dict[str, Any] = {}
    for i in range(count):
        arrays[f"layers.{i}.q.lora_A.weight"] = normal(4, 8, seed=i)
        arrays[f"layers.{i}.q.lora_B.weight"] = (1 + i / 64) * second
    return arrays


def test_a_lora_b_of_zeros_among_others_that_are_trained() -> None:
    arrays = lora(3, normal(8, 4))
    assert said(arrays) == set()
    arrays["layers.1.q.lora_B.weight"] = np.zeros((8, 4), np.float32)
    assert ("warning", "untrained-lora", "layers.1.q.lora_B.weight") in said(arrays)


def test_a_fresh_adapter_is_only_remarked_on() -> None:
    arrays = lora(3, np.zeros((8, 4), np.float32))
    assert {(severity, rule) for severity, rule, _ in said(arrays)} == {("info", "all-zero")}
    more = lora(32, np.zeros((8, 4), np.float32))
    assert said(more) == {("info", "start-values", "")}
    of_embedding = {"embed.lora_embedding_A": np.zeros((4, 8), np.float32), "embed.lora_embedding_B": normal(8, 4)}
    assert {found[:2] for found in said(arrays | of_embedding)} <= {("info", "all-zero"), ("info", "start-values")}
    trained = said(arrays, {"global_step": "120"})
    assert {name for _, rule, name in trained if rule == "untrained-lora"} == {n for n in arrays if "lora_B" in n}
    assert ("warning", "untrained-lora") not in {found[:2] for found in said(arrays, {"global_step": "0"})}


@pytest.mark.parametrize("moment", ["exp_avg_sq", "square_avg", "exp_inf", "row_var"])
@pytest.mark.parametrize("is_metadata", [False, True])
def test_an_optimizer_that_counted_steps_but_never_stepped(is_metadata: bool, moment: str) -> None:
    def state(step: int) -> set[tuple[str, str, str]]:
        arrays: dict[str, Any] = {f"optimizer.state.0.{moment}": np.zeros((4, 4), np.float32)}
        if not is_metadata:
            arrays["optimizer.state.0.step"] = np.float32(step)
        return said(arrays, {"optimizer.state.0.step": str(step)} if is_metadata else None)

    assert state(10) == {("warning", "optimizer-never-stepped", f"optimizer.state.0.{moment}")}
    assert all(severity == "info" for severity, _, _ in state(0))


def test_an_optimizer_that_stepped_is_fine() -> None:
    arrays = {"optimizer.state.0.exp_avg_sq": normal(4, 4) ** 2, "optimizer.state.0.step": np.float32(10)}
    assert said(arrays) == set()


def test_the_step_is_read_from_metadata() -> None:
    assert step_of({"global_step": "12", "trainer.step": "7.0", "lr": "99", "note.step": "soon"}) == 12
    assert step_of({"step": "9" * 400}) == 0
    assert step_of({}) == 0


PAIRS = [
    ("layers.{}.q.lora_A.weight", "layers.{}.q.lora_B.weight"),
    ("layers.{}.q.lora_A.default.weight", "layers.{}.q.lora_B.default.weight"),
    ("embed_{}.lora_embedding_B", "embed_{}.lora_embedding_A"),
    ("lora_unet_{}_to_q.lora_down.weight", "lora_unet_{}_to_q.lora_up.weight"),
    ("unet.blocks.{}.to_q.lora.down.weight", "unet.blocks.{}.to_q.lora.up.weight"),
    ("unet.blocks.{}.processor.to_q_lora.down.weight", "unet.blocks.{}.processor.to_q_lora.up.weight"),
    (
        "text_encoder.layers.{}.q_proj.lora_linear_layer.down.weight",
        "text_encoder.layers.{}.q_proj.lora_linear_layer.up.weight",
    ),
    ("double_blocks.{}.processor.qkv_lora1.down.weight", "double_blocks.{}.processor.qkv_lora1.up.weight"),
    ("lora_unet_{}_to_q.hada_w2_b", "lora_unet_{}_to_q.hada_w2_a"),
    ("lora_unet_{}_to_q.lokr_w1", "lora_unet_{}_to_q.lokr_w2"),
    ("layers.{}.q.randlora_gamma", "layers.{}.q.randlora_lambda"),
    ("layers.{}.q.oft_other", "layers.{}.q.oft_R.weight"),
    ("lora_unet_{}_to_q.alphas", "lora_unet_{}_to_q.oft_blocks"),
    ("layers.{}.q.lora_a", "layers.{}.q.lora_b"),
    ("layers.{}.q.hira_A", "layers.{}.q.hira_B"),
    ("layers.{}.q.poly_lora_A", "layers.{}.q.poly_lora_B"),
    ("layers.{}.q.glora_A.Xu", "layers.{}.q.glora_A.Xd"),
    ("layers.{}.q.base", "layers.{}.q.miss_block"),
    ("layers.{}.q.base", "layers.{}.q.shira_weight"),
]


def pairs(drawn: str, zero: str, *, is_trained: bool) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for i in range(6):
        arrays[drawn.format(i)] = normal(4, 8, seed=i)
        arrays[zero.format(i)] = normal(8, 4, seed=9 + i) if is_trained else np.zeros((8, 4), np.float32)
        if "hada" in zero:
            arrays |= {drawn.format(i).replace("w2", f"w1_{half}")[:-2]: normal(4, 8, seed=i) for half in "ab"}
    return arrays


@pytest.mark.parametrize(("drawn", "zero"), PAIRS)
def test_a_fresh_adapter_in_every_spelling_has_one_remark(drawn: str, zero: str) -> None:
    arrays = pairs(drawn, zero, is_trained=False)
    (found,) = (finding for finding in check(MemorySource(arrays)).findings if finding.rule != "identical-bytes")
    assert (found.severity, found.rule, found.tensor) == ("info", "start-values", None)
    assert found.evidence == (
        f"6 of {len(arrays)} tensors hold one value each, as before training: zeros in 6 "
        f"(the first is {zero.format(0)})"
    )


@pytest.mark.parametrize(("drawn", "zero"), PAIRS)
def test_one_zero_half_among_trained_pairs_in_every_spelling(drawn: str, zero: str) -> None:
    arrays = pairs(drawn, zero, is_trained=True)
    assert said(arrays) == set()
    arrays[zero.format(2)] = np.zeros((8, 4), np.float32)
    (finding,) = check(MemorySource(arrays)).findings
    assert (finding.severity, finding.rule, finding.tensor) == ("warning", "untrained-lora", zero.format(2))
    assert finding.evidence.endswith(", but 5 of 6 in this file are not")


@pytest.mark.parametrize(("drawn", "zero"), [pair for pair in PAIRS if "lora_" in pair[0] or "down" in pair[0]][:6])
def test_the_half_that_is_drawn_may_not_be_zero(drawn: str, zero: str) -> None:
    arrays = pairs(drawn, zero, is_trained=True)
    arrays[drawn.format(2)] = np.zeros((4, 8), np.float32)
    assert said(arrays) == {("warning", "untrained-lora", drawn.format(2))}
    dead = pairs(drawn, zero, is_trained=False) | {drawn.format(i): np.zeros((4, 8), np.float32) for i in range(6)}
    warned = {tensor for severity, _, tensor in said(dead) if severity == "warning"}
    assert warned == {drawn.format(i) for i in range(6)}


def test_what_may_be_zero_in_a_trained_adapter() -> None:
    arrays = lora(4, normal(8, 4))
    arrays |= {f"layers.{i}.q.lora_E": (i != 2) * normal(4, 1, seed=i) for i in range(4)}
    arrays |= {f"layers.{i}.q.lora_B.bias": (i != 2) * normal(8, seed=i) for i in range(4)}
    assert not {found for found in said(arrays) if found[0] != "info"}
