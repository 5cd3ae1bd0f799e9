"""Initialisers of ONNX that DequantizeLinear nodes restore; ``just formats`` has them against onnx itself."""

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
from tests.factories_flips import flipped
from tests.factories_onnx import field, model, restoring, tensor
from tui_params import compare, open_source
from tui_params.errors import OpenError, ReadError, SliceError

RANDOM = np.random.default_rng(11)
CODES = RANDOM.integers(-128, 128, (6, 10)).astype(np.int8)
POINTS = RANDOM.integers(-5, 6, (6, 10)).astype(np.int8)
SCALES = RANDOM.random((6, 10)).astype(np.float32)

KINDS = {"float32": 1, "int8": 3, "int32": 6, "int64": 7, "float16": 10, "uint8": 2}


def part(name: str, values: Any) -> bytes:
    array = np.asarray(values)
    return tensor(name, array.shape, KINDS[array.dtype.name], raw=array.tobytes())


def written(folder: Path, parts: dict[str, Any], *more: bytes) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(model([part(name, values) for name, values in parts.items()], *more))
    return path


@pytest.mark.parametrize(
    ("of", "spread", "attributes"),
    [
        (np.s_[0, 0], lambda n: n, {}),
        (np.s_[0, :1], lambda n: n, {"axis": 0}),
        (np.s_[:, 0], lambda n: n[:, None], {"axis": 0}),
        (np.s_[0, :], lambda n: n, {}),
        (np.s_[0, :], lambda n: n, {"axis": -1}),
        (np.s_[:2, :], lambda n: np.repeat(n, 4, 0)[:6], {"axis": 0, "block_size": 4}),
        (np.s_[:, :4], lambda n: np.repeat(n, 3, 1)[:, :10], {"axis": 1, "block_size": 3}),
        (np.s_[:, :1], lambda n: n, {"axis": 1, "block_size": 1 << 60}),
    ],
)
@pytest.mark.parametrize("has_zero", [False, True])
@pytest.mark.parametrize("result", ["float32", "float16"])
def test_the_scale_and_the_zero_point_of_the_node_are_applied(
    tmp_path: Path, of: Any, spread: Any, attributes: dict[str, int], has_zero: bool, result: str
) -> None:
    parts = {"fc.weight_quantized": CODES, "fc.weight_scale": SCALES[of]}
    if has_zero:
        parts["fc.weight_zero_point"] = POINTS[of]
    if result != "float32":
        attributes = attributes | {"output_dtype": KINDS[result]}
    path = written(tmp_path, parts, restoring(list(parts), **attributes))
    points = spread(POINTS[of]).astype(np.float32) if has_zero else np.float32(0)
    due = ((CODES.astype(np.float32) - points) * spread(SCALES[of])).astype(result)
    with logical(path) as source:
        # That is what onnxruntime calls the parts of fc.weight.
        assert source.names() == ["fc.weight"]
        assert source.read("fc.weight").tobytes() == due.tobytes()
        windows = (("[2:5, 3:9]", np.s_[2:5, 3:9]), ("[::-2, 1::3]", np.s_[::-2, 1::3]), ("[5, 7]", np.s_[5, 7]))
        for text, window in windows:
            found = np.ascontiguousarray(source.read("fc.weight", text))
            assert found.tobytes() == np.ascontiguousarray(due[window]).tobytes()
        assert source.listing.tensors[0].nbytes == sum(np.asarray(each).nbytes for each in parts.values())
    assert complaints(path) == []


def test_a_packed_model_is_compared_with_the_one_that_it_was(tmp_path: Path) -> None:
    scale = np.float32(0.25)
    parts = {"w_quantized": CODES, "w_scale": scale, "w_zero_point": np.int8(3)}
    whole = written(tmp_path, {"w": ((CODES.astype(np.float32) - 3) * scale) + np.float32(0.01)})
    with open_source(whole) as a:
        (tmp_path / "q").mkdir()
        with logical(written(tmp_path / "q", parts, restoring(list(parts)))) as b:
            verdict = compare(a, b)
    (change,) = verdict.changed
    assert change.name == "w"
    assert change.difference is not None
    assert change.difference.max_abs == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("parts", "nodes", "why"),
    [
        (
            {"w": CODES, "s": np.float32(1), "t": np.float32(2)},
            [restoring(["w", "s"]), restoring(["w", "t"])],
            "2 nodes use it, each otherwise: with the scales s, t (DequantizeLinear)",
        ),
        (
            {"w": CODES},
            [restoring(["w", "made"])],
            "its scale, made, is no stored tensor: the model computes it",
        ),
        (
            {"w": CODES, "s": np.float32(1)},
            [restoring(["w", "s", "made"])],
            "its zero point, made, is no stored tensor: the model computes it",
        ),
        (
            {"w": CODES, "s": SCALES[0]},
            [restoring(["w", "s"], axis=0)],
            "s of shape [10] does not fit codes of [6, 10] along axis 0",
        ),
        (
            {"w": CODES, "s": SCALES[:, :3]},
            [restoring(["w", "s"], axis=1, block_size=3)],
            "s of shape [6, 3] does not fit codes of [6, 10] along axis 1 in blocks of 3",
        ),
        (
            {"w": CODES, "s": SCALES[0]},
            [restoring(["w", "s"], axis=2)],
            "its axis is 2, and it has 2 dimensions",
        ),
        (
            {"w": CODES, "s": SCALES[0]},
            [restoring(["w", "s"], "y", "com.microsoft")],
            "s has 10 elements, and its axis is stated nowhere",
        ),
        (
            {"w": CODES, "s": np.float32(1)},
            [restoring(["a", "w", "s"], "y", "com.microsoft", "MatMulNBits", bits=4), restoring(["w", "s"])],
            "2 nodes use it, each otherwise, with the scale s (MatMulNBits, DequantizeLinear)",
        ),
        (
            {"w": CODES, "s": np.float32(1)},
            [restoring(["a", "as", "az", "w", "s", "made"], "y", "", "QLinearConv")],
            "its zero point, made, is no stored tensor: the model computes it",
        ),
        (
            {"w": CODES, "s": SCALES[0], "z": np.uint8(1)},
            [restoring(["w", "s", "z"])],
            "z is uint8, and its codes int8",
        ),
        (
            {"w": CODES.astype(np.int64), "s": np.float32(1)},
            [restoring(["w", "s"])],
            "a DequantizeLinear node restores it, which takes no int64",
        ),
        (
            {"w": CODES, "s": np.float32(1)},
            [restoring(["w", "s"], output_dtype=7)],
            "it is restored to int64",
        ),
    ],
)
def test_what_is_not_clear_is_said(tmp_path: Path, parts: dict[str, Any], nodes: list[bytes], why: str) -> None:
    with logical(written(tmp_path, parts, *nodes)) as source:
        assert source.packings.weights == ()
        assert source.packings.untold == {"w": why}
        assert any(why in note for note in source.find("w").notes)
        assert source.read("w").dtype == parts["w"].dtype


