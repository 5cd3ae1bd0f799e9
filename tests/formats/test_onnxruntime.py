"""Weights that operators of onnxruntime use as codes, against what it computes with them and what its quantizers write.

Not among the usual tests: ``just formats`` installs onnxruntime and runs them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.core.packed.logical_files import complaints, logical

pytestmark = pytest.mark.formats

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
helper, kinds, from_array = onnx.helper, onnx.TensorProto, onnx.numpy_helper.from_array

RANDOM = np.random.default_rng(3)
OF_TYPE = {"float32": kinds.FLOAT, "float16": kinds.FLOAT16}


def graph(nodes: list[Any], parts: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, int]) -> Any:
    """A model; parts that are no arrays are ready tensors."""
    made = [from_array(each, name) if isinstance(each, np.ndarray) else each for name, each in parts.items()]
    taken = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(each.dtype), each.shape)
        for name, each in inputs.items()
    ]
    given = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    found = helper.make_graph(nodes, "g", taken, given, made)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(found, opset_imports=opsets, ir_version=10)


def session(model: Any) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def restored(path: Path, model: Any, name: str = "W") -> Any:
    """The logical weight, read whole after it was read in windows."""
    path.write_bytes(model.SerializeToString())
    with logical(path) as source:
        assert source.packings.untold == {}
        assert source.packed(name) is not None
        whole = source.read(name)
        for text, window in (("[::-2, 1::3]", np.s_[::-2, 1::3]), ("[2:5, 17:23]", np.s_[2:5, 17:23])):
            if whole.ndim == 2:
                part = np.ascontiguousarray(source.read(name, text))
                assert part.tobytes() == np.ascontiguousarray(whole[window]).tobytes()
    assert complaints(path) == []
    return whole


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zero", ["none", "packed", "float", "groups", "float and groups"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("inputs", "outputs", "block"), [(64, 32, 16), (100, 24, 32), (40, 7, 64), (256, 16, 128)])
@pytest.mark.parametrize("is_flat", [False, True])
def test_matmul_n_bits(
    tmp_path: Path, bits: int, zero: str, dtype: str, inputs: int, outputs: int, block: int, is_flat: bool
) -> None:
    blocks = -(-inputs // block)
    laid = (-1,) if is_flat else (outputs, -1)
    parts = {
        f"W_Q{bits}": RANDOM.integers(0, 256, (outputs, blocks, block * bits // 8)).astype(np.uint8),
        "W_scales": (RANDOM.random((outputs, blocks)) * 0.1 + 0.01).astype(dtype).reshape(laid),
    }
    if zero == "packed":
        packed = RANDOM.integers(0, 256, (outputs, -(-blocks * bits // 8))).astype(np.uint8)
        parts["W_zero_points"] = packed.reshape(laid)
    elif "float" in zero:
        parts["W_zero_points"] = (RANDOM.random((outputs, blocks)) * 2**bits).astype(dtype).reshape(laid)
    names = ["A", *parts]
    if "groups" in zero:
        parts["g_idx"] = RANDOM.permutation(np.arange(inputs) // block).astype(np.int32)
        names += ["", "g_idx"] if len(names) == 3 else ["g_idx"]
    attributes = {"K": inputs, "N": outputs, "bits": bits, "block_size": block}
    node = helper.make_node("MatMulNBits", names, ["Y"], domain="com.microsoft", **attributes)
    unit = np.eye(inputs, dtype=dtype)
    model = graph([node], parts, {"A": unit}, {"Y": OF_TYPE[dtype]})
    if "groups" in zero and bits != 4:
        # It computes something else than its description says, or refuses.
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        with logical(tmp_path / "m.onnx") as source:
            assert "g_idx means beside such codes is not certain" in source.packings.untold[f"W_Q{bits}"]
        return
    found = restored(tmp_path / "m.onnx", model)
    assert (found.shape, found.dtype.name) == ((outputs, inputs), dtype)
    if bits == 8 and zero == "float":
        return  # Its CPU kernel refuses these.
    due = session(model).run(None, {"A": unit})[0].T
    assert np.ascontiguousarray(due).tobytes() == found.tobytes()


@pytest.mark.parametrize("kind", ["uint2", "uint4", "uint8", "INT4", "UINT4"])
@pytest.mark.parametrize("has_zero", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("size", [64, 72, 16])
def test_gather_block_quantized(tmp_path: Path, kind: str, has_zero: bool, dtype: str, size: int) -> None:
    rows, block = 9, 32
    blocks = -(-size // block)
    bits = int(kind[-1])
    is_packed = kind.islower()
    parts: dict[str, Any] = {}

    def add(name: str, width: int) -> None:
        if is_packed:
            parts[name] = RANDOM.integers(0, 256, (rows, -(-width * bits // 8))).astype(np.uint8)
        else:
            low, high = (0, 16) if kind == "UINT4" else (-8, 8)
            values = RANDOM.integers(low, high, (rows, width))
            parts[name] = helper.make_tensor(name, getattr(kinds, kind), (rows, width), values.reshape(-1))

    add("W_Q4", size)
    parts["W_scales"] = (RANDOM.random((rows, blocks)) * 0.1 + 0.01).astype(dtype)
    names = ["W_Q4", "places", "W_scales"]
    if has_zero:
        add("W_zero_points", blocks)
        names.append("W_zero_points")
    attributes = {"block_size": block, "quantize_axis": 1, "gather_axis": 0}
    if is_packed:
        attributes["bits"] = bits
    node = helper.make_node("GatherBlockQuantized", names, ["Y"], domain="com.microsoft", **attributes)
    places = np.arange(rows)
    model = graph([node], parts, {"places": places}, {"Y": OF_TYPE[dtype]})
    found = restored(tmp_path / "m.onnx", model)
    due = session(model).run(None, {"places": places})[0]
    assert (found.shape, found.dtype.name) == ((rows, size), dtype)
    assert due.tobytes() == found.tobytes()


@pytest.mark.parametrize("operator", ["MatMulIntegerToFloat", "QGemm", "QGemm transposed", "MatMulInteger"])
@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("has_zero", [False, True])
def test_codes_of_8_bits(tmp_path: Path, operator: str, kind: str, per_column: bool, has_zero: bool) -> None:
    inputs, outputs = 24, 33
    is_transposed = operator.endswith("transposed")
    shape = (outputs, inputs) if is_transposed else (inputs, outputs)
    info = np.iinfo(kind)
    each = (outputs,) if per_column else ()
    parts = {
        "W_quantized": RANDOM.integers(info.min, info.max + 1, shape).astype(kind),
        "W_scale": np.asarray(RANDOM.random(each) + 0.01, np.float32),
        "W_zero_point": np.asarray(RANDOM.integers(info.min, info.max + 1, each), kind),
        "one": np.asarray(1, np.float32),
        "nought": np.asarray(0, np.uint8),
    }
    if not has_zero:
        del parts["W_zero_point"]
    zero = "W_zero_point" if has_zero else ""
    unit = np.eye(inputs, dtype=np.uint8)
    name, domain = operator.partition(" ")[0], "com.microsoft"
    taken: dict[str, Any] = {"A": unit}
    if name == "MatMulInteger":
        # As quantize_dynamic writes it.
        taken = {"A": unit.astype(np.float32)}
        nodes = [
            helper.make_node("DynamicQuantizeLinear", ["A"], ["q", "q_scale", "q_zero"]),
            helper.make_node("Mul", ["q_scale", "W_scale"], ["scales"]),
            helper.make_node("MatMulInteger", ["q", "W_quantized", "q_zero", zero], ["whole"]),
            helper.make_node("Cast", ["whole"], ["cast"], to=kinds.FLOAT),
            helper.make_node("Mul", ["cast", "scales"], ["Y"]),
        ]
    elif name == "QGemm":
        names = ["A", "one", "nought", "W_quantized", "W_scale", zero or "nought"]
        if not has_zero:
            # The kernel wants one.
            parts["nought_b"] = np.zeros(each, kind)
            names[-1] = "nought_b"
        nodes = [helper.make_node(name, names, ["Y"], domain=domain, transB=int(is_transposed))]
    else:
        names = ["A", "W_quantized", "one", "W_scale", "nought", zero]
        nodes = [helper.make_node(name, names, ["Y"], domain=domain)]
    model = graph(nodes, parts, taken, {"Y": kinds.FLOAT})
    found = restored(tmp_path / "m.onnx", model)
    (due,) = session(model).run(None, taken)
    due = due.T if is_transposed else due
    assert found.shape == shape
    if name == "MatMulInteger":
        # The codes of the other side are 0 and 255, and its scale is rounded.
        np.testing.assert_allclose(found, due, rtol=1e-5, atol=1e-6)
    else:
        assert np.ascontiguousarray(due).tobytes() == found.tobytes()


class Samples:
    """The data that quantize_static asks for."""

    def __init__(self, feeds: dict[str, Any]) -> None:
        self._left = [feeds]

    def get_next(self) -> Any:
        return self._left.pop() if self._left else None


def small_model(path: Path, dtype: str = "float32") -> dict[str, Any]:
    """An embedding, two matrices and a convolution, and their weights."""
    weights = {
        "embed.weight": RANDOM.standard_normal((20, 64)).astype(dtype),
        "fc.weight": RANDOM.standard_normal((64, 48)).astype(dtype),
        "gemm.weight": RANDOM.standard_normal((32, 48)).astype(dtype),
        "conv.weight": RANDOM.standard_normal((8, 1, 3, 3)).astype(dtype),
    }
    nodes = [
        helper.make_node("Gather", ["embed.weight", "ids"], ["a"], name="gather"),
        helper.make_node("Tanh", ["a"], ["tanh"], name="tanh"),
        helper.make_node("MatMul", ["tanh", "fc.weight"], ["b"], name="matmul"),
        helper.make_node("Gemm", ["b", "gemm.weight"], ["c"], name="gemm", transB=1),
        helper.make_node("Reshape", ["c", "shape"], ["d"], name="reshape"),
        helper.make_node("Unsqueeze", ["d", "axes"], ["e"], name="unsqueeze"),
        helper.make_node("Conv", ["e", "conv.weight"], ["Y"], name="conv", pads=[1, 1, 1, 1]),
    ]
    parts = {**weights, "shape": np.array([-1, 32]), "axes": np.array([1, 2])}
    model = graph(nodes, parts, {"ids": np.arange(6)}, {"Y": OF_TYPE[dtype]})
    path.write_bytes(model.SerializeToString())
    return weights


def compare_restored(path: Path, weights: dict[str, Any], share: float, names: set[str]) -> None:
    """The weights of these names are packed, and restored as near as their codes allow."""
    with logical(path) as source:
        assert source.packings.untold == {}
        assert {weight.name for weight in source.packings.weights} >= names
        for name in names:
            found, due = source.read(name), weights[name]
            found = found.T if found.shape != due.shape else found
            assert np.abs(found - due).max() <= share * np.abs(due).max()
    assert complaints(path) == []


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("is_symmetric", [False, True])
@pytest.mark.parametrize("form", ["QOperator", "QDQ"])
def test_the_quantizer_of_few_bits(tmp_path: Path, bits: int, is_symmetric: bool, form: str) -> None:
    quantizer = pytest.importorskip("onnxruntime.quantization.matmul_nbits_quantizer")
    if bits != 4 and form == "QDQ":
        pytest.skip("it leaves such a model as it is")
    weights = small_model(tmp_path / "plain.onnx")
    operators = ("MatMul", "Gather") if form == "QOperator" and bits == 4 else ("MatMul",)
    config = quantizer.DefaultWeightOnlyQuantConfig(
        block_size=32,
        is_symmetric=is_symmetric,
        bits=bits,
        quant_format=getattr(quantizer.QuantFormat, form),
        op_types_to_quantize=operators,
    )
    made = quantizer.MatMulNBitsQuantizer(onnx.load(tmp_path / "plain.onnx"), algo_config=config)
    made.process()
    made.model.save_model_to_file(str(tmp_path / "m.onnx"))
    names = {"fc.weight", *(["embed.weight"] if "Gather" in operators else [])}
    compare_restored(tmp_path / "m.onnx", weights, {2: 0.7, 4: 0.15, 8: 0.01}[bits], names)


def test_the_quantizer_with_zero_points_that_are_floats(tmp_path: Path) -> None:
    quantizer = pytest.importorskip("onnxruntime.quantization.matmul_nbits_quantizer")
    weights = small_model(tmp_path / "plain.onnx")
    config = quantizer.HQQWeightOnlyQuantConfig(block_size=32, bits=4)
    made = quantizer.MatMulNBitsQuantizer(onnx.load(tmp_path / "plain.onnx"), algo_config=config)
    made.process()
    made.model.save_model_to_file(str(tmp_path / "m.onnx"))
    compare_restored(tmp_path / "m.onnx", weights, 0.15, {"fc.weight"})


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
def test_quantize_dynamic(tmp_path: Path, per_channel: bool, kind: str) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    weights = small_model(tmp_path / "plain.onnx")
    quantization.quantize_dynamic(
        tmp_path / "plain.onnx",
        tmp_path / "m.onnx",
        per_channel=per_channel,
        weight_type=getattr(quantization.QuantType, kind),
        op_types_to_quantize=["MatMul", "Gather", "Conv", "Gemm"],
    )
    compare_restored(tmp_path / "m.onnx", weights, 0.02, {"embed.weight", "fc.weight", "conv.weight"})


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("form", ["QOperator", "QDQ"])
def test_quantize_static(tmp_path: Path, per_channel: bool, form: str) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    weights = small_model(tmp_path / "plain.onnx")
    quantization.quantize_static(
        tmp_path / "plain.onnx",
        tmp_path / "m.onnx",
        Samples({"ids": np.arange(6)}),
        quant_format=getattr(quantization.QuantFormat, form),
        per_channel=per_channel,
        weight_type=quantization.QuantType.QInt8,
        activation_type=quantization.QuantType.QUInt8,
    )
    compare_restored(tmp_path / "m.onnx", weights, 0.02, {"fc.weight", "conv.weight", "gemm.weight"})
