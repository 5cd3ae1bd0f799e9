"""Packed weights that real libraries wrote, restored bit for bit as they do; ``just formats`` has them all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.core.packed.logical_files import complaints, logical
from tui_params.core.packed.weight import PackedWeight

pytestmark = pytest.mark.formats

TYPES = ("float32", "bfloat16", "float16")


def bits_of(values: Any) -> Any:
    """The bit patterns of a tensor of torch or an array, NaN included."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().contiguous()
        width = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[values.element_size()]
        values = values.view(width).numpy()
    else:
        values = np.ascontiguousarray(values).view({1: np.uint8, 2: np.int16, 4: np.int32}[values.dtype.itemsize])
    return values


def expect(folder: Path, tensors: dict[str, Any], restored: Any, config: dict[str, Any] | None = None) -> PackedWeight:
    """Write the tensors, and compare the logical weight with what the library restores, whole and in windows."""
    name = "fc.weight"
    metadata = config.pop("metadata", None) if config else None
    contents = {key: value.contiguous().clone() for key, value in tensors.items()}
    save_file(contents, folder / "model.safetensors", metadata=metadata)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    with logical(folder) as source:
        info = source.find(name)
        assert info.shape == tuple(restored.shape)
        assert info.dtype.name == str(restored.dtype).removeprefix("torch.")
        expected = bits_of(restored)
        assert (bits_of(source.read(name)) == expected).all()
        rows, columns = restored.shape[-2:]
        for row, column in ((0, 0), (rows // 2, columns // 3), (rows - 3, columns - 5)):
            part = f"[..., {row}:{row + 3}, {column}:{column + 5}]"
            assert (bits_of(source.read(name, part)) == expected[..., row : row + 3, column : column + 5]).all()
        assert (bits_of(source.read(name, "[..., ::-7, 1::3]")) == expected[..., ::-7, 1::3]).all()
        blocks = np.concatenate([np.array(block) for block in source.blocks(info)])
        assert blocks.tobytes() == expected.tobytes()
        weight = source.packed(name)
        assert weight is not None
        assert {part.name for part in weight.parts} == set(tensors) - {"fc.bias"}
    assert complaints(folder) == []
    return weight


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("shape", [(48, 64), (7, 9), (3, 130), (6, 1024)])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("is_nested", [False, True])
def test_bitsandbytes_4_bits(tmp_path: Path, kind: str, shape: tuple[int, int], dtype: str, is_nested: bool) -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(getattr(torch, dtype))
    packed, state = functional.quantize_4bit(weight, quant_type=kind, compress_statistics=is_nested)
    tensors = {"fc.weight": packed}
    tensors |= {f"fc.weight.{key}": value for key, value in state.as_dict(packed=True).items()}
    restored = functional.dequantize_4bit(packed, state)
    # Whether code 8 of fp4 is 0 or -0 depends on the kernel that the shape chooses; the stored map has 0.
    found = expect(tmp_path, tensors, torch.where(restored == 0, torch.zeros_like(restored), restored))
    assert (found.group, kind in found.method) == (64, True)


def test_a_run_and_a_pipeline_with_a_model_in_8_bits(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("bitsandbytes")
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(**sizes, num_hidden_layers=2, vocab_size=128)
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "plain")
    model = transformers.LlamaForCausalLM.from_pretrained(
        tmp_path / "plain",
        quantization_config=transformers.BitsAndBytesConfig(load_in_8bit=True),
        device_map="cpu",
        dtype=torch.bfloat16,
    )
    run, whole = tmp_path / "run", tmp_path / "whole"
    for folder in (run, whole / "text_encoder"):
        model.save_pretrained(folder)
    head = torch.nn.Parameter(model.lm_head.weight.detach().float())
    head.grad = torch.ones_like(head)
    optimizer = torch.optim.AdamW([head])
    optimizer.step()
    torch.save(optimizer.state_dict(), run / "optimizer.pt")
    (whole / "model_index.json").write_text(json.dumps({"text_encoder": ["transformers", "LlamaForCausalLM"]}))
    for folder, prefix in ((run, ""), (whole, "text_encoder.")):
        with logical(folder) as source:
            weight = source.packed(f"{prefix}model.layers.1.mlp.up_proj.weight")
            assert weight is not None
            # No stored tensor has the type of the model: its config.json states it.
            assert (weight.dtype.name, len(source.packings.weights)) == ("bfloat16", 14)
            layer = model.model.layers[1].mlp.up_proj
            restored = layer.weight.CB.float() * layer.weight.SCB[:, None] * np.float32(1 / 127)
            assert (bits_of(source.read(weight.name)) == bits_of(restored.to(torch.bfloat16))).all()
        assert complaints(folder) == []


def test_bitsandbytes_8_bits(tmp_path: Path) -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    weight = torch.randn(48, 64, generator=torch.Generator().manual_seed(1)).half()
    codes, scales, _ = functional.int8_vectorwise_quant(weight)
    tensors = {"fc.weight": codes, "fc.SCB": scales, "fc.weight_format": torch.tensor(0, dtype=torch.uint8)}
    restored = functional.int8_vectorwise_dequant(codes, scales)
    expect(tmp_path, tensors, restored, {"dtype": "float32"})


@pytest.mark.parametrize(
    "preset",
    ["W4A16", "W4A16_ASYM", "NVFP4A16", "MXFP4A16", "W8A8", "W8A16", "FP8", "FP8_DYNAMIC", "FP8_BLOCK"],
)
@pytest.mark.parametrize("shape", [(384, 256), (128, 128)])
def test_compressed_tensors(tmp_path: Path, preset: str, shape: tuple[int, int]) -> None:
    quantization = pytest.importorskip("compressed_tensors.quantization")
    from compressed_tensors.compressors import compress_module, decompress_module

    generator = torch.Generator().manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(shape[1], shape[0], bias=False).to(torch.bfloat16))
    groups = {"group": quantization.preset_name_to_scheme(preset, ["Linear"])}
    config = quantization.QuantizationConfig(config_groups=groups)
    quantization.apply_quantization_config(model, config)
    layer = model[0]
    with torch.no_grad():
        layer.weight.normal_(generator=generator).mul_(0.02)
        scale = torch.rand(layer.weight_scale.shape, generator=generator) * 0.01 + 1e-3
        scale = scale * 9000 if preset == "NVFP4A16" else torch.exp2(scale.log2().round()) if "MX" in preset else scale
        layer.weight_scale.copy_(scale.to(layer.weight_scale.dtype))
        if "ASYM" in preset:
            layer.weight_zero_point.random_(-8, 8, generator=generator)
        if hasattr(layer, "weight_global_scale"):
            layer.weight_global_scale.fill_(1234.5)
    compress_module(layer)
    tensors = {f"fc.{key}": value.clone() for key, value in layer.state_dict().items() if "weight" in key}
    decompress_module(layer)
    stated = {"quantization_config": config.model_dump(mode="json"), "dtype": "bfloat16"}
    expect(tmp_path, tensors, layer.weight, stated)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
def test_words_of_compressed_tensors(tmp_path: Path, bits: int) -> None:
    helpers = pytest.importorskip("compressed_tensors.compressors.pack_quantized.helpers")
    codes = torch.randint(-(1 << (bits - 1)), 1 << (bits - 1), (16, 96), dtype=torch.int8)
    scale = torch.rand(16, 3)
    tensors = {
        "fc.weight_packed": helpers.pack_to_int32(codes, bits),
        "fc.weight_scale": scale,
        "fc.weight_shape": torch.tensor([16, 96]),
    }
    restored = codes.float() * scale.repeat_interleave(32, 1)
    stated = {"quantization_config": {"config_groups": {"group": {"weights": {"num_bits": bits}}}}}
    expect(tmp_path, tensors, restored, stated)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", ["qint8", "qfloat8_e4m3fn", "qfloat8_e5m2"])
def test_quanto_8_bits(tmp_path: Path, kind: str, dtype: str) -> None:
    quanto = pytest.importorskip("optimum.quanto")
    layer = torch.nn.Linear(96, 40, bias=False).to(getattr(torch, dtype))
    quantized = quanto.QLinear.from_module(layer, weights=getattr(quanto, kind))
    quantized.freeze()
    tensors = {f"fc.{key}": value for key, value in quantized.state_dict().items() if key.startswith("weight")}
    expect(tmp_path, tensors, quantized.weight.dequantize())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("kind", "inputs"), [("qint4", 256), ("qint2", 256), ("qint4", 100), ("qint2", 100)])