def test_nodes_that_agree_are_one_and_a_scale_of_several_stays_listed(tmp_path: Path) -> None:
    parts = {"w": CODES, "v": CODES[:2], "s": np.float32(0.5)}
    nodes = [restoring(["w", "s"], "a"), restoring(["w", "s"], "b"), restoring(["v", "s"], "c"), restoring(["x", "s"])]
    with logical(written(tmp_path, parts, *nodes)) as source:
        assert source.names() == ["w", "v", "s"]
        assert source.read("v").tolist() == (CODES[:2] * 0.5).tolist()
        assert sum(info.nbytes for info in source) == sum(np.asarray(each).nbytes for each in parts.values())


def test_a_bias_as_onnxruntime_names_it(tmp_path: Path) -> None:
    parts = {"b_quantized": np.arange(-2, 2, dtype=np.int32), "b_quantized_scale": np.float32(0.5)}
    with logical(written(tmp_path, parts, restoring(list(parts)))) as source:
        assert source.names() == ["b"]
        assert source.read("b").tolist() == [-1, -0.5, 0, 0.5]
    # There is another of that name.
    with logical(written(tmp_path, {**parts, "b": np.float32(1)}, restoring(list(parts)))) as source:
        assert source.names() == ["b_quantized", "b"]


@pytest.mark.parametrize("folder", ["one", "two", "pipeline"])
def test_in_a_folder(tmp_path: Path, folder: str) -> None:
    parts = {"w_quantized": CODES, "w_scale": np.float32(0.5)}
    names = {"one": ["w"], "two": ["m.w", "n.w"], "pipeline": ["unet.w", "vae.w"]}[folder]
    written(tmp_path, parts, restoring(list(parts)))
    whole = (tmp_path / "m.onnx").read_bytes()
    if folder == "two":
        (tmp_path / "n.onnx").write_bytes(whole)
    elif folder == "pipeline":
        (tmp_path / "m.onnx").unlink()
        (tmp_path / "model_index.json").write_text('{"_class_name": "P", "unet": ["d", "U"], "vae": ["d", "V"]}')
        for name in ("unet", "vae"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "model.onnx").write_bytes(whole)
    with logical(tmp_path) as source:
        assert sorted(source.names()) == names
        assert source.read(names[-1], "[0, 0]") == np.float32(CODES[0, 0]) * 0.5


def test_a_subgraph_sees_its_own_tensors_first(tmp_path: Path) -> None:
    inner = (
        field(5, part("s", np.float32(2))) + field(5, part("v", CODES)) + restoring(["v", "s"]) + restoring(["w", "t"])
    )
    branch = field(1, field(2, "y") + field(4, "If") + field(5, field(1, "then_branch") + field(6, inner)))
    parts = {"w": CODES, "s": np.float32(0.5), "t": np.float32(4)}
    with logical(written(tmp_path, parts, branch, restoring(["y.then_branch.v", "s"]))) as source:
        assert source.read("w", "[0, 0]") == np.float32(CODES[0, 0]) * 4
        assert source.packings.untold.keys() == {"y.then_branch.v"}
    with logical(written(tmp_path, parts, branch)) as source:
        assert source.read("y.then_branch.v", "[0, 0]") == np.float32(CODES[0, 0]) * 2


def test_a_zero_point_of_floating_codes_can_only_be_0(tmp_path: Path) -> None:
    codes, path = tensor("w", (4,), 17, raw=bytes([1, 2, 3, 4])), tmp_path / "m.onnx"
    for point in (0, 8):
        more = [part("s", np.float32(1)), tensor("z", (), 17, raw=bytes([point]))]
        path.write_bytes(model([codes, *more], restoring(["w", "s", "z"])))
        with logical(path) as source:
            if point:
                with pytest.raises(ReadError, match="z is not 0, which it has to be"):
                    source.read("w")
            else:
                assert source.read("w", "[1]") == 2**-8


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_nodes_are_sentences(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    parts = [part("w_quantized", CODES), part("w_scale", SCALES[:, :3]), part("z", POINTS[:, :3])]
    node = restoring(["w_quantized", "w_scale", "z"], axis=1, block_size=4)
    path = tmp_path_factory.getbasetemp() / f"linear-{os.getpid()}.onnx"
    path.write_bytes(flipped(model(parts, node), seed))
    try:
        source = logical(path)
    except OpenError:
        return
    with source:
        for info in source.listing.tensors:
            with suppress(ReadError, SliceError):
                assert source.read(info.name).shape == info.shape
                source.summarize(info.name)
