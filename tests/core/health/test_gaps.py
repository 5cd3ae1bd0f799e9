"""The rule about layers that are absent, and layers that lack a tensor."""

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

_LAYER = ("attn.q.weight", "attn.o.weight", "mlp.up.weight", "mlp.down.weight", "norm.weight")


def told(names: Iterable[str]) -> list[Finding]:
    source = MemorySource({name: np.full((2, 2), i + 1, np.float32) for i, name in enumerate(names)})
    return [finding for finding in check(source).findings if finding.rule == "gap"]


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
        without(layers(3), "model.layers.1.norm."),
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
        assert "gap" not in {finding.rule for finding in check(source).findings}
    with open_source(tmp_path) as source:
        # The set is not whole, which is said instead.
        assert {finding.rule for finding in check(source).findings} & {"missing-shard", "gap"} == {"missing-shard"}
    save_file({"other.weight": arrays[lost]}, tmp_path / "model-00002-of-00002.safetensors")
    with open_source(tmp_path) as source:
        assert "gap" in {finding.rule for finding in check(source).findings}


# The first layer, and more than one


@pytest.mark.parametrize("prefix", ["model.layers", "h", "encoder.layer", "transformer_blocks"])
@pytest.mark.parametrize("count", [3, 6, 12, 40])
def test_the_first_layer_is_absent(prefix: str, count: int) -> None:
    (finding,) = told(without(layers(count, prefix), f"{prefix}.0."))
    assert finding.evidence == f"{count - 1} of {count} {prefix}.# are here, {prefix}.0 is absent"
    assert finding.module == prefix


@pytest.mark.parametrize(
    ("count", "lost", "shown"),
    [
        (6, (1, 2), "{1-2} are"),
        (6, (2, 4), "{2, 4} are"),
        (8, (2, 5), ""),
        (9, (2, 6), "{2, 6} are"),
        (12, (0, 1), "{0-1} are"),
        (12, (5, 6, 7), "{5-7} are"),
        (16, (3, 8), "{3, 8} are"),
    ],
)
def test_several_layers_are_absent(count: int, lost: tuple[int, ...], shown: str) -> None:
    found = told(without(layers(count), *(f"model.layers.{i}." for i in lost)))
    have = count - len(lost)
    wanted = f"{have} of {count} model.layers.# are here, model.layers.{shown} absent"
    assert [finding.evidence for finding in found] == ([wanted] if shown else [])


@pytest.mark.parametrize(
    "lost",
    [range(6), range(1, 12, 2), range(4, 10), (3, 7, 11), range(8)],
    ids=["a stage of a pipeline", "every second", "half", "every fourth", "most"],
)
def test_pieces_and_patterns_are_no_absent_layers(lost: Iterable[int]) -> None:
    assert told(without(layers(12), *(f"model.layers.{i}." for i in lost))) == []


def test_a_block_whose_modules_are_in_a_list() -> None:
    below = ("layer.0.SelfAttention.q.weight", "layer.0.layer_norm.weight", "layer.1.DenseReluDense.wo.weight")
    names = layers(6, "encoder.block", below)
    assert told(names) == []
    (finding,) = told(without(names, "encoder.block.3."))
    assert finding.evidence == "5 of 6 encoder.block.# are here, encoder.block.3 is absent"
    rows = [f"blocks.{i}.0.{last}" for i in (0, 1, 2, 4, 5, 6, 7) for last in ("weight", "bias")]
    assert told(rows) == []


def test_a_module_without_parameters_has_a_number() -> None:
    net = [f"net.{i}.{below}" for i in range(1, 9) for below in _LAYER]
    assert told(net) == []
    mixed = [
        f"blocks.{i}.{below}"
        for i in range(8)
        if i != 4
        for below in (_LAYER if i < 4 else ("conv.weight", "n.weight"))
    ]
    assert told(mixed) == []


def test_an_absent_layer_among_alternating_kinds() -> None:
    kinds = (_LAYER, ("mamba.in.weight", "norm.weight"))
    hybrid = [f"layers.{i}.{below}" for i in range(12) for below in kinds[i % 2]]
    assert told(hybrid) == []
    (finding,) = told(without(hybrid, "layers.5."))
    assert finding.evidence == "11 of 12 layers.# are here, layers.5 is absent"


# Few layers


_LLAMA = (
    *(f"self_attn.{part}_proj.weight" for part in "qkvo"),
    *(f"mlp.{part}_proj.weight" for part in ("gate", "up", "down")),
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
)


@pytest.mark.parametrize("count", [2, 3, 4, 12])
@pytest.mark.parametrize("lost", ["mlp.down_proj", "mlp.gate_proj", "self_attn.q_proj", "self_attn.o_proj"])
@pytest.mark.parametrize("layer", [0, 1])
def test_a_part_without_its_partner(count: int, lost: str, layer: int) -> None:
    (finding,) = told(without(layers(count, below=_LLAMA), f"model.layers.{layer}.{lost}."))
    assert (finding.severity, finding.module) == ("warning", f"model.layers.{layer}")
    assert f"no {lost}.weight, but {count - 1} of {count} such layers ha" in finding.evidence


@pytest.mark.parametrize("lost", ["mlp.", "self_attn.", "input_layernorm.", "post_attention_layernorm."])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_one_of_few_layers_lacks_a_module(count: int, lost: str) -> None:
    (finding,) = told(without(layers(count, below=_LLAMA), f"model.layers.1.{lost}"))
    assert finding.evidence.startswith(f"model.layers.1 has no {lost}")