@pytest.mark.parametrize("outputs", [40, 33])
def test_quanto_4_bits(tmp_path: Path, kind: str, inputs: int, outputs: int, dtype: str) -> None:
    quanto = pytest.importorskip("optimum.quanto")
    if dtype == "bfloat16" and kind == "qint4" and inputs == 256:
        outputs = 48  # a kernel for multiples of 16 takes over
    layer = torch.nn.Linear(inputs, outputs).to(getattr(torch, dtype))
    quantized = quanto.QLinear.from_module(layer, weights=getattr(quanto, kind))
    quantized.freeze()
    tensors = {
        f"fc.{key}": value for key, value in quantized.state_dict().items() if key.startswith(("weight", "bias"))
    }
    expect(tmp_path, tensors, quantized.weight.dequantize())


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("dtype", TYPES)
def test_hqq(tmp_path: Path, bits: int, axis: int, dtype: str) -> None:
    quantize = pytest.importorskip("hqq.core.quantize")
    config = quantize.BaseQuantizeConfig(nbits=bits, group_size=64, axis=axis)
    layer = quantize.HQQLinear(
        torch.nn.Linear(128, 96, bias=False), config, compute_dtype=getattr(torch, dtype), device="cpu"
    )
    tensors = {f"fc.{key}": value for key, value in layer.state_dict().items()}
    expect(tmp_path, tensors, layer.dequantize())


