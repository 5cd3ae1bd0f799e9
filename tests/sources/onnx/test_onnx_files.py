"""ONNX: initialisers in place, values as numbers, external data within the folder, and damaged files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tui_params
from tests.factories_flips import assert_only_sentences, flipped, truncated
from tests.factories_onnx import external, field, model, number, restoring, tensor
from tui_params.core.source import Source
from tui_params.core.tensor_columns import TensorColumns
from tui_params.errors import ReadError
from tui_params.sources.bytes import local
from tui_params.sources.bytes.local import DataFile, Descriptor
from tui_params.sources.bytes.protobuf import BYTES, Bytes, fields
from tui_params.sources.detect import open_path
from tui_params.sources.onnx import graph, reader
from tui_params.sources.onnx.tensor import Proto, read_tensor, type_of
from tui_params.sources.onnx.usual import Usual

W = np.arange(12, dtype="<f4").reshape(3, 4)


def opened(tmp_path: Path, data: bytes, name: str = "x.onnx") -> Source:
    (tmp_path / name).write_bytes(data)
    return open_path(tmp_path / name)


def packed(*values: int) -> bytes:
    return b"".join(map(number, values))


def rules(source: Source) -> set[tuple[str, str | None]]:
    return {(found.rule, found.tensor) for found in source.listing.findings}


def test_raw_values_are_read_where_they_lie(tmp_path: Path) -> None:
    data = model(
        [
            tensor("w", (3, 4), 1, raw=W.tobytes()),
            tensor("h", (2,), 16, raw=b"\x80\x3f\x00\xc0"),
            tensor("f8", (2,), 17, raw=b"\x38\xb8"),
            tensor("q", (3,), 22, raw=b"\x8f\x07"),
            tensor("u", (3,), 21, raw=b"\x8f\x07"),
            tensor("q2", (5,), 26, raw=b"\xe4\x03"),
            tensor("u2", (5,), 25, raw=b"\xe4\x03"),
            tensor("0d", (), 11, raw=np.float64(2.5).tobytes()),
            tensor("empty", (0, 3), 1, raw=b""),
            tensor("val_3", (3, 4), 1, raw=W.tobytes()),
        ]
    )
    source = opened(tmp_path, data)
    assert source.listing.findings == ()
    assert source.find("w").offset == data.index(W.tobytes())
    np.testing.assert_array_equal(source.read("w", "[1:, ::-2]"), W[1:, ::-2])
    due: dict[str, list[int]] = {
        "h": [1, -2],
        "f8": [1, -1],
        "q": [-1, -8, 7],
        "u": [15, 8, 7],
        "q2": [0, 1, -2, -1, -1],
        "u2": [0, 1, 2, 3, 3],
    }
    for name, values in due.items():
        np.testing.assert_array_equal(source.read(name).astype("f8"), values)
        figures = source.summarize(name).figures(len(values))
        assert (figures.min, figures.max) == (min(values), max(values))
        assert figures.mean == pytest.approx(np.mean(values))
    assert source.read("0d") == 2.5
    assert source.find("empty").shape == (0, 3)
    assert "(in, out)" in source.find("val_3").notes[0]
    assert dict(source.listing.metadata) == {
        "IR version": "8", "producer": "tests", "graph": "g", "opset ai.onnx": "18", "key": "value",
    }  # fmt: skip
    assert {found.tensor for found in tui_params.check(source).unchecked} == set()


def test_values_that_are_numbers_one_by_one(tmp_path: Path) -> None:
    numbers = [0, -1, 2**62, -(2**63), 127, 128]
    data = model(
        [
            tensor("f", (2,), 1, field(4, np.array([1.5, -2], "<f4").tobytes())),
            tensor("i64", (6,), 7, field(7, packed(*numbers))),
            tensor("i8", (3,), 3, field(5, packed(-1, 5, -128))),
            tensor("h", (2,), 10, field(5, packed(0x3C00, 0xC000))),
            tensor("q", (4,), 22, field(5, packed(0x8F, 0x71))),
            tensor("q2", (5,), 26, field(5, packed(0xE4, 0x03))),
            tensor("f6", (5,), 27, field(5, packed(8, 0x28, 31, 0, 1))),
            tensor("u64", (1,), 13, field(11, packed(2**64 - 1))),
            tensor("one by one", (3,), 6, field(5, 1), field(5, -2), field(5, 3)),
            tensor("texts", (1,), 8, field(6, "a")),
        ]
    )
    source = opened(tmp_path, data)
    due: dict[str, Sequence[float]] = {
        "f": [1.5, -2], "i64": numbers, "i8": [-1, 5, -128], "h": [1, -2], "q": [-1, -8, 1, 7], "u64": [2**64 - 1],
        "one by one": [1, -2, 3], "q2": [0, 1, -2, -1, -1], "f6": [1, -1, 7.5, 0, 0.125],
    }  # fmt: skip
    for name, values in due.items():
        assert source.read(name).tolist() == list(values)
        assert source.summarize(name).count == len(values)
    assert source.read("i64", "[::-2]").tolist() == numbers[::-2]
    assert source.listing.metadata["texts"] == "texts, [1]"
    source.close()
    with pytest.raises(ReadError, match="closed"):
        source.read("i8")


def test_too_few_numbers_are_no_values(tmp_path: Path) -> None:
    source = opened(tmp_path, model([tensor("a", (3,), 7, field(7, packed(1, 2))), tensor("b", (3,), 7)]))
    assert rules(source) == {("storage-bounds", "a"), ("storage-bounds", "b")}
    # Enough bytes, and too few numbers.
    source = opened(tmp_path, model([tensor("a", (3,), 7, field(7, packed(1, 200)))]))
    assert rules(source) == set()
    with pytest.raises(ReadError):
        source.read("a")
    source = opened(tmp_path, model([tensor("a", (3,), 7, field(7, b"\xff" * 12))]))
    with pytest.raises(ReadError, match="no row of numbers"):
        source.read("a")


def test_much_of_single_numbers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_TYPED_NBYTES", 2)
    source = opened(tmp_path, model([tensor("a", (3,), 7, field(7, packed(1, 2, 3)))]))
    with pytest.raises(ReadError, match="at most 2 B are read"):
        source.read("a")
    assert source.listing.findings == ()


def test_external_data_are_read_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "w.data").write_bytes(b"abc" + W.tobytes() + b"tail")
    (tmp_path / "sub" / "v").write_bytes(W.tobytes())
    data = model(
        [
            external("w", (3, 4), 1, location="w.data", offset="3", length="48"),
            external("v", (3, 4), 1, location="sub/v"),
        ]
    )
    source = opened(tmp_path, data)
    assert source.listing.findings == ()
    assert source.find("w").location == "w.data @ 3"
    np.testing.assert_array_equal(source.read("w"), W)
    np.testing.assert_array_equal(source.read("v", "[2]"), W[2])
    assert tui_params.check(source).checked == 2


def test_nothing_outside_the_folder_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(W.tobytes())
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "link").symlink_to(secret)
    looked: list[str] = []

    def look(path: Path) -> AbstractContextManager[tuple[Descriptor, DataFile]]:
        looked.append(str(path))
        return local.opened(path)

    monkeypatch.setattr(reader, "opened", look)
    for location in ("../secret/key", str(secret / "key"), "link/key", "a/../../secret/key", "..", "x\0y"):
        looked.clear()
        source = opened(inside, model([external("w", (3, 4), 1, location=location)]))
        assert looked == [str(inside / "x.onnx")]
        assert rules(source) == {("outside-folder", "w")}
        with pytest.raises(ReadError, match="outside the folder"):
            source.read("w")


def test_links_of_external_data_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(W.tobytes())
    inside = tmp_path / "model"
    (inside / "sub").mkdir(parents=True)
    (inside / "sub" / "v").write_bytes(W.tobytes())
    (inside / "out").symlink_to("../secret")
    (inside / "again").symlink_to("out")
    (inside / "in").symlink_to("sub/v")
    (inside / "nowhere").symlink_to("../gone")
    (inside / "loop").symlink_to("loop")
    for location in ("out", "again", "nowhere"):
        source = opened(inside, model([external("w", (3, 4), 1, location=location)]))
        assert rules(source) == {("outside-folder", "w")}
        assert isinstance(source, reader.OnnxSource)
        assert set(source.files) == {"x.onnx"}
        with pytest.raises(ReadError, match=f"{location} leads by a link outside the folder of the model"):
            source.read("w")
    source = opened(inside, model([external("w", (3, 4), 1, location="in")]))
    np.testing.assert_array_equal(source.read("w"), W)
    for location in ("loop", "outside"):
        assert rules(opened(inside, model([external("w", (3, 4), 1, location=location)]))) == {("missing-shard", "w")}


def test_external_data_in_a_cache_of_links(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0123" / "onnx"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "aaaa").write_bytes(model([external("w", (3, 4), 1, location="model.onnx_data")]))
    (blobs / "bbbb").write_bytes(W.tobytes())
    (snapshot / "model.onnx").symlink_to("../../../blobs/aaaa")
    (snapshot / "model.onnx_data").symlink_to("../../../blobs/bbbb")
    source = reader.open_onnx(snapshot / "model.onnx")
    np.testing.assert_array_equal(source.read("w"), W)
    (snapshot / "model.onnx").unlink()
    (snapshot / "model.onnx").write_bytes((blobs / "aaaa").read_bytes())
    assert rules(reader.open_onnx(snapshot / "model.onnx")) == {("outside-folder", "w")}


def test_external_data_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(W.tobytes())
    cases = {
        "missing-shard": {"location": "gone"},
        "truncated": {"location": "d", "offset": "8", "length": "48"},
        "storage-bounds": {"location": "d", "length": "40"},
        "bad-entry": {"location": "d", "offset": "-4"},
    }
    for rule, entries in cases.items():
        source = opened(tmp_path, model([external("w", (3, 4), 1, **entries)]))
        assert rules(source) == {(rule, "w")}
        with pytest.raises(ReadError):
            source.read("w")
    assert rules(opened(tmp_path, model([external("w", (3, 4), 1)]))) == {("bad-entry", "w")}
    assert rules(opened(tmp_path, model([external("w", (3, 4), 1, location="x.onnx")]))) == {("missing-shard", "w")}


def test_constants_subgraphs_and_functions_are_looked_into(tmp_path: Path) -> None:
    one = tensor("", (1,), 1, raw=W[:1, 1:2].tobytes())
    constant = field(1, field(2, "c") + field(4, "Constant") + field(5, field(1, "value") + field(5, one)))
    inner = field(5, tensor("inside", (1,), 1, raw=bytes(4)))
    branch = field(1, field(2, "y") + field(4, "If") + field(5, field(1, "then_branch") + field(6, inner)))
    sparse = field(15, field(1, tensor("s", (1,), 1, raw=bytes(4))) + field(2, tensor("i", (1,), 7, raw=bytes(8))))
    function = field(25, field(1, "f") + field(7, field(2, "k") + field(5, field(1, "value") + field(5, one))))
    source = opened(tmp_path, model([], constant, branch, sparse) + function)
    assert source.names() == ["c", "y.then_branch.inside", "s.values", "s.indices", "f.k"]
    assert source.read("c").tolist() == [1]
    deep = b""
    for _ in range(20):
        deep = field(1, field(2, "n") + field(5, field(1, "g") + field(6, deep)))
    source = opened(tmp_path, model([], deep))
    assert source.listing.unlisted == "graphs nested more than 8 times are not looked into"


def test_descriptions_that_make_no_sense(tmp_path: Path) -> None:
    raw = bytes(4)
    for one in (
        tensor("w", (2**61,), 1, raw=raw),
        tensor("w", (2**40, 2**40), 1, raw=raw),
        tensor("w", (1,), 1, field(4, raw), raw=raw),
        tensor("w", (1,) * 1001, 1, raw=raw),
        tensor("w", (1,), 1, raw=raw) + b"\x07",
    ):
        source = opened(tmp_path, model([one]))
        assert rules(source) == {("bad-entry", "w")}
        with pytest.raises(ReadError):
            source.read("w")
    source = opened(tmp_path, model([tensor("w", (2,), 1, raw=raw)]))
    assert rules(source) == {("storage-bounds", "w")}
    source = opened(tmp_path, model([tensor("w", (1,), 40, raw=raw), tensor("v", (1,), 99, raw=raw)]))
    assert source.listing.findings == ()
    assert [info.dtype.name for info in source.listing.tensors] == ["onnx 40", "onnx 99"]
    source = opened(tmp_path, model([tensor("w", (1,), 1, raw=raw)] * 3))
    assert sorted(source.names()) == ["w", "w#2", "w#3"]


def test_very_many_parts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MAX_TENSORS", 10)
    source = opened(tmp_path, model([b""] * 1000))
    assert len(source) == 10
    assert source.listing.unlisted == "only the first 10 tensors are listed: the model has too many parts"
    monkeypatch.setattr(graph, "MAX_FIELDS", 50)
    assert len(opened(tmp_path, model([], *[field(1, b"")] * 1000))) == 0


def _part(content: bytes, offset: int, count: int) -> bytes:
    return content[offset : offset + count]


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    dims=st.lists(st.integers(1, 3), max_size=9),
    name=st.text(st.sampled_from("aJ\u00e9.\b"), max_size=130),
)
def test_usual_initialisers_are_what_the_walk_finds(seed: int, dims: list[int], name: str) -> None:
    code = seed % 30
    nbytes = type_of(code).nbytes(prod(dims)) if type_of(code).is_sized else 4
    is_sure = type_of(code).is_sized and len(dims) <= 8 and len(name.encode()) < 128 and nbytes
    more = () if seed % 5 else (field(12, "text"),)
    one = field(5, tensor(name, dims, code, raw=bytes(nbytes)) + b"".join(more))
    data = one + field(5, tensor("w", (2,), 1, raw=bytes(8))) + one + field(2, "g") * (seed % 2)
    for content in (data, flipped(data, seed)):
        read = Bytes(partial(_part, content), len(content))
        usual = Usual(read, "m")
        run, end = usual.run(0, len(content), 2 + seed % 3)
        if content == data and is_sure and not more:
            assert len(run.names) == min(3, 2 + seed % 3)
        at = 0
        for found, row, offset in zip(run.names, run.rows, run.offsets, strict=True):
            outer = next(iter(fields(read, at, len(content))))
            proto = read_tensor(read, outer.start, outer.stop)
            form, at = usual.forms[row], outer.stop
            assert (outer.number, outer.kind, proto.field, proto.dtype, tuple(proto.dims)) == (
                5, BYTES, 9, form.dtype, form.shape,
            )  # fmt: skip
            assert proto == Proto(found, proto.code, proto.dims, 9, [(offset, offset + form.nbytes)])
            assert (form.numel, form.nbytes) == (prod(form.shape), form.dtype.nbytes(form.numel))
        assert at == end


def test_only_usual_tensors_are_columns(tmp_path: Path) -> None:
    usual = [tensor(f"w{at}", (3, 4), 1, raw=W.tobytes()) for at in range(3)]
    node = restoring(["w0", "w1"])
    source = opened(tmp_path, model(usual, node))
    assert isinstance(source.listing.tensors, TensorColumns)
    assert (source.names(), list(source.listing.dequantized)) == (["w0", "w1", "w2"], ["w0"])
    np.testing.assert_array_equal(source.read("w2"), W)
    plain = tuple(source.listing.tensors)
    # The same, where something is to be said of another one.
    for other in (tensor("val_1", (3, 4), 1, raw=W.tobytes()), usual[0], tensor("odd", (2,), 1, raw=bytes(4))):
        found = opened(tmp_path, model([*usual, other], node)).listing
        assert not isinstance(found.tensors, TensorColumns)
        assert found.tensors[:3] == plain
        assert list(found.dequantized) == ["w0"]


def test_many_initialisers_before_and_behind_other_fields(tmp_path: Path) -> None:
    usual = [field(5, tensor(f"w{at}", (3, 4), 1, raw=W.tobytes())) for at in range(6)]
    odd = field(5, tensor("odd", (2,), 7, field(7, packed(1, -1))))
    node = field(1, field(2, "c") + field(5, field(1, "value") + field(5, tensor("", (1,), 1, raw=bytes(4)))))
    graph_bytes = b"".join((*usual[:3], odd, usual[3], node, *usual[4:], usual[0], field(2, "g")))
    source = opened(tmp_path, field(1, 8) + field(7, graph_bytes))
    assert source.names() == ["w0", "w1", "w2", "odd", "w3", "c", "w4", "w5", "w0#2"]
    assert source.listing.metadata["graph"] == "g"
    np.testing.assert_array_equal(source.read("w5"), W)


def test_what_the_library_refuses_is_told(tmp_path: Path) -> None:
    raw = W.tobytes()
    sparse = field(1, tensor("s", (1,), 1, raw=raw[:4])) + field(2, tensor("i", (1,), 7, raw=raw[:8]))
    constant = field(1, field(2, "c") + field(5, field(1, "sparse_value") + field(22, sparse)))
    data = model(
        [
            tensor("many", (2,), 7, field(7, packed(1, -1, 3))),
            tensor("six", (3,), 27, field(5, packed(1, 2, 3, 4))),
            tensor("none", (0, 2), 1, raw=raw[:8]),
            tensor("part", (2,), 1, field(3, field(1, 0)), raw=raw[:8]),
            tensor("texts", (2,), 8, field(6, "a")),
            external("texts elsewhere", (2,), 8, location="x.data"),
            tensor("odd", (2,), 1, raw=raw[:8]).replace(b"odd", b"o\xffd"),
            external("no length", (1,), 1, location="x.data", length=""),
        ],
        constant,
    )
    source = opened(tmp_path, data)
    assert {(found.severity, found.rule, found.tensor) for found in source.listing.findings} == {
        ("error", "storage-bounds", "none"),
        ("error", "bad-entry", "part"),
        ("error", "storage-bounds", "texts"),
        ("error", "storage-bounds", "texts elsewhere"),
        ("warning", "bad-entry", "o\\xffd"),
        ("error", "bad-entry", "no length"),
    }
    for name, words in (("many", "it has 3 numbers, and its shape needs 2"), ("six", "it has 4 numbers")):
        with pytest.raises(ReadError, match=words):
            source.read(name)
    assert source.find("c.sparse_value.s.values").shape == (1,)
    # A length that leads out of what it is in.
    source = opened(tmp_path, data.replace(field(1, "key") + field(2, "value"), field(1, "key") + b"\x12\x06value"))
    assert source.listing.unlisted == "the model is damaged: what follows the last tensor makes no sense"


SMALL = model(
    [tensor("a", (1, 3), 1, raw=W[0, :3].tobytes()), tensor("b", (2,), 7, field(7, packed(1, -1)))],
    field(1, field(2, "c") + field(5, field(1, "value") + field(5, tensor("", (1,), 1, raw=bytes(4))))),
)


def test_every_truncated_file_is_a_sentence(tmp_path: Path) -> None:
    assert_only_sentences(tmp_path / "x", truncated(SMALL))
    source = opened(tmp_path, SMALL[:-60])
    assert ("truncated", None) in rules(source)


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_files_are_sentences(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    assert_only_sentences(tmp_path_factory.getbasetemp() / f"onnx-{os.getpid()}", [flipped(SMALL, seed)])