def test_one_sentence_for_the_same_part_of_several_layers() -> None:
    lost = [f"model.layers.{i}.mlp.down_proj." for i in (1, 2, 5, 8)]
    (finding,) = told(without(layers(12, below=_LLAMA), *lost))
    assert finding.evidence.startswith(
        "model.layers.{1-2, 5, 8} have mlp.gate_proj.weight but no mlp.down_proj.weight, but 8 of 12 such layers have"
    )


def test_a_bias_without_its_weight() -> None:
    names = layers(3, below=("attn.x.weight", "attn.x.bias", "norm.weight"))
    (finding,) = told(without(names, "model.layers.1.attn.x.weight"))
    assert finding.evidence.startswith("model.layers.1 has attn.x.bias but no attn.x.weight, but 2 of 3 such layers")
    assert told(without(names, "model.layers.1.attn.x.bias")) == []


def test_the_same_tensor_is_absent_in_two_of_many() -> None:
    for below in ("norm.weight", "attn.q.weight", "mlp.down.weight"):
        (finding,) = told(without(layers(32), f"model.layers.5.{below}", f"model.layers.20.{below}"))
        assert finding.evidence.startswith(f"model.layers.{{5, 20}} have no {below}, but 30 of 32 such layers have it")
    (finding,) = told(without(layers(6), "model.layers.2.mlp.up.", "model.layers.3.mlp.up."))
    assert finding.evidence.startswith("model.layers.{2-3} have no mlp.up.weight, but 4 of 6 such layers have it")


def test_a_search_leaves_whole_attentions_out() -> None:
    lost = [f"model.layers.{i}.{part}." for i in (3, 8) for part in ("self_attn", "input_layernorm")]
    assert told(without(layers(32, below=_LLAMA), *lost)) == []
    (finding,) = told(without(layers(32, below=_LLAMA), *lost[1::2]))
    assert finding.evidence.startswith("model.layers.{3, 8} have no input_layernorm.weight")


@pytest.mark.parametrize(
    "names",
    [
        [n for n in layers(4, below=_LLAMA) if not (n[13] in "23" and n.endswith(("k_proj.weight", "v_proj.weight")))],
        without(layers(2, below=_LLAMA), "model.layers.1.self_attn.v_proj."),
        [*layers(2, "block", ("attn.q.weight", "attn.k.weight", "attn.o.weight")), "block.0.attn.relative_bias.weight"],
        [*layers(2, "h", ("attn.query_key.weight", "attn.value.weight")), *layers(1, "h.1", ("attn.query.weight",))],
        [*layers(1, below=_LLAMA), "model.layers.1.mlp.gate.weight", "model.layers.1.mlp.experts.0.up_proj.weight"],
        without(layers(2), "model.layers.1.norm."),
    ],
    ids=["the last layers share keys", "keys are values", "relative bias", "other attention", "first is dense", "norm"],
)
def test_few_layers_may_differ(names: list[str]) -> None:
    assert told(names) == []


# Experts


def experts(blocks: int, count: int) -> list[str]:
    below = ("gate_proj.weight", "up_proj.weight", "down_proj.weight")
    return [name for i in range(blocks) for name in layers(count, f"layers.{i}.mlp.experts", below)]


@pytest.mark.parametrize("count", [2, 4, 8])
def test_an_expert_lacks_a_tensor(count: int) -> None:
    (finding,) = told(without(experts(2, count), "layers.1.mlp.experts.1.down_proj."))
    assert finding.module == "layers.1.mlp.experts.1"
    assert f"no down_proj.weight, but {count - 1} of {count} such layers ha" in finding.evidence


def test_the_first_and_the_last_expert_are_absent() -> None:
    assert told(experts(3, 4)) == []
    (finding,) = told(without(experts(3, 4), "layers.1.mlp.experts.0."))
    assert finding.evidence == "3 of 4 layers.1.mlp.experts.# are here, layers.1.mlp.experts.0 is absent"
    (finding,) = told(without(experts(3, 4), "layers.1.mlp.experts.3."))
    assert finding.evidence == "layers.1.mlp.experts.3 is absent, but 2 of 3 layers.#.mlp.experts have 4 experts"
    assert finding.module == "layers.1.mlp.experts"
    uneven = [n for n in experts(5, 8) if n.startswith("layers.0.") or int(n.split(".")[4]) < 4 + int(n.split(".")[1])]
    assert told(uneven) == []


def test_the_last_experts_may_be_places() -> None:
    names = experts(2, 6)
    lost = [f"layers.{i}.mlp.experts.{j}.down_proj." for i in range(2) for j in (4, 5)]
    assert told(without(names, *lost)) == []


def test_a_mixture_without_its_router() -> None:
    names = [f"layers.{i}.mlp.gate.weight" for i in range(2)] + experts(2, 4)
    assert told(names) == []
    (finding,) = told(without(names, "layers.1.mlp.gate."))
    assert finding.evidence.startswith("layers.1 has mlp.experts.#.down_proj.weight but no mlp.gate.weight")
    (finding,) = told(without(names, "layers.1.mlp.experts."))
    assert finding.evidence.startswith("layers.1 has mlp.gate.weight but no mlp.experts.#.down_proj.weight")


# Optimizers


def test_the_states_of_frozen_layers_are_absent_by_design() -> None:
    names = [f"optimizer.state.model.layers.{i}.{below}.exp_avg" for i in range(2, 12) for below in _LAYER]
    source = MemorySource({name: np.full((2, 2), 1, np.float32) for name in names})
    assert {finding.rule for finding in check(source).findings} & {"gap", "optimizer-no-state"} == set()