def torchao_model(name: str) -> Any:
    """A model of one quantised layer, fc."""
    quantization = pytest.importorskip("torchao.quantization")
    config = {
        "int8": lambda: quantization.Int8WeightOnlyConfig(),
        "fp8": lambda: quantization.Float8WeightOnlyConfig(),
        "intx": lambda: quantization.IntxWeightOnlyConfig(
            weight_dtype=torch.int4, granularity=quantization.PerGroup(32)
        ),
    }[name]()
    model = torch.nn.Sequential()
    model.add_module("fc", torch.nn.Linear(64, 48, bias=False).to(torch.bfloat16))
    quantization.quantize_(model, config)
    return model


@pytest.mark.parametrize("name", ["int8", "fp8", "intx"])
def test_torchao(tmp_path: Path, name: str) -> None:
    model = torchao_model(name)
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict

    tensors, metadata = flatten_tensor_state_dict(model.state_dict())
    expect(tmp_path, tensors, model.fc.weight.dequantize(), {"metadata": metadata, "dtype": "bfloat16"})


@pytest.mark.parametrize("name", ["int8", "fp8", "intx"])
def test_torchao_by_torch_save(tmp_path: Path, name: str) -> None:
    model = torchao_model(name)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    expected = bits_of(model.fc.weight.dequantize())
    with logical(tmp_path / "model.pt") as source:
        assert list(source.names()) == ["fc.weight"]
        assert (bits_of(source.read("fc.weight")) == expected).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("dtype", TYPES)
def test_mlx_affine(tmp_path: Path, bits: int, group: int, dtype: str) -> None:
    mx = pytest.importorskip("mlx.core")
    weight = mx.random.normal((24, 256), key=mx.random.key(2)).astype(getattr(mx, dtype))
    packed, scales, biases = mx.quantize(weight, group_size=group, bits=bits)
    restored = mx.dequantize(packed, scales, biases, group_size=group, bits=bits)
    mlx_expect(tmp_path, {"scales": scales, "biases": biases}, packed, restored, {"bits": bits, "group_size": group})


