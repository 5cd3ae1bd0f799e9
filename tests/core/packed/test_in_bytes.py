"""Initialisers of ONNX that operators of onnxruntime use as codes, against slow unpackers of their own.

``just formats`` has them against onnxruntime itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.packed.logical_files import complaints, logical
from tests.core.packed.test_linear import part, written
from tests.factories_flips import flipped
from tests.factories_onnx import field, model, restoring, tensor
from tui_params.errors import OpenError, ReadError, SliceError

RANDOM = np.random.default_rng(12)
ORT = "com.microsoft"
SHORT = {2: "uint2", 4: "uint4", 8: "u8"}


def codes_of(raw: Any, bits: int, count: int) -> Any:
    """The first codes of each row of bytes, lowest bits first."""
    rows = []
    for row in raw.reshape(len(raw), -1).tolist():
        whole = int.from_bytes(bytes(row), "little")
        rows.append([whole >> (bits * at) & ((1 << bits) - 1) for at in range(count)])
    return np.array(rows, np.float32)


def n_bits(inputs: int, outputs: int, bits: int, block: int, zero: str) -> tuple[dict[str, Any], Any]:
    """The tensors of a MatMulNBits node and the weight: outputs by inputs."""
    blocks = -(-inputs // block)
    parts: dict[str, Any] = {
        f"fc.weight_Q{bits}": RANDOM.integers(0, 256, (outputs, blocks, block * bits // 8)).astype(np.uint8),
        "fc.weight_scales": RANDOM.random((outputs, blocks)).astype(np.float32),
    }
    codes = codes_of(parts[f"fc.weight_Q{bits}"], bits, inputs)
    scales = np.repeat(parts["fc.weight_scales"], block, 1)[:, :inputs]
    zeros: Any = np.full((outputs, blocks), 1 << (bits - 1), np.float32)
    if zero == "packed":
        raw = RANDOM.integers(0, 256, (outputs, -(-blocks * bits // 8))).astype(np.uint8)
        parts["fc.weight_zero_points"], zeros = raw, codes_of(raw, bits, blocks)
    elif zero == "float":
        zeros = parts["fc.weight_zero_points"] = (RANDOM.random((outputs, blocks)) * 2**bits).astype(np.float32)
    zeros = np.repeat(zeros, block, 1)[:, :inputs]
    return parts, codes * scales - zeros * scales if zero == "float" else (codes - zeros) * scales


def using(parts: dict[str, Any], inputs: int, outputs: int, bits: int, block: int, **more: int) -> bytes:
    names = ["A", *[name for name in parts if name != "g_idx"]]
    if "g_idx" in parts:
        names += [""] * (4 - len(names)) + ["g_idx"]
    return restoring(names, "y", ORT, "MatMulNBits", K=inputs, N=outputs, bits=bits, block_size=block, **more)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zero", ["none", "packed", "float"])
@pytest.mark.parametrize(("inputs", "outputs", "block"), [(100, 6, 32), (64, 5, 16), (20, 7, 64)])
@pytest.mark.parametrize("is_flat", [False, True])
def test_matmul_n_bits(
    tmp_path: Path, bits: int, zero: str, inputs: int, outputs: int, block: int, is_flat: bool
) -> None:
    parts, due = n_bits(inputs, outputs, bits, block, zero)
    if is_flat:
        # As models of older versions have them.
        parts = {name: values.reshape(-1) if values.ndim == 2 else values for name, values in parts.items()}
    path = written(tmp_path, parts, using(parts, inputs, outputs, bits, block, accuracy_level=4))
    with logical(path) as source:
        (info,) = source.listing.tensors
        assert (info.name, info.shape, info.dtype.name) == ("fc.weight", (outputs, inputs), "float32")
        assert info.notes[0] == f"packed: ONNX MatMulNBits {SHORT[bits]}, outputs by inputs"
        assert info.notes[1].endswith(f"groups of {min(block, inputs)}")
        assert info.nbytes == sum(values.nbytes for values in parts.values())
        assert source.read("fc.weight").tobytes() == due.tobytes()
        for text, window in (("[1:4, 17:20]", np.s_[1:4, 17:20]), ("[::-2, 1::3]", np.s_[::-2, 1::3])):
            part = np.ascontiguousarray(source.read("fc.weight", text))
            assert part.tobytes() == np.ascontiguousarray(due[window]).tobytes()
        blocks = np.concatenate([np.array(each) for each in source.blocks(info, 7, 55)])
        assert blocks.tobytes() == due.reshape(-1)[7:55].tobytes()
    assert complaints(path) == []


@pytest.mark.parametrize("zero", ["none", "float"])
def test_inputs_in_groups_of_their_own(tmp_path: Path, zero: str) -> None:
    parts, _ = n_bits(100, 6, 4, 32, zero)
    groups = RANDOM.permutation(np.arange(100) // 32).astype(np.int32)
    parts["g_idx"] = groups
    codes = codes_of(parts["fc.weight_Q4"], 4, 100)
    scales = parts["fc.weight_scales"][:, groups]
    zeros = parts["fc.weight_zero_points"][:, groups] if zero == "float" else np.float32(8)
    due = codes * scales - zeros * scales
    with logical(written(tmp_path, parts, using(parts, 100, 6, 4, 32))) as source:
        assert source.read("fc.weight").tobytes() == due.tobytes()
        part = np.ascontiguousarray(source.read("fc.weight", "[2:, 40:90:7]"))
        assert part.tobytes() == np.ascontiguousarray(due[2:, 40:90:7]).tobytes()
    for wrong in (4, -1):
        parts["g_idx"] = np.full(100, wrong, np.int32)
        path = written(tmp_path, parts, using(parts, 100, 6, 4, 32))
        beyond = "g_idx has numbers of blocks beyond the 4 that there are"
        with logical(path) as source, pytest.raises(ReadError, match=beyond):
            source.read("fc.weight")


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("has_zero", [False, True])
@pytest.mark.parametrize("shape", [(5, 72), (2, 3, 40)])
def test_rows_that_are_gathered(tmp_path: Path, bits: int, has_zero: bool, shape: tuple[int, ...]) -> None:
    *rows, size = shape
    blocks = -(-size // 16)
    raw = RANDOM.integers(0, 256, (*rows, size * bits // 8)).astype(np.uint8)
    parts: dict[str, Any] = {"e.qweight": raw, "e.scales": RANDOM.random((*rows, blocks)).astype(np.float32)}
    flat = int(np.prod(rows))
    zeros: Any = np.float32(1 << (bits - 1))
    if has_zero:
        parts["e.qzeros"] = RANDOM.integers(0, 256, (*rows, -(-blocks * bits // 8))).astype(np.uint8)
        zeros = np.repeat(codes_of(parts["e.qzeros"].reshape(flat, -1), bits, blocks), 16, 1)[:, :size]
    scales = np.repeat(parts["e.scales"].reshape(flat, -1), 16, 1)[:, :size]
    due = ((codes_of(raw.reshape(flat, -1), bits, size) - zeros) * scales).reshape(shape)
    names = ["e.qweight", "ids", *list(parts)[1:]]
    stated = {"bits": bits, "block_size": 16, "quantize_axis": -1}
    path = written(tmp_path, parts, restoring(names, "y", ORT, "GatherBlockQuantized", **stated))
    with logical(path) as source:
        assert source.names() == ["e.weight"]
        assert source.find("e.weight").notes[0] == f"packed: ONNX GatherBlockQuantized {SHORT[bits]}"
        assert source.read("e.weight").tobytes() == due.tobytes()
        part = np.ascontiguousarray(source.read("e.weight", "[..., 1, 3:38:5]"))
        assert part.tobytes() == np.ascontiguousarray(due[..., 1, 3:38:5]).tobytes()
    assert complaints(path) == []


def test_rows_of_int4_that_are_gathered(tmp_path: Path) -> None:
    raw = RANDOM.integers(0, 256, (4, 20)).astype(np.uint8)
    codes = codes_of(raw, 4, 40)
    codes = np.where(codes > 7, codes - 16, codes)
    scales = RANDOM.random((4, 3)).astype(np.float32)
    node = restoring(["W_Q4", "ids", "W_scales"], "y", ORT, "GatherBlockQuantized", block_size=16)
    (tmp_path / "m.onnx").write_bytes(
        model([tensor("W_Q4", (4, 40), 22, raw=raw.tobytes()), part("W_scales", scales)], node)
    )
    with logical(tmp_path / "m.onnx") as source:
        due = (codes * np.repeat(scales, 16, 1)[:, :40]).astype(np.float32)
        assert source.read("W").tobytes() == due.tobytes()
        assert source.find("W").notes[0] == "packed: ONNX GatherBlockQuantized int4"


@pytest.mark.parametrize("per_output", [False, True])
@pytest.mark.parametrize(
    ("operator", "names", "outputs", "stated", "layout"),
    [
        ("QLinearMatMul", ["a", "sa", "za", "w", "s", "z", "sy", "zy"], 1, {}, ", inputs by outputs"),
        ("QLinearConv", ["a", "sa", "za", "w", "s", "z", "sy", "zy"], 0, {}, ""),
        ("QGemm", ["a", "sa", "za", "w", "s", "z"], 1, {}, ", inputs by outputs"),
        ("QGemm", ["a", "sa", "za", "w", "s", "z"], 0, {"transB": 1}, ", outputs by inputs"),
        ("MatMulIntegerToFloat", ["a", "w", "sa", "s", "za", "z"], 1, {}, ", inputs by outputs"),
        ("DynamicQuantizeMatMul", ["a", "w", "s", "z"], 1, {}, ", inputs by outputs"),
    ],
)
def test_codes_of_8_bits(
    tmp_path: Path, operator: str, names: list[str], outputs: int, stated: dict[str, int], layout: str, per_output: bool
) -> None:
    codes = RANDOM.integers(-128, 128, (6, 10)).astype(np.int8)
    each = codes.shape[outputs] if per_output else 1
    scales, points = RANDOM.random(each).astype(np.float32), RANDOM.integers(-9, 9, each).astype(np.int8)
    parts = {"w": codes, "s": scales, "z": points}
    node = restoring(names, "y", "" if "QLinear" in operator else ORT, operator, **stated)
    laid = (-1, 1) if outputs == 0 else (1, -1)
    due = (codes.astype(np.float32) - points.reshape(laid)) * scales.reshape(laid)
    path = written(tmp_path, parts, node)
    with logical(path) as source:
        assert source.names() == ["w"]
        assert source.find("w").notes[0] == f"packed: ONNX {operator} i8{layout}"
        assert source.read("w").tobytes() == due.tobytes()
    assert complaints(path) == []


CODES = RANDOM.integers(0, 256, (6, 10)).astype(np.uint8)
DYNAMIC = field(
    1, field(1, "x") + b"".join(field(2, name) for name in ("a", "sa", "za")) + field(4, "DynamicQuantizeLinear")
)
SCALES = restoring(["sa", "s"], "scales", "", "Mul")
WHOLE = restoring(["a", "w", "za", "z"], "whole", "", "MatMulInteger")
CAST = restoring(["whole"], "cast", "", "Cast", to=1)
TIMES = restoring(["cast", "scales"], "y", "", "Mul")


@pytest.mark.parametrize("operator", ["MatMulInteger", "ConvInteger"])
def test_integers_that_are_multiplied_by_both_scales(tmp_path: Path, operator: str) -> None:
    parts = {"w": CODES, "s": np.float32(0.5), "z": np.uint8(100)}
    whole = restoring(["a", "w", "za", "z"], "whole", "", operator)
    path = written(tmp_path, parts, DYNAMIC, SCALES, whole, CAST, TIMES)
    with logical(path) as source:
        assert source.names() == ["w"]
        assert source.read("w").tolist() == ((CODES.astype(np.float32) - 100) * 0.5).tolist()
    assert complaints(path) == []


@pytest.mark.parametrize(
    "nodes",
    [
        [WHOLE],
        [DYNAMIC, SCALES, WHOLE, TIMES],
        [SCALES, WHOLE, CAST, TIMES],
        [DYNAMIC, restoring(["s", "s"], "scales", "", "Mul"), WHOLE, CAST, TIMES],
        [DYNAMIC, restoring(["sa", "sa"], "scales", "", "Mul"), WHOLE, CAST, TIMES],
        [DYNAMIC, restoring(["sa", "made"], "scales", "", "Mul"), WHOLE, CAST, TIMES],
        [DYNAMIC, SCALES, WHOLE, CAST, restoring(["cast", "cast"], "y", "", "Mul")],
        [DYNAMIC, SCALES, WHOLE, CAST, restoring(["cast", "s"], "y", "", "Mul")],
        [DYNAMIC, SCALES, WHOLE, CAST, TIMES, restoring(["cast", "s"], "v", "", "Mul")],
        [DYNAMIC, SCALES, WHOLE, CAST, TIMES, restoring(["whole", "s"], "v", "", "Mul")],
    ],
)
def test_integers_whose_scale_is_not_certain(tmp_path: Path, nodes: list[bytes]) -> None:
    parts = {"w": CODES, "s": np.float32(0.5), "z": np.uint8(100)}
    with logical(written(tmp_path, parts, *nodes)) as source:
        assert source.packings.untold == {
            "w": "a node computes with its codes (MatMulInteger), and what comes out of it is not multiplied by the "
            "scale of its other side and one stored tensor"
        }


def test_a_table_of_which_rows_are_taken_before_they_are_restored(tmp_path: Path) -> None:
    parts = {"e_quantized": CODES, "e_scale": np.float32(0.5), "e_zero_point": np.uint8(7)}
    nodes = [restoring(["e_quantized", "ids"], "rows", "", "Gather"), restoring(["rows", "e_scale", "e_zero_point"])]
    with logical(written(tmp_path, parts, *nodes)) as source:
        assert source.find("e").notes[0] == "packed: ONNX Gather and DequantizeLinear u8"
        assert source.read("e").tolist() == ((CODES.astype(np.float32) - 7) * 0.5).tolist()
    parts["e_scale"] = np.ones(10, np.float32)
    with logical(written(tmp_path, parts, *nodes)) as source:
        assert source.packings.untold == {
            "e_quantized": "a node takes parts of it (Gather) before it is restored, and e_scale has 10 elements"
        }


def stated(**more: Any) -> tuple[dict[str, Any], bytes]:
    """The tensors of a MatMulNBits node of 64 inputs in blocks of 32, and the node; some of it otherwise."""
    parts, _ = n_bits(64, 3, 4, 32, "none")
    numbers = {"inputs": 64, "outputs": 3, "bits": 4, "block": 32}
    for name, value in more.items():
        if isinstance(value, np.ndarray):
            parts[{"w": "fc.weight_Q4", "s": "fc.weight_scales", "z": "zero"}.get(name, name)] = value
    numbers |= {name: value for name, value in more.items() if isinstance(value, int)}
    return parts, using(parts, **numbers)


@pytest.mark.parametrize(
    ("case", "why"),
    [
        (stated(bits=3), "its codes have 3 bits, which no runtime takes"),
        (stated(block=24), "its blocks have 24 elements"),
        (stated(block=8), "its blocks have 8 elements"),
        (stated(inputs=0), "the node says that its shape is [3, 0]"),
        (stated(inputs=-5), "the node says that its shape is [3, -5]"),
        (stated(inputs=65), "[3, 2, 16] bytes are not [3, 65] codes in blocks of 32"),
        (stated(inputs=1 << 62), "[3, 2, 16] bytes are not [3, 4611686018427387904] codes in blocks of 32"),
        (stated(weight_prepacked=1), "it is stored in the order of one processor (weight_prepacked)"),
        (
            stated(s=np.ones((3, 3), np.float32)),
            "fc.weight_scales of shape [3, 3] is not the [3, 2] that its codes need",
        ),
        (stated(s=np.ones((3, 2), np.int32)), "fc.weight_scales is int32"),
        (stated(w=np.zeros((3, 2, 16), np.int8)), "a MatMulNBits node uses it, whose codes are uint8, and it is int8"),
        (stated(z=np.zeros((3, 3), np.uint8)), "zero of shape [3, 3] is not the [3, 1] that its codes need"),
        (stated(z=np.zeros((3, 2), np.int8)), "zero is int8"),
        (stated(g_idx=np.zeros(64, np.float32)), "g_idx is float32"),
        (stated(g_idx=np.zeros(63, np.int32)), "g_idx has 63 elements"),
        (
            stated(z=np.zeros((3, 1), np.uint8), g_idx=np.zeros(64, np.int32)),
            "what g_idx means beside such codes is not certain: onnxruntime does otherwise than it says",
        ),
    ],
)
def test_what_is_not_clear_is_said(tmp_path: Path, case: tuple[dict[str, Any], bytes], why: str) -> None:
    parts, node = case
    with logical(written(tmp_path, parts, node)) as source:
        assert source.packings.weights == ()
        (found,) = source.packings.untold.values()
        assert found.startswith(why)


def test_bytes_whose_blocks_are_of_another_dimension(tmp_path: Path) -> None:
    parts = {"e": np.zeros((32, 16), np.uint8), "s": np.ones((2, 16), np.float32)}
    node = restoring(["e", "ids", "s"], "y", ORT, "GatherBlockQuantized", quantize_axis=0, block_size=16)
    with logical(written(tmp_path, parts, node)) as source:
        assert source.packings.untold == {"e": "its blocks are of axis 0, its bytes of the last"}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_nodes_are_sentences(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    parts, _ = n_bits(100, 3, 4, 32, "packed")
    whole = [part(name, values) for name, values in parts.items()]
    more = [part("w", CODES), part("s", np.float32(0.5)), part("z", np.uint8(3))]
    nodes = (using(parts, 100, 3, 4, 32), DYNAMIC, SCALES, WHOLE, CAST, TIMES)
    path = tmp_path_factory.getbasetemp() / f"bytes-{os.getpid()}.onnx"
    path.write_bytes(flipped(model([*whole, *more], *nodes), seed))
    try:
        source = logical(path)
    except OpenError:
        return
    with source:
        for info in source.listing.tensors:
            with suppress(ReadError, SliceError):
                assert source.read(info.name).shape == info.shape
                source.summarize(info.name)
