"""The rules about quantised weights and the scales, zero points and states that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tests.factories_memory import MemorySource
from tui_params.api.opening import open_source
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check

Arrays = dict[str, NDArray[Any]]
_RULES = {"companion-missing", "companion-alone"}


def told(arrays: Mapping[str, Any], **options: Any) -> list[Finding]:
    source = MemorySource({name: np.asarray(array) for name, array in arrays.items()}, **options)
    return [finding for finding in check(source).findings if finding.rule in _RULES]


def said(arrays: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    return {(finding.severity, finding.rule, finding.tensor or "") for finding in told(arrays)}


def fp8(seed: int = 0, *shape: int) -> NDArray[Any]:
    values = np.random.default_rng(seed).standard_normal(shape or (8, 8))
    return values.astype(ml_dtypes.float8_e4m3fn)


def whole(seed: int, *shape: int) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(1, 100, shape or (8, 8))


def scale(*shape: int) -> NDArray[Any]:
    return np.full(shape, 0.01, np.float32)


def scaled_fp8(label: str, count: int = 20) -> Arrays:
    arrays: Arrays = {}
    for i in range(count):
        arrays[f"layers.{i}.up.weight"] = fp8(i)
        arrays[f"layers.{i}.up.{label}"] = scale(1)
        arrays[f"layers.{i}.norm.weight"] = 1 + scale(8) * i
    return arrays


def nf4(count: int = 6) -> Arrays:
    arrays: Arrays = {}
    for i in range(count):
        name = f"model.layers.{i}.mlp.up_proj.weight"
        arrays[name] = whole(i, 32, 1).astype(np.uint8)
        arrays[f"{name}.absmax"] = scale(2)
        arrays[f"{name}.quant_map"] = np.linspace(-1, 1, 16, dtype=np.float32)
        arrays[f"{name}.quant_state.bitsandbytes__nf4"] = np.frombuffer(b'{"blocksize": 64}', np.uint8)
    arrays["model.embed_tokens.weight"] = scale(16, 4)
    return arrays


def gptq(count: int = 6) -> Arrays:
    arrays: Arrays = {}
    for i in range(count):
        module = f"model.layers.{i}.mlp.up_proj"
        arrays[f"{module}.qweight"] = whole(i, 4, 8).astype(np.int32)
        arrays[f"{module}.qzeros"] = whole(i, 2, 1).astype(np.int32)
        arrays[f"{module}.scales"] = scale(2, 8)
        arrays[f"{module}.g_idx"] = np.arange(32, dtype=np.int32) // 16
        arrays[f"{module}.bias"] = scale(8)
    return arrays


def awq() -> Arrays:
    return {name: array for name, array in gptq().items() if not name.endswith("g_idx")}


def mxfp4(count: int = 6) -> Arrays:
    arrays: Arrays = {}
    for i in range(count):
        for which in ("gate_up_proj", "down_proj"):
            name = f"model.layers.{i}.mlp.experts.{which}"
            arrays[f"{name}_blocks"] = whole(i, 2, 4, 2, 16).astype(np.uint8)
            arrays[f"{name}_scales"] = whole(i, 2, 4, 2).astype(np.uint8)
            arrays[f"{name}_bias"] = scale(2, 4)
    return arrays


def compressed(count: int = 6) -> Arrays:
    arrays: Arrays = {}
    for i in range(count):
        module = f"model.layers.{i}.self_attn.q_proj"
        arrays[f"{module}.weight_packed"] = whole(i, 8, 4).astype(np.int32)
        arrays[f"{module}.weight_scale"] = scale(8, 1)
        arrays[f"{module}.weight_zero_point"] = whole(i, 1, 1).astype(np.int32)
        arrays[f"{module}.weight_shape"] = np.array([8, 32], np.int64)
    return arrays


def nvfp4(count: int = 6) -> Arrays:
    arrays: Arrays = {}
    for i in range(count):
        module = f"model.layers.{i}.self_attn.q_proj"
        arrays[f"{module}.weight"] = whole(i, 8, 4).astype(np.uint8)
        arrays[f"{module}.weight_scale"] = fp8(i, 8, 2)
        arrays[f"{module}.weight_scale_2"] = scale()
        arrays[f"{module}.input_scale"] = scale()
    return arrays


def torchao() -> Arrays:
    arrays: Arrays = {}
    for i in range(4):
        module = f"model.layers.{i}.mlp.up_proj"
        arrays[f"{module}._weight_qdata"] = whole(i).astype(np.int8)
        arrays[f"{module}._weight_scale"] = scale(8, 1)
        arrays[f"{module}._weight_zero_point"] = np.zeros((8, 1), np.int8)
    return arrays


def int8(count: int = 6) -> Arrays:
    arrays: Arrays = {}
    for i in range(count):
        module = f"layers.{i}.fc"
        arrays |= {f"{module}.weight": whole(i).astype(np.int8), f"{module}.SCB": scale(8)}
        arrays[f"{module}.weight_format"] = np.array(0, np.uint8)
    return arrays


def quanto(count: int = 6) -> Arrays:
    arrays: Arrays = {}
    for i in range(count):
        name = f"layers.{i}.fc.weight"
        arrays |= {f"{name}._data._data": whole(i).astype(np.uint8), f"{name}._scale": scale(8, 1)}
        arrays[f"{name}._shift"] = scale(8, 1)
    return arrays


def hqq(count: int = 6) -> Arrays:
    arrays: Arrays = {}
    for i in range(count):
        module = f"layers.{i}.fc"
        arrays |= {f"{module}.W_q": whole(i).astype(np.uint8), f"{module}.scale": scale(8, 1)}
        arrays |= {f"{module}.zero": scale(8, 1), f"{module}.shape": np.array([8, 8])}
    return arrays


def mlx(count: int = 6) -> Arrays:
    arrays: Arrays = {}
    for i in range(count):
        module = f"model.layers.{i}.mlp.up_proj"
        arrays |= {f"{module}.weight": whole(i, 8, 4).astype(np.uint32), f"{module}.scales": scale(8, 1)}
        arrays[f"{module}.biases"] = scale(8, 1)
    return arrays


@pytest.mark.parametrize(
    "arrays",
    [
        *(
            scaled_fp8(label)
            for label in ("weight_scale", "weight_scale_inv", "scale_weight", "weight._scale", "scale")
        ),
        *(make() for make in (nf4, gptq, awq, mxfp4, compressed, nvfp4, torchao, int8, quanto, hqq, mlx)),
    ],
)
def test_healthy_packings_are_quiet(arrays: Arrays) -> None:
    assert told(arrays) == []


@pytest.mark.parametrize(
    "label", ["weight_scale", "weight_scale_inv", "scale_weight", "qscale_weight", "weight._scale", "weight_scales"]
)
def test_one_of_twenty_fp8_weights_has_no_scale(label: str) -> None:
    arrays = scaled_fp8(label)
    del arrays[f"layers.7.up.{label}"]
    (finding,) = told(arrays)
    assert (finding.severity, finding.rule) == ("error", "companion-missing")
    assert finding.tensor == "layers.7.up.weight"
    assert finding.evidence == (
        f"it has no tensor {label}, but 19 of 20 layers.#.up.weight have one: layers.{{0-6, 8-19}}.up.weight"
    )


def test_a_scale_of_another_name_is_a_scale() -> None:
    arrays = scaled_fp8("weight_scale")
    arrays["layers.7.up.weight_scale_inv"] = arrays.pop("layers.7.up.weight_scale")
    assert told(arrays) == []


@pytest.mark.parametrize(
    ("make", "lost", "tensor"),
    [
        (gptq, "model.layers.2.mlp.up_proj.scales", "model.layers.2.mlp.up_proj.qweight"),
        (gptq, "model.layers.2.mlp.up_proj.qzeros", "model.layers.2.mlp.up_proj.qweight"),
        (awq, "model.layers.5.mlp.up_proj.scales", "model.layers.5.mlp.up_proj.qweight"),
        (
            mxfp4,
            "model.layers.0.mlp.experts.down_proj_scales",
            "model.layers.0.mlp.experts.down_proj_blocks",
        ),
        (nf4, "model.layers.3.mlp.up_proj.weight.absmax", "model.layers.3.mlp.up_proj.weight"),
        (nf4, "model.layers.3.mlp.up_proj.weight.quant_map", "model.layers.3.mlp.up_proj.weight"),
        (
            nf4,
            "model.layers.3.mlp.up_proj.weight.quant_state.bitsandbytes__nf4",
            "model.layers.3.mlp.up_proj.weight",
        ),
        (compressed, "model.layers.1.self_attn.q_proj.weight_scale", "model.layers.1.self_attn.q_proj.weight_packed"),
        (nvfp4, "model.layers.1.self_attn.q_proj.weight_scale", "model.layers.1.self_attn.q_proj.weight"),
        (nvfp4, "model.layers.1.self_attn.q_proj.weight_scale_2", "model.layers.1.self_attn.q_proj.weight"),
        (torchao, "model.layers.0.mlp.up_proj._weight_scale", "model.layers.0.mlp.up_proj._weight_qdata"),
        (int8, "layers.4.fc.SCB", "layers.4.fc.weight"),
        (quanto, "layers.4.fc.weight._scale", "layers.4.fc.weight._data._data"),
        (hqq, "layers.4.fc.scale", "layers.4.fc.W_q"),
        (hqq, "layers.4.fc.zero", "layers.4.fc.W_q"),
        (mlx, "model.layers.4.mlp.up_proj.scales", "model.layers.4.mlp.up_proj.weight"),
    ],
)
def test_a_companion_is_absent(make: Callable[[], Arrays], lost: str, tensor: str) -> None:
    arrays = make()
    del arrays[lost]
    assert said(arrays) == {("error", "companion-missing", tensor)}


@pytest.mark.parametrize(
    ("make", "lost", "evidence"),
    [
        (
            gptq,
            "model.layers.2.mlp.up_proj.scales",
            "it has no tensor scales, but 5 of 6 model.layers.#.mlp.up_proj.qweight have one: "
            "model.layers.{0-1, 3-5}.mlp.up_proj.qweight",
        ),
        (
            mxfp4,
            "model.layers.2.mlp.experts.down_proj_scales",
            "it has no tensor down_proj_scales, but 5 of 6 model.layers.#.mlp.experts.down_proj_blocks have one: "
            "model.layers.{0-1, 3-5}.mlp.experts.down_proj_blocks",
        ),
        (
            gptq,
            "model.layers.2.mlp.up_proj.qweight",
            "its weight is absent, but 5 of 6 model.layers.#.mlp.up_proj.qweight are here: "
            "model.layers.{0-1, 3-5}.mlp.up_proj.qweight",
        ),
    ],
)
def test_every_tensor_that_is_named_exists(make: Callable[[], Arrays], lost: str, evidence: str) -> None:
    arrays = make()
    del arrays[lost]
    assert {finding.evidence for finding in told(arrays)} == {evidence}


@pytest.mark.parametrize("ending", ["weight_zero_point", "weight_shape"])
def test_what_a_mixed_recipe_may_leave_out_is_a_warning(ending: str) -> None:
    arrays = compressed()
    del arrays[f"model.layers.2.self_attn.q_proj.{ending}"]
    assert said(arrays) == {("warning", "companion-missing", "model.layers.2.self_attn.q_proj.weight_packed")}
    del arrays[f"model.layers.3.self_attn.q_proj.{ending}"]
    assert told(arrays) == [], "two of six were quantised otherwise"


def test_weights_of_a_kind_of_their_own_without_a_scale() -> None:
    arrays = scaled_fp8("weight_scale_inv", 10)
    arrays |= {f"mtp.0.{name}.weight": fp8(3) for name in ("e_proj", "h_proj")}
    arrays["embed_tokens.weight"] = fp8(4)
    assert said(arrays) == {
        ("error", "companion-missing", "mtp.0.e_proj.weight"),
        ("error", "companion-missing", "mtp.0.h_proj.weight"),
        ("warning", "companion-missing", "embed_tokens.weight"),
    }
    assert "10 of 13 weights of type float8_e4m3fn have one" in told(arrays)[0].evidence


def test_weights_that_were_only_cast_to_fp8_need_no_scale() -> None:
    assert told({f"layers.{i}.up.weight": fp8(i) for i in range(8)}) == []
    assert told({"a.weight": fp8(0), "b.weight": fp8(1), "b.weight_scale": scale(1)}) == [], "two say too little"


def test_layers_that_were_left_out_of_the_quantisation_need_no_scale() -> None:
    arrays = scaled_fp8("weight_scale")
    arrays["layers.7.up.weight"] = np.asarray(arrays["layers.7.up.weight"], np.float32)
    del arrays["layers.7.up.weight_scale"]
    packed = nf4()
    for name in [name for name in packed if ".layers.2." in name]:
        del packed[name]
    packed["model.layers.2.mlp.up_proj.weight"] = scale(8, 8)
    assert told(arrays) == told(packed) == []


def test_packed_weights_none_of_which_has_a_scale() -> None:
    arrays = {name: array for name, array in gptq().items() if name.endswith("qweight")}
    assert said(arrays) == {("warning", "companion-missing", name) for name in arrays}


@pytest.mark.parametrize(
    ("make", "lost", "alone"),
    [
        (lambda: scaled_fp8("weight_scale"), "layers.7.up.weight", "layers.7.up.weight_scale"),
        (lambda: scaled_fp8("weight_scale_inv"), "layers.7.up.weight", "layers.7.up.weight_scale_inv"),
        (gptq, "model.layers.2.mlp.up_proj.qweight", "model.layers.2.mlp.up_proj.qzeros"),
        (nf4, "model.layers.2.mlp.up_proj.weight", "model.layers.2.mlp.up_proj.weight.absmax"),
        (mxfp4, "model.layers.2.mlp.experts.down_proj_blocks", "model.layers.2.mlp.experts.down_proj_scales"),
    ],
)
def test_a_companion_without_its_weight(make: Callable[[], Arrays], lost: str, alone: str) -> None:
    arrays = make()
    del arrays[lost]
    (finding,) = told(arrays)
    assert (finding.severity, finding.rule, finding.tensor) == ("error", "companion-alone", alone)
    assert finding.evidence.startswith("its weight is absent, but ")


def test_a_scale_of_a_kind_of_its_own_without_its_weight() -> None:
    arrays = scaled_fp8("weight_scale") | {"head.proj.weight_scale": scale(1), "lm_head.weight_scale": scale(1)}
    assert said(arrays) == {("error", "companion-alone", "head.proj.weight_scale")}


@pytest.mark.parametrize(
    "names",
    [
        ["logit_scale", "layer_scale", "blocks.0.norm.scale", "blocks.1.norm.scale"],
        [f"layers.{i}.attn.{which}_scale" for i in range(4) for which in ("k", "v")],
        [f"layers.{i}.up.{last}" for i in range(4) for last in ("weight_trellis", "weight_scale")],
        [f"layers.{i}.up.{last}" for i in range(4) for last in ("q_weight", "scales")],
    ],
)
def test_names_that_end_like_a_scale(names: Iterable[str]) -> None:
    assert told(dict.fromkeys(names, scale(4))) == []


def test_what_another_shard_may_have_is_not_missed(tmp_path: Path) -> None:
    arrays = scaled_fp8("weight_scale")
    lost = arrays.pop("layers.7.up.weight_scale")
    first = tmp_path / "model-00001-of-00002.safetensors"
    save_file(arrays, first)
    with open_source(first) as source:
        assert not _RULES & {finding.rule for finding in check(source).findings}
    save_file({"layers.7.up.bias": lost}, tmp_path / "model-00002-of-00002.safetensors")
    with open_source(tmp_path) as source:
        assert [finding.tensor for finding in check(source).findings if finding.rule in _RULES] == [
            "layers.7.up.weight"
        ]


def test_a_weight_that_could_not_be_read_is_there() -> None:
    arrays = scaled_fp8("weight_scale")
    assert told(arrays, unreadable={"layers.7.up.weight": "its bytes are gone"}) == []


# bitsandbytes


def doubly(count: int = 3) -> Arrays:
    arrays = nf4(count)
    for name in [name for name in arrays if name.endswith(".absmax")]:
        owner = name.removesuffix(".absmax")
        arrays[name] = whole(1, 2).astype(np.uint8)
        arrays[f"{owner}.nested_absmax"] = scale(1)
        arrays[f"{owner}.nested_quant_map"] = np.linspace(-1, 1, 256, dtype=np.float32)
    return arrays


@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("last", ["nested_absmax", "nested_quant_map"])
def test_quantised_absmax_need_what_restores_them(count: int, last: str) -> None:
    arrays = doubly(count)
    assert told(arrays) == told(nf4(count)) == []
    owner = "model.layers.0.mlp.up_proj.weight"
    del arrays[f"{owner}.{last}"]
    (finding,) = told(arrays)
    assert (finding.severity, finding.rule, finding.tensor) == ("error", "companion-missing", owner)
    assert finding.evidence == (f"its absmax are codes of 8 bits, but {last} is absent: its values cannot be told")


def test_all_weights_lack_both_that_restore_their_absmax() -> None:
    arrays = {name: array for name, array in doubly(4).items() if "nested" not in name}
    found = told(arrays)
    assert len(found) == 4
    assert found[0].evidence.startswith("its absmax are codes of 8 bits, but nested_absmax and nested_quant_map are")


@pytest.mark.parametrize(("last", "label"), [("quant_map", "quant_map"), ("bitsandbytes__nf4", "quant_state")])
def test_all_weights_lack_their_map_or_their_state(last: str, label: str) -> None:
    arrays = {name: array for name, array in nf4(2).items() if not name.endswith(last)}
    found = told(arrays)
    assert {(finding.severity, finding.rule) for finding in found} == {("error", "companion-missing")}
    assert {finding.evidence for finding in found} == {f"it has an absmax, but no {label}: its values cannot be told"}
    assert len(found) == 2