@pytest.mark.parametrize(("mode", "bits", "group"), [("mxfp4", 4, 32), ("nvfp4", 4, 16), ("mxfp8", 8, 32)])
def test_mlx_floating(tmp_path: Path, mode: str, bits: int, group: int) -> None:
    mx = pytest.importorskip("mlx.core")
    weight = mx.random.normal((24, 256), key=mx.random.key(2)).astype(mx.bfloat16)
    packed, scales = mx.quantize(weight, group_size=group, bits=bits, mode=mode)
    restored = mx.dequantize(packed, scales, group_size=group, bits=bits, mode=mode)
    mlx_expect(tmp_path, {"scales": scales}, packed, restored, {"bits": bits, "group_size": group, "mode": mode})


def mlx_expect(folder: Path, beside: dict[str, Any], packed: Any, restored: Any, stated: dict[str, Any]) -> None:
    """The same for arrays of MLX, which writes the file itself."""
    mx = pytest.importorskip("mlx.core")
    arrays = {"fc.weight": packed} | {f"fc.{key}": value for key, value in beside.items()}
    mx.save_safetensors(str(folder / "model.safetensors"), arrays, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps({"quantization": stated}))
    expected = np.array(restored.view(mx.uint16 if restored.dtype != mx.float32 else mx.uint32))
    with logical(folder) as source:
        found = source.read("fc.weight")
        assert source.find("fc.weight").dtype.name == str(restored.dtype).removeprefix("mlx.core.")
        assert (found.view(expected.dtype) == expected).all()
        assert (source.read("fc.weight", "[3:9, 5:130:4]").view(expected.dtype) == expected[3:9, 5:130:4]).all()


@pytest.mark.parametrize("code", ["INT8", "UINT16", "INT32", "INT4", "UINT2", "FLOAT8E5M2", "FLOAT4E2M1"])
@pytest.mark.parametrize("scale_type", ["FLOAT", "FLOAT16", "BFLOAT16"])
@pytest.mark.parametrize("has_zero", [False, True])
def test_onnx(tmp_path: Path, code: str, scale_type: str, has_zero: bool) -> None:
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    helper, kinds = onnx.helper, onnx.TensorProto
    generator = np.random.default_rng(7)
    is_float = code.startswith("FLOAT")

    def made(name: str, kind: str, values: Any) -> Any:
        array = np.asarray(values).astype(helper.tensor_dtype_to_np_dtype(getattr(kinds, kind)))
        return onnx.numpy_helper.from_array(array, name)

    ways: list[tuple[tuple[int, ...], dict[str, int]]] = [
        ((), {}),
        ((1,), {"axis": 0}),
        ((6,), {"axis": 0}),
        ((10,), {"axis": -1}),
        ((2, 10), {"axis": 0, "block_size": 4}),
        ((6, 3), {"axis": 1, "block_size": 4}),
    ]
    for number, (shape, attributes) in enumerate(ways):
        for result in (None, "FLOAT", "FLOAT16", "BFLOAT16"):
            stated = attributes if result is None else attributes | {"output_dtype": getattr(kinds, result)}
            low, high = (0, 4) if "UINT" in code else (-2, 2)
            parts = [
                made("W_quantized", code, generator.integers(low, high, (6, 10))),
                made("W_scale", scale_type, generator.random(shape) + 0.01),
            ]
            if has_zero:
                points = np.zeros(shape) if is_float else generator.integers(low, high, shape)
                parts.append(made("W_zero_point", code, points))
            node = helper.make_node("DequantizeLinear", [part.name for part in parts], ["W"], **stated)
            output = helper.make_tensor_value_info("W", getattr(kinds, result or scale_type), (6, 10))
            graph = helper.make_graph([node], "g", [], [output], parts)
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)])
            due = reference.ReferenceEvaluator(model).run(None, {})[0]
            path = tmp_path / f"{number}_{result}.onnx"
            path.write_bytes(model.SerializeToString())
            with logical(path) as source:
                assert source.names() == ["W"]
                found = source.read("W")
                assert found.dtype == due.dtype
                assert found.tobytes() == due.tobytes()
                part = np.ascontiguousarray(source.read("W", "[::-2, 1::3]"))
                assert part.tobytes() == np.ascontiguousarray(due[::-2, 1::3]).tobytes()
            assert complaints(path) == []
