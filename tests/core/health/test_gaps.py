"""The rules about layers that are absent, layers that lack a tensor, and halves of adapters."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.factories_memory import MemorySource
from tui_params.api.opening import open_source
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check

_RULES = {"gap", "half-adapter"}
_LAYER = ("attn.q.weight", "attn.o.weight", "mlp.up.weight", "mlp.down.weight", "norm.weight")


def told(names: Iterable[str]) -> list[Finding]:
    source = MemorySource({name: np.full((2, 2), i + 1, np.float32) for i, name in enumerate(names)})
    return [finding for finding in check(source).findings if finding.rule in _RULES]


def layers(count: int = 12, prefix: str = "model.layers", below: Iterable[str] = _LAYER) -> list[str]:
    below = list(below)
    return [f"{prefix}.{i}.{name}" for i in range(count) for name in below]


def without(names: Iterable[str], *lost: str) -> list[str]:
    return [name for name in names if not name.startswith(lost)]


@pytest.mark.parametrize("layer", [0, 1, 5, 11])
def test_one_layer_of_twelve_lacks_a_weight(layer: int) -> None:
    (finding,) = told(without(layers(), f"model.layers.{layer}.mlp.down.weight"))
    assert (finding.severity, finding.rule, finding.tensor) == ("warning", "gap", None)
    assert finding.module == f"model.layers.{layer}"
    assert finding.evidence.startswith(
        f"model.layers.{layer} has no mlp.down.weight, but 11 of 12 such layers have it: model.layers.{{"
    )


def test_a_layer_lacks_a_whole_module() -> None:
    (finding,) = told(without(layers(), "model.layers.5.attn."))
    assert finding.evidence == (
        "model.layers.5 has no attn.o.weight, attn.q.weight, but 11 of 12 such layers have them: "
        "model.layers.{0-4, 6-11}"
    )


def test_two_layers_lack_the_same() -> None:
    (finding,) = told(without(layers(), "model.layers.5.attn.q.", "model.layers.6.attn.q."))
    assert finding.evidence.startswith("model.layers.{5-6} have no attn.q.weight, but 10 of 12 such layers have it")
    assert finding.module == "model.layers"


def test_layers_lack_one_thing_each() -> None:
    found = told(without(layers(), "model.layers.2.attn.q.", "model.layers.7.norm."))
    assert [finding.evidence[:40] for finding in found] == [
        "model.layers.2 has no attn.q.weight, but",
        "model.layers.7 has no norm.weight, but 1",
    ]


def test_a_layer_is_absent() -> None:
    (finding,) = told(without(layers(), "model.layers.5."))
    assert finding.evidence == "11 of 12 model.layers.# are here, model.layers.5 is absent"
    assert finding.module == "model.layers"
    (finding,) = told(without(layers(8, "h"), "h.1."))
    assert finding.evidence == "7 of 8 h.# are here, h.1 is absent"
    (finding,) = told(without(layers(32), "model.layers.5.", "model.layers.9."))
    assert finding.evidence == "30 of 32 model.layers.# are here, model.layers.{5, 9} are absent"


def test_a_list_without_a_name() -> None:
    numbered = [f"{i}.{name}" for i in range(12) for name in _LAYER]
    assert told(numbered) == []
    (finding,) = told(without(numbered, "5."))
    assert (finding.module, finding.evidence) == ("4", "11 of 12 # are here, 5 is absent")
    (finding,) = told(without(numbered, "5.attn.q."))
    assert (finding.module, finding.evidence.partition(",")[0]) == ("5", "5 has no attn.q.weight")
    (finding,) = told(without(numbered, "5.attn.q.", "6.attn.q."))
    assert (finding.module, finding.evidence.partition(",")[0]) == ("5", "{5-6} have no attn.q.weight")


def test_an_expert_is_absent() -> None:
    experts = [name for i in range(4) for name in layers(16, f"layers.{i}.mlp.experts", ("up.weight", "down.weight"))]
    assert told(experts) == []
    (finding,) = told(without(experts, "layers.2.mlp.experts.9."))
    assert finding.evidence == "15 of 16 layers.2.mlp.experts.# are here, layers.2.mlp.experts.9 is absent"
    (finding,) = told(without(experts, "layers.1.mlp.experts.3.up."))
    assert finding.evidence.startswith("layers.1.mlp.experts.3 has no up.weight, but 15 of 16 such layers have it")


def test_a_quantised_layer_lacks_a_weight_with_its_scale() -> None:
    below = [f"{module}.{last}" for module in ("q", "up") for last in ("weight_packed", "weight_scale", "weight_shape")]
    assert told(layers(below=below)) == []
    (finding,) = told(without(layers(below=below), "model.layers.4.up."))
    assert finding.evidence.startswith("model.layers.4 has no up.weight, but 11 of 12")


_DENSE = ("attn.q.weight", "mlp.up.weight", "mlp.down.weight")
_MIXTURE = ("attn.q.weight", "mlp.gate.weight", "mlp.experts.0.up.weight", "mlp.experts.1.up.weight")


@pytest.mark.parametrize(
    "names",
    [
        layers(),
        [name for i in range(12) for name in layers(12, below=_DENSE if i == 0 else _MIXTURE) if f".{i}." in name[:15]],
        without(layers(), *(f"model.layers.{i}.attn." for i in (2, 5, 8, 11))),
        without(layers(12), *(f"model.layers.{i}.attn." for i in range(3))),
        without(layers(12), *(f"model.layers.{i}.attn." for i in (1, 4, 6))),
        without(layers(24), "model.layers.0.norm.", "model.layers.23.attn."),
        [*layers(), *(f"model.layers.{i}.cross.q.weight" for i in (3, 8))],
        [*layers(), "model.layers.12.eh_proj.weight", *layers(13)[-5:], "model.layers.12.shared_head.norm.weight"],
        [*layers(4, "encoder.layers"), *layers(12, "decoder.layers")],
        [f"features.{i}.{last}" for i in (0, 2, 5, 7, 10, 12, 14) for last in ("weight", "bias")],
        [f"net.{i}.weight" for i in range(12) if i != 5],
        without(layers(3), "model.layers.1.attn.q."),
        [*layers(), *(f"optimizer.state.{i}.{last}" for i in range(40) if i != 7 for last in ("exp_avg", "step"))],
        [f"blocks.{i}.attn.{q}.lora_{h}.weight" for i in range(20) if i != 7 for q in ("q", "k") for h in "AB"],
        [*layers(), *(f"layers.{2**70 + i}.a.b.weight" for i in range(3))],
    ],
    ids=lambda names: names[-1],
)
def test_what_models_are_like_by_design(names: list[str]) -> None:
    assert told(names) == []


def test_one_shard_of_two_has_gaps_by_nature(tmp_path: Path) -> None:
    arrays = {name: np.full((2, 2), i, np.float32) for i, name in enumerate(layers())}
    lost = "model.layers.5.mlp.down.weight"
    save_file({n: a for n, a in arrays.items() if n != lost}, tmp_path / "model-00001-of-00002.safetensors")
    with open_source(tmp_path / "model-00001-of-00002.safetensors") as source:
        assert not _RULES & {finding.rule for finding in check(source).findings}
    with open_source(tmp_path) as source:
        # The set is not whole, which is said instead.
        assert {finding.rule for finding in check(source).findings} & {"missing-shard", "gap"} == {"missing-shard"}
    save_file({"other.weight": arrays[lost]}, tmp_path / "model-00002-of-00002.safetensors")
    with open_source(tmp_path) as source:
        assert "gap" in {finding.rule for finding in check(source).findings}


HALVES = [
    ("base_model.model.layers.{}.q_proj", "lora_A.weight", "lora_B.weight"),
    ("layers.{}.q_proj", "lora_A.default.weight", "lora_B.default.weight"),
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
