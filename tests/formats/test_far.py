"""The readers of formats beside torch against the libraries that write them (``just formats``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tui_params.core.compare.llama_cpp_names import from_llama_cpp
from tui_params.errors import OpenError
from tui_params.sources.detect import open_path
from tui_params.sources.torch_save import legacy

pytestmark = pytest.mark.formats


def test_every_type_of_gguf_is_what_the_package_restores(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    quants = pytest.importorskip("gguf.quants")
    generator = np.random.default_rng(0)
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("tokens", ["a", "b"])
    due: dict[str, Any] = {}
    for kind in gguf.GGMLQuantizationType:
        elements, nbytes = gguf.GGML_QUANT_SIZES[kind]
        if elements == 1 or kind.name in ("Q8_1", "Q8_K", "Q1_0"):
            continue
        raw = generator.integers(0, 256, (3, 2, 4 * nbytes), np.uint8)
        due[kind.name] = quants.dequantize(raw, kind)
        writer.add_tensor(kind.name, raw, raw_dtype=kind)
    for name in ("float32", "float16", "float64", "int8", "int16", "int32", "int64"):
        due[name] = generator.normal(size=(3, 5)).astype(name)
        writer.add_tensor(name, due[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    source = open_path(path)
    assert {info.name for info in source} == set(due)
    assert source.listing.findings == ()
    for name, array in due.items():
        found = source.read(name)
        assert found.shape == array.shape
        assert found.tobytes() == array.tobytes(), name
        assert (
            source.read(name, "[::-2, 1, 3::7]" if array.ndim == 3 else "[::-2, 3]").tobytes()
            == (array[::-2, 1, 3::7] if array.ndim == 3 else array[::-2, 3]).tobytes()
        )
        assert source.summarize(name).count == array.size


@pytest.mark.parametrize("architecture", ["LLAMA", "QWEN2", "QWEN3"])
def test_names_of_gguf_are_those_of_its_package(architecture: str) -> None:
    gguf = pytest.importorskip("gguf")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture], 2)
    ours = [f"{old}weight" for old in ("token_embd.", "output_norm.", "output.")]
    ours += [f"blk.1.{part}.weight" for part in PARTS if "q_norm" not in part or architecture == "QWEN3"]
    renames = from_llama_cpp(ours, "a")
    for ours_now in ours:
        called = ours_now
        for rename in renames:
            called = rename.apply(called)
        assert names.get_name(called, try_suffixes=(".weight",)) == ours_now


PARTS = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "attn_q_norm", "ffn_norm", "ffn_gate", "ffn_down")


def test_splits_of_gguf(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    for number in range(5):
        writer.add_tensor(f"blk.{number}.w", np.full((4, 8), number, "f4"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    source = open_path(tmp_path)
    assert source.names() == [f"blk.{number}.w" for number in range(5)]
    assert source.listing.findings == ()
    assert source.read("blk.3.w", "[0, 0]") == 3


def test_files_of_joblib(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    array = np.arange(1200, dtype="f4").reshape(30, 40)
    value = {
        "w": array,
        "f": np.asfortranarray(array),
        "o": np.array([{1: 2}, "x"], object),
        "l": [array.astype(">f8")],
    }
    path = tmp_path / "x.joblib"
    for compress in (0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)):
        joblib.dump(value, path, compress=compress)
        source = open_path(path)
        assert source.listing.format.startswith("joblib")
        assert source.listing.findings == ()
        for name in ("w", "f", "l.0"):
            np.testing.assert_array_equal(source.read(name), array)


def onnx_model(onnx: Any, extra: list[Any], sparse: list[Any]) -> Any:
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    x = helper.make_tensor_value_info("x", 1, ["N", 4])
    y = helper.make_tensor_value_info("y", 1, ["N", 3])
    inner = helper.make_graph([], "inner", [], [x], [numpy_helper.from_array(np.full(3, 2.0, "f4"), "inside")])
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(400, "f4"), "cv")),
        helper.make_node("If", ["x"], ["y"], name="if", then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], extra)
    graph.sparse_initializer.extend(sparse)
    return helper.make_model(graph)


def test_every_type_of_onnx_is_what_the_package_reads(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    values = [1, 0, 1, 1, 0, 1]
    due: dict[str, Any] = {}
    extra = []
    for code, name in onnx.TensorProto.DataType.items():
        if code in ("UNDEFINED", "STRING"):
            continue
        typed = helper.make_tensor(f"typed {code}", name, [2, 3], values)
        raw = numpy_helper.from_array(numpy_helper.to_array(typed), f"raw {code}")
        for tensor in (typed, raw):
            due[tensor.name] = numpy_helper.to_array(tensor)
            extra.append(tensor)
    large = np.random.default_rng(0).integers(-(2**62), 2**62, 1000)
    extra.append(helper.make_tensor("numbers", 7, [1000], large.tolist()))
    due["numbers"] = large
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([1.0, 2.0], "f4"), "sw"),
        numpy_helper.from_array(np.array([1, 5]), "i"),
        [3, 4],
    )
    model = onnx_model(onnx, extra, [sparse])
    due |= {"c": np.ones(400, "f4"), "sw.values": np.array([1.0, 2.0]), "sw.indices": np.array([1, 5])}
    due |= {f"y.{branch}.inside": np.full(3, 2.0) for branch in ("then_branch", "else_branch")}
    onnx.save(model, tmp_path / "plain.onnx")
    onnx.save_model(model, tmp_path / "ext.onnx", save_as_external_data=True, size_threshold=0)
    for path in (tmp_path / "plain.onnx", tmp_path / "ext.onnx"):
        source = open_path(path)
        assert source.listing.format == "ONNX"
        assert source.listing.findings == ()
        for name, array in due.items():
            info = source.find(name)
            assert info.unreadable is None
            np.testing.assert_array_equal(source.read(name).astype("c16"), np.asarray(array).astype("c16"), name)
            assert source.summarize(name).count == array.size * (2 if info.dtype.is_complex else 1)
        assert {info.name for info in source} == set(due)


def test_joblib_with_lz4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joblib = pytest.importorskip("joblib")
    pytest.importorskip("lz4.frame")
    path = tmp_path / "x.joblib"
    value = {"w": np.random.default_rng(0).normal(size=(500, 400)), "k": np.arange(7)}
    joblib.dump(value, path, compress=("lz4", 3))
    with open_path(path) as source:
        assert source.listing.format == "joblib, compressed with lz4"
        assert all((source.read(name) == array).all() for name, array in value.items())
    data = path.read_bytes()
    # The size of the first block; values are not found damaged, for joblib asks lz4 for no checksum.
    for damaged in (data[: len(data) // 2], data[:7] + b"\xff\xff\xff\x7f" + data[11:]):
        path.write_bytes(damaged)
        with pytest.raises(OpenError, match=r"too early|damaged"):
            open_path(path)
    joblib.dump(np.zeros(10_000_000, "u1"), path, compress="lz4")
    monkeypatch.setattr(legacy, "MAX_PICKLE_BYTES", 1 << 20)
    with pytest.raises(OpenError, match=r"unpacks to more than 1\.00 MiB: it is refused"):
        open_path(path)
