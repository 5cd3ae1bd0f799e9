"""The rule about halves of adapters."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from tests.factories_memory import MemorySource
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check


def told(names: Iterable[str]) -> list[Finding]:
    source = MemorySource({name: np.full((2, 2), i + 1, np.float32) for i, name in enumerate(names)})
    return [finding for finding in check(source).findings if finding.rule in ("gap", "half-adapter")]


HALVES = [
    ("base_model.model.layers.{}.q_proj", "lora_A.weight", "lora_B.weight"),
    ("layers.{}.q_proj", "lora_A.default.weight", "lora_B.default.weight"),
    ("model.layers.{}.self_attn.q_proj", "lora_a", "lora_b"),
    ("model.layers.{}.mlp.switch_mlp.up_proj", "lora_a", "lora_b"),
    ("layers.{}.q_proj", "delora_A", "delora_B"),
    ("layers.{}.q_proj", "hira_A", "hira_B"),
    ("layers.{}.q_proj", "peanut_A.weight", "peanut_B.weight"),
    ("embed_{}", "lora_embedding_A", "lora_embedding_B"),
    ("embed_{}", "lora_embedding_A.default", "lora_embedding_B.default"),
    ("lora_unet_blocks_{}_attn_to_q", "lora_down.weight", "lora_up.weight"),
    ("unet.blocks.{}.to_q", "lora.down.weight", "lora.up.weight"),
    ("unet.blocks.{}.processor.to_q_lora", "down.weight", "up.weight"),
    ("text_encoder.layers.{}.q_proj", "lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
    ("blocks.{}.qkv_lora1", "down.weight", "up.weight"),
    ("layers.{}.q_proj", "vera_lambda_b", "vera_lambda_d"),
    ("layers.{}.q_proj", "randlora_lambda", "randlora_gamma"),
    ("layers.{}.q_proj", "vblora_logits_A", "vblora_logits_B"),
    ("lora_unet_{}", "lokr_w1_a", "lokr_w1_b"),
]


@pytest.mark.parametrize(("module", "one", "two"), HALVES)
def test_half_of_an_adapter(module: str, one: str, two: str) -> None:
    names = [f"{module.format(i)}.{half}" for i in range(4) for half in (one, two)]
    if "lokr" in one:
        names += [f"{module.format(i)}.lokr_w2" for i in range(4)]
    assert told(names) == []
    for lost, left in ((one, two), (two, one)):
        found = told([name for name in names if name != f"{module.format(2)}.{lost}"])
        assert {(finding.severity, finding.rule) for finding in found} == {("warning", "half-adapter")}
        assert f"{module.format(2)}.{left}" in {finding.tensor for finding in found}


def test_the_factors_of_loha_and_lokr() -> None:
    hada = [f"lora_unet_{i}.hada_w{w}_{half}" for i in range(3) for w in (1, 2) for half in "ab"]
    assert told(hada) == []
    assert told([name for name in hada if name != "lora_unet_1.hada_w2_b"])[0].evidence == (
        "the adapter has hada_w2_a here, but no hada_w2_b: one without the other changes nothing"
    )
    assert told(["m.lokr_w1", "m.lokr_w2"]) == told(["m.lokr_w1", "m.lokr_w2_a", "m.lokr_w2_b", "m.lokr_t2"]) == []
    assert [finding.tensor for finding in told(["m.lokr_w1", "n.lokr_w1", "n.lokr_w2"])] == ["m.lokr_w1"]


def test_adapters_that_have_no_halves() -> None:
    names = [f"layers.{i}.{rest}" for i in range(4) for rest in ("q.ia3_l", "q.oft_R.weight", "q.miss_block")]
    names += ["base_model.vera_A", "base_model.vera_B", "q.vera_lambda_b", "q.vera_lambda_d"]
    names += ["q.lora_A.weight", *(f"q.lora_B{i}.weight" for i in range(3)), "q.lora_magnitude_vector"]
    names += ["down.weight", "flora.weight", "lora_te.alpha"]
    assert told(names) == []
