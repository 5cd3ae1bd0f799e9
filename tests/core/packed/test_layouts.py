"""Packed weights against slow packers and unpackers of their own, written from the layouts that the libraries document.

``test_against_libraries.py`` has those that install on a CPU. Those of GPTQ (AutoGPTQ 0.7.1, ``qlinear_cuda_old.py``),
AWQ (AutoAWQ 0.2.9, ``packing_utils.py``), gpt-oss (transformers 5.24, ``integrations/mxfp4.py``), DeepSeek-V3
(``inference/kernel.py``, ``weight_dequant``) and modelopt 0.47 do not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.core.packed.logical_files import complaints, logical
from tests.factories_memory import MemorySource
from tui_params import open_source
from tui_params.core.packed.logical import LogicalSource
from tui_params.core.stored_codes import may_be_packed
from tui_params.errors import ReadError

RANDOM = np.random.default_rng(5)
WAYS = "8 bits in groups of 32 or 4 bits in groups of 64 or 2 bits in groups of 128"
E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]


def save(folder: Path, tensors: dict[str, Any], config: dict[str, Any] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def words(codes: Any, bits: int, order: tuple[int, ...] | None = None) -> Any:
    """The codes of each row in words of 32 bits, one after the other from the lowest bit; one word after the other."""
    rows = []
    for row in codes.tolist():
        number = 0
        for place, code in enumerate(row):
            if order is not None:
                place = place // 8 * 8 + order.index(place % 8)
            number |= code << (place * bits)
        count = -(-len(row) * bits // 32)
        rows.append([number >> (32 * at) & 0xFFFFFFFF for at in range(count)])
    return np.array(rows, np.uint32).view(np.int32)


def check(folder: Path, expected: Any, name: str = "fc.weight") -> None:
    """The weight is the expected array, whole, by blocks and in windows."""
    with logical(folder) as source:
        info = source.find(name)
        assert info.shape == expected.shape
        assert info.dtype.name == expected.dtype.name
        width = {2: np.uint16, 4: np.uint32}[expected.dtype.itemsize]
        bits = np.ascontiguousarray(expected).view(width)
        assert (source.read(name).view(width) == bits).all()
        blocks = np.concatenate([np.array(block) for block in source.blocks(info, 8, 72)])
        assert blocks.tobytes() == bits.reshape(-1)[8:72].tobytes()
        part = np.ascontiguousarray(source.read(name, "[..., ::-3, 5:30:2]"))
        assert (part.view(width) == bits[..., ::-3, 5:30:2]).all()
        assert (np.ascontiguousarray(source.read(name, "[..., 7]")).view(width) == bits[..., 7]).all()
    assert complaints(folder) == []


def gptq(bits: int, *, is_v2: bool, order: Any = None, outputs: int = 64, inputs: int = 96) -> tuple[Any, Any]:
    """The tensors of a GPTQ weight in groups of 32, and the weight."""
    codes = RANDOM.integers(0, 1 << bits, (inputs, outputs))
    points = RANDOM.integers(1, 1 << bits, (inputs // 32, outputs))
    scales = RANDOM.random((inputs // 32, outputs)).astype(np.float16)
    groups = np.arange(inputs) // 32 if order is None else order
    weight = np.empty((outputs, inputs), np.float16)
    for row in range(outputs):
        for column in range(inputs):
            group = groups[column]
            product = np.float32(codes[column, row] - points[group, row]) * np.float32(scales[group, row])
            weight[row, column] = product
    stored = points if is_v2 else points - 1
    tensors = {
        "fc.qweight": words(codes.T, bits).T,
        "fc.qzeros": words(stored, bits),
        "fc.scales": scales,
        "fc.g_idx": groups.astype(np.int32),
    }
    return tensors, weight


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("is_v2", [False, True])
@pytest.mark.parametrize("is_permuted", [False, True])
def test_gptq(tmp_path: Path, bits: int, is_v2: bool, is_permuted: bool) -> None:
    order = RANDOM.permutation(np.arange(96) // 32) if is_permuted else None
    tensors, weight = gptq(bits, is_v2=is_v2, order=order)
    config = {"quantization_config": {"quant_method": "gptq", "checkpoint_format": "gptq_v2" if is_v2 else "gptq"}}
    check(save(tmp_path / "model", tensors, config), weight)
    with logical(tmp_path / "model") as source:
        found = source.packed("fc.weight")
        assert found is not None
        assert found.method == f"GPTQ{' v2' if is_v2 else ''} int{bits}"


QUANTIZE_CONFIG: dict[str, Any] = {
    "bits": 4, "group_size": 32, "damp_percent": 0.01, "desc_act": False, "static_groups": False, "sym": True,
    "true_sequential": True, "model_name_or_path": "quantised", "model_file_base_name": "gptq_model-4bit-32g",
    "quant_method": "gptq", "checkpoint_format": "gptq_v2",
}  # fmt: skip
"""As AutoGPTQ writes it: ``BaseQuantizeConfig.to_dict``."""


def method_of(path: Path) -> str:
    with logical(path) as source:
        found = source.packed("fc.weight")
        assert found is not None
        return found.method


def test_gptq_of_which_a_file_of_its_own_says_how(tmp_path: Path) -> None:
    tensors, weight = gptq(4, is_v2=True)
    folder = save(tmp_path / "model", tensors, {"model_type": "opt"})
    file = (folder / "model.safetensors").rename(folder / "gptq_model-4bit-32g.safetensors")
    beside = folder / "quantize_config.json"
    beside.write_text(json.dumps(QUANTIZE_CONFIG))
    for path in (folder, file):
        check(path, weight)
        assert method_of(path) == "GPTQ v2 int4"
    # Releases before the second format do not name one.
    beside.write_text(json.dumps({"bits": 4, "group_size": 32}))
    assert method_of(folder) == "GPTQ int4"
    (folder / "config.json").write_text('{"quantization_config": {"checkpoint_format": "gptq_v2"}}')
    beside.write_text(json.dumps(QUANTIZE_CONFIG | {"checkpoint_format": "gptq"}))
    assert method_of(folder) == "GPTQ v2 int4"
    for damaged in ("[]", "{", '{"bits": {"a": 1}, "checkpoint_format": ["gptq_v2"]}'):
        beside.write_text(damaged)
        (folder / "config.json").unlink(missing_ok=True)
        assert method_of(folder).startswith("GPTQ int4")


def test_awq_of_which_a_file_of_its_own_says_how(tmp_path: Path) -> None:
    tensors, _ = gptq(4, is_v2=False)
    folder = save(tmp_path / "model", tensors)
    (folder / "quant_config.json").write_text('{"zero_point": true, "q_group_size": 32, "w_bit": 4, "version": "GEMM"}')
    with open_source(folder) as source:
        stated = {key: value for key, value in source.listing.stated.items() if "quantize_config" in key}
    assert stated == {"config.quantize_config.bits": "4", "config.quantize_config.group_size": "32"}


def test_gptq_without_an_order(tmp_path: Path) -> None:
    tensors, weight = gptq(4, is_v2=False)
    del tensors["fc.g_idx"]
    check(save(tmp_path / "model", tensors), weight)


def pack_quantized(inputs: int, group: int) -> tuple[Any, Any]:
    """The tensors of a weight of compressed-tensors in int4, whose last group may be cut, and the weight."""
    codes, count = RANDOM.integers(0, 16, (6, inputs)), -(-inputs // group)
    scales, shape = RANDOM.random((6, count), np.float32), np.array([6, inputs])
    tensors = {"fc.weight_packed": words(codes, 4), "fc.weight_scale": scales, "fc.weight_shape": shape}
    return tensors, (codes - 8).astype(np.float32) * np.repeat(scales, group, 1)[:, :inputs]


def test_a_last_group_that_is_cut_needs_a_stated_size(tmp_path: Path) -> None:
    stated = {"quantization_config": {"config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 32}}}}}
    # 3 groups of 33 would have other scales from input 32 on, as would 2 of 48.
    for inputs in (99, 33, 96, 31):
        tensors, weight = pack_quantized(inputs, 32)
        check(save(tmp_path / f"{inputs}", tensors, stated), weight)
    tensors, _ = pack_quantized(99, 32)
    with logical(save(tmp_path / "unstated", tensors)) as source:
        why = "99 inputs have 4 groups, and their size is stated nowhere"
        assert source.packings.untold == {"fc.weight_packed": why}


def test_gptq_with_a_last_group_that_is_cut(tmp_path: Path) -> None:
    tensors, weight = gptq(4, is_v2=False, order=np.arange(128) // 48, inputs=128)
    tensors = {name: value[:3] if name in ("fc.scales", "fc.qzeros") else value for name, value in tensors.items()}
    with logical(save(tmp_path / "unstated", tensors)) as source:
        packed = source.packed("fc.weight")
        assert packed is not None
        assert packed.group is None
        assert (source.read("fc.weight") == weight).all()
    del tensors["fc.g_idx"]
    with logical(save(tmp_path / "without an order", tensors)) as source:
        assert source.packed("fc.weight") is None
    check(save(tmp_path / "stated", tensors, {"quantization_config": {"group_size": 48}}), weight)


def test_a_zero_point_of_gptq_beyond_the_codes_is_0(tmp_path: Path) -> None:
    tensors, _ = gptq(4, is_v2=False)
    tensors["fc.qzeros"] = np.full_like(tensors["fc.qzeros"], -1)
    with logical(save(tmp_path / "model", tensors)) as source:
        assert (source.read("fc.weight") >= 0).all()


def test_a_group_without_scales_is_refused_when_it_is_read(tmp_path: Path) -> None:
    tensors, weight = gptq(4, is_v2=False)
    tensors["fc.g_idx"][50] = 9
    with logical(save(tmp_path / "model", tensors)) as source:
        with pytest.raises(ReadError, match=r"g_idx names group 9, and there are scales for 3 groups"):
            source.read("fc.weight")
        assert (source.read("fc.weight", "[:, :50]") == weight[:, :50]).all()


def test_a_negative_group_is_refused_unless_all_are_minus_one(tmp_path: Path) -> None:
    tensors, weight = gptq(4, is_v2=False)
    with logical(save(tmp_path / "none", tensors | {"fc.g_idx": np.full(96, -1, np.int32)})) as source:
        assert (source.read("fc.weight") == weight).all()
    tensors["fc.g_idx"][50] = -1
    with logical(save(tmp_path / "one", tensors)) as source:
        for part in ("", "[:, 50]"):
            with pytest.raises(ReadError, match=r"^fc\.g_idx names group -1: no group is negative$"):
                source.read("fc.weight", part)
        assert (source.read("fc.weight", "[:, :50]") == weight[:, :50]).all()


def test_awq(tmp_path: Path) -> None:
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    codes, points = RANDOM.integers(0, 16, (96, 64)), RANDOM.integers(0, 16, (3, 64))
    scales = RANDOM.random((3, 64)).astype(np.float16)
    product = (codes - points.repeat(32, 0)).astype(np.float32) * scales.astype(np.float32).repeat(32, 0)
    tensors = {
        "fc.qweight": words(codes, 4, order),
        "fc.qzeros": words(points, 4, order),
        "fc.scales": scales,
    }
    check(save(tmp_path / "model", tensors), product.T.astype(np.float16))


@pytest.mark.parametrize("shape", [(256, 384), (200, 300), (192, 96), (96, 192), (3, 192, 160), (2, 192, 96)])
@pytest.mark.parametrize("is_stated", [False, True])
def test_deepseek(tmp_path: Path, shape: tuple[int, ...], is_stated: bool) -> None:
    codes = RANDOM.standard_normal(shape).astype(ml_dtypes.float8_e4m3fn)
    scales = RANDOM.random((*shape[:-2], -(-shape[-2] // 128), -(-shape[-1] // 128)), np.float32)
    spread = scales.repeat(128, -1).repeat(128, -2)[..., : shape[-2], : shape[-1]]
    weight = (codes.astype(np.float32) * spread).astype(ml_dtypes.bfloat16)
    stated: dict[str, Any] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    config = {"torch_dtype": "bfloat16", "quantization_config": stated if is_stated else {"quant_method": "fp8"}}
    tensors = {"fc.weight": codes, "fc.weight_scale_inv": scales}
    check(save(tmp_path / "model", tensors, config), weight)


@pytest.mark.parametrize("shape", [(192, 1), (1, 1)])
def test_scales_of_rows_where_blocks_are_stated(tmp_path: Path, shape: tuple[int, int]) -> None:
    codes, scales = RANDOM.standard_normal((192, 96)).astype(ml_dtypes.float8_e4m3fn), RANDOM.random(shape, np.float32)
    config = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
    tensors = {"fc.weight": codes, "fc.weight_scale_inv": scales}
    check(save(tmp_path / "model", tensors, config), codes.astype(np.float32) * scales)


def nibbles(codes: Any) -> Any:
    return (codes[..., ::2] | codes[..., 1::2] << 4).astype(np.uint8)


def test_gpt_oss(tmp_path: Path) -> None:
    codes, scales = RANDOM.integers(0, 16, (3, 20, 96)), RANDOM.integers(105, 123, (3, 20, 3)).astype(np.uint8)
    values = np.array(E2M1, np.float32)[codes] * np.exp2(scales.astype(np.float32) - 127).repeat(32, -1)
    tensors = {
        "experts.gate_up_proj_blocks": nibbles(codes).reshape(3, 20, 3, 16),
        "experts.gate_up_proj_scales": scales,
    }
    expected = values.swapaxes(1, 2).astype(ml_dtypes.bfloat16)
    check(save(tmp_path / "model", tensors), expected, "experts.gate_up_proj")
    with logical(tmp_path / "model") as source:
        assert source.find("experts.gate_up_proj").notes[-1] == "stored as gate_up_proj_blocks, gate_up_proj_scales"


def test_nvfp4_of_modelopt(tmp_path: Path) -> None:
    codes = RANDOM.integers(0, 16, (40, 96))
    scales = (RANDOM.random((40, 6)) * 400).astype(ml_dtypes.float8_e4m3fn)
    spread = (scales.astype(np.float32) * np.float32(0.013)).repeat(16, 1)
    expected = (np.array(E2M1, np.float32)[codes] * spread).astype(ml_dtypes.bfloat16)
    tensors = {
        "fc.weight": nibbles(codes),
        "fc.weight_scale": scales,
        "fc.weight_scale_2": np.array(0.013, np.float32),
    }
    check(save(tmp_path / "model", tensors), expected)


@pytest.mark.parametrize("has_inputs", [False, True])
@pytest.mark.parametrize("group", [32, 64])
def test_awq_of_modelopt(tmp_path: Path, group: int, has_inputs: bool) -> None:
    codes, scales = RANDOM.integers(-8, 8, (40, 96)), RANDOM.random((40, -(-96 // group))).astype(np.float32)
    tensors = {"fc.weight": nibbles((codes & 15).T).T, "fc.weight_scale": scales}
    expected = codes.astype(np.float32) * scales.repeat(group, 1)[:, :96]
    if has_inputs:
        tensors["fc.pre_quant_scale"] = RANDOM.random(96).astype(np.float32)
        expected *= tensors["fc.pre_quant_scale"]
    stated = {"quantization_config": {"group_size": group}}
    check(save(tmp_path / "model", tensors, stated), expected.astype(ml_dtypes.bfloat16))


def test_scales_of_another_shape_are_no_awq_of_modelopt(tmp_path: Path) -> None:
    codes = np.ones((20, 96), np.uint8)
    for scales in (np.ones((20, 3), np.float32), np.ones((40, 5), np.float32), np.ones(40, np.float32)):
        with logical(save(tmp_path / "model", {"fc.weight": codes, "fc.weight_scale": scales})) as source:
            assert list(source.packings.untold) == ["fc.weight"]
    save(tmp_path / "model", {"fc.weight": codes, "fc.weight_scale": np.ones((40, 3), np.float16)})
    with logical(tmp_path / "model") as source:
        assert source.find("fc.weight").shape == (40, 96)


SAVED = "a torchao.quantization.IntxUnpackedToInt8Tensor of shape [48, 64], torch.bfloat16"


def saved(metadata: dict[str, str]) -> LogicalSource:
    """The parts of a tensor of torchao, as the reader of torch.save lists them."""
    random = np.random.default_rng(3)
    tensors = {
        "fc.weight.qdata": random.integers(-8, 8, (48, 64)).astype(np.int8),
        "fc.weight.scale": random.random((48, 2)).astype(ml_dtypes.bfloat16),
        "fc.weight.zero_point": random.integers(-2, 3, (48, 2)).astype(np.int8),
    }
    return LogicalSource(MemorySource(tensors, metadata=metadata))


@pytest.mark.parametrize("block", ["[1, 32]", "(1, 32)"])
def test_torchao_by_torch_save(block: str) -> None:
    with saved({"step": "3", "fc": "x", "fc.weight": SAVED, "fc.weight.block_size": block}) as source:
        codes, scales, zeros = (source.stored.read(info.name).astype(np.float32) for info in source.stored)
        expected = ((codes - zeros.repeat(32, 1)) * scales.repeat(32, 1)).astype(ml_dtypes.bfloat16)
        assert (source.read("fc.weight") == expected).all()
        assert dict(source.listing.metadata) == {"step": "3", "fc": "x"}
        assert source.find("fc.weight").notes == (
            "packed: torchao IntxUnpackedToInt8",
            "8.75 bits a weight, groups of 32",
            "stored as .qdata, .scale, .zero_point",
        )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (SAVED.replace("IntxUnpackedToInt8", "Int4"), "how the codes of torchao's Int4Tensor lie is not known here"),
        (SAVED.replace("bfloat16", "int8"), "it stands for int8, which is no floating type"),
    ],
)  # fmt: skip
def test_other_tensors_of_torchao_are_not_told(said: str, why: str) -> None:
    with saved({"fc.weight": said}) as source:
        assert source.packings.untold == {"fc.weight.qdata": why}
    with saved({}) as source:
        assert not source.packings.untold
        assert not source.packings.weights


@pytest.mark.parametrize(("bits", "axis"), [(4, 0), (4, 1), (2, 1), (8, 0), (3, 1)])
def test_hqq(tmp_path: Path, bits: int, axis: int) -> None:
    shape, group = (24, 80), 64
    width = group if axis else 24 * 80 // group
    rows = 24 * 80 // width
    codes = RANDOM.integers(0, 1 << bits, (rows, width))
    per_word = 10 if bits == 3 else 8 // bits
    padded = np.zeros((-(-rows // per_word) * per_word, width), np.int64)
    padded[:rows] = codes
    packed = np.zeros((padded.shape[0] // per_word, width), np.int64)
    for part in np.split(padded, per_word):
        packed = packed << bits | part
    scale, zero = (RANDOM.random((rows, 1) if axis else (1, width)).astype(np.float16) for _ in range(2))
    steps = (codes.astype(np.float32) - zero.astype(np.float32)).astype(np.float16)
    expected = (steps.astype(np.float32) * scale.astype(np.float32)).astype(np.float16).reshape(shape)
    text = np.frombuffer(b"3bit_32" if bits == 3 else f"{bits}bit_u8".encode(), np.uint8)
    tensors = {
        "fc.W_q": packed.astype(np.int32 if bits == 3 else np.uint8), "fc.scale": scale, "fc.zero": zero,
        "fc.shape": np.array(shape), "fc.nbits": np.array([bits]), "fc.group_size": np.array([group]),
        "fc.axis": np.array([axis]), "fc.packing": text,
    }  # fmt: skip
    check(save(tmp_path / "model", tensors), expected)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_mlx(tmp_path: Path, bits: int) -> None:
    codes = RANDOM.integers(0, 1 << bits, (24, 128))
    scales, biases = (RANDOM.standard_normal((24, 2)).astype(np.float16) for _ in range(2))
    product = (codes.astype(np.float32) * scales.astype(np.float32).repeat(64, 1)).astype(np.float16)
    expected = (product.astype(np.float32) + biases.astype(np.float32).repeat(64, 1)).astype(np.float16)
    tensors = {"fc.weight": words(codes, bits).view(np.uint32), "fc.scales": scales, "fc.biases": biases}
    config = {"quantization": {"group_size": 64, "bits": bits}}
    check(save(tmp_path / "model", tensors, config), expected)


def test_a_layer_that_was_saved_by_itself(tmp_path: Path) -> None:
    codes = RANDOM.integers(0, 16, (24, 128))
    scales, biases = (RANDOM.standard_normal((24, 2)).astype(np.float32) for _ in range(2))
    of_mlx = {"weight": words(codes, 4).view(np.uint32), "scales": scales, "biases": biases}
    config = {"quantization": {"group_size": 64, "bits": 4}}
    expected = codes.astype(np.float32) * scales.repeat(64, 1) + biases.repeat(64, 1)
    check(save(tmp_path / "mlx", of_mlx, config), expected, "weight")
    with logical(save(tmp_path / "alone", of_mlx)) as source:
        why = f"the bits of a code and the size of a group are stated nowhere ({WAYS})"
        assert source.packings.untold == {"weight": why}
    # No other number of bits makes so many words of so many codes.
    fives = {**of_mlx, "weight": words(RANDOM.integers(0, 32, (24, 128)), 5).view(np.uint32)}
    with logical(save(tmp_path / "fives", fives)) as source:
        assert source.packings.weights[0].method == "MLX int5"
        assert source.find("weight").shape == (24, 128)
    bytes_of_scales = RANDOM.integers(100, 140, (24, 8)).astype(np.uint8)
    nvfp4 = {"weight": of_mlx["weight"], "scales": bytes_of_scales}
    with logical(save(tmp_path / "nvfp4", nvfp4)) as source:
        assert source.packings.weights[0].method == "MLX nvfp4"
    named, expected = gptq(4, is_v2=False)
    of_gptq = {name.removeprefix("fc."): value for name, value in named.items()}
    check(save(tmp_path / "gptq", of_gptq), expected, "weight")
    assert may_be_packed(MemorySource(of_gptq).listing.tensors, {})
    of_int8 = {"weight": codes.astype(np.int8), "SCB": np.ones(24, np.float32)}
    check(save(tmp_path / "int8", of_int8), (codes * np.float32(1 / 127)).astype(np.float16), "weight")


def test_what_cannot_be_told_stays_as_it_is_stored_and_says_why(tmp_path: Path) -> None:
    tensors, _ = gptq(4, is_v2=False)
    del tensors["fc.scales"]
    words_alone = {"other.weight": np.zeros((8, 16), np.uint32), "other.scales": np.ones((8, 2), np.float16)}
    with logical(save(tmp_path / "model", tensors | words_alone)) as source:
        assert set(source.names()) == {*tensors, *words_alone}
        assert source.packings.untold == {
            "fc.qweight": "fc.scales is missing",
            "other.weight": "other.biases is missing",
        }
        assert source.find("fc.qweight").notes[-1] == "packed, but its values cannot be told: fc.scales is missing"


def test_companions_of_another_shape_are_refused(tmp_path: Path) -> None:
    for key, value in (
        ("fc.scales", np.ones((2, 64), np.float16)),
        ("fc.qzeros", np.ones((3, 7), np.int32)),
        ("fc.g_idx", np.zeros(95, np.int32)),
        ("fc.scales", np.ones((3, 64), np.int32)),
        ("fc.qweight", np.ones((12, 64), np.int64)),
    ):
        tensors, _ = gptq(4, is_v2=False)
        with logical(save(tmp_path / "model", tensors | {key: value})) as source:
            assert list(source.packings.untold) == ["fc.qweight"]
            assert not source.packings.weights


def test_totals_are_those_of_the_file(tmp_path: Path) -> None:
    tensors, weight = gptq(4, is_v2=False)
    tensors["fc.bias"] = np.zeros(64, np.float16)
    with logical(save(tmp_path / "model", tensors)) as source:
        infos = source.listing.tensors
        assert [info.name for info in infos] == ["fc.weight", "fc.bias"] or {info.name for info in infos} == {
            "fc.weight",
            "fc.bias",
        }
        assert sum(info.nbytes for info in infos) == sum(value.nbytes for value in tensors.values())
        assert sum(info.numel for info in infos) == weight.size + 64
        found = source.packed("fc.weight")
        assert found is not None
        assert (found.method, found.group) == ("GPTQ int4, read as v1: no config.json says v1 or v2", 32)
        assert found.bits_per_weight == pytest.approx(8 * (sum(v.nbytes for v in tensors.values()) - 128) / weight.size)


def test_statistics_are_those_of_the_restored_values(tmp_path: Path) -> None:
    tensors, weight = gptq(4, is_v2=False, outputs=256, inputs=1024)
    with logical(save(tmp_path / "model", tensors)) as source:
        figures = source.summarize("fc.weight").figures(weight.size)
        wide = weight.astype(np.float64)
        assert figures.is_exact
        assert figures.mean == pytest.approx(wide.mean(), rel=1e-12)
        assert figures.std == pytest.approx(wide.std(), rel=1e-12)
        assert (figures.min, figures.max) == (wide.min(), wide.max())
        assert figures.zeros == (wide == 0).sum()
