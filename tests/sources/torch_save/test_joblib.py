"""joblib: arrays whose bytes stand in the middle of the pickle, compressed pickles, and what may hide in them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import sys
import types
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tui_params
from tests.factories_flips import assert_only_sentences, flipped, truncated
from tui_params.core.source import Source
from tui_params.errors import OpenError, ReadError
from tui_params.sources.bytes import content
from tui_params.sources.detect import open_path
from tui_params.sources.torch_save import legacy


@pytest.fixture(autouse=True, scope="module")
def wrapper() -> Iterator[type]:
    """A class of the name of joblib's, so that files like its own can be written without it."""
    module = types.ModuleType("joblib.numpy_pickle")
    made = type("NumpyArrayWrapper", (), {"__module__": "joblib.numpy_pickle"})
    module.NumpyArrayWrapper = made  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "joblib", types.ModuleType("joblib"))
        patch.setitem(sys.modules, "joblib.numpy_pickle", module)
        yield made


_PythonPickler: Any = pickle._Pickler


class Pickler(_PythonPickler):  # type: ignore[misc]
    """What joblib's NumpyPickler does with arrays: joblib/numpy_pickle.py."""

    def __init__(self, file: io.BytesIO, *, is_old: bool) -> None:
        super().__init__(file, protocol=4)
        self.file = file
        self.is_old = is_old

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if type(obj) is not np.ndarray:
            super().save(obj, save_persistent_id)
            return
        made = sys.modules["joblib.numpy_pickle"].NumpyArrayWrapper()
        order: Any = "F" if obj.flags.f_contiguous and not obj.flags.c_contiguous else "C"
        made.__dict__.update(subclass=np.ndarray, shape=obj.shape, order=order, dtype=obj.dtype, allow_mmap=True)
        if not self.is_old:
            made.numpy_array_alignment_bytes = 16
        super().save(made)
        self.framer.commit_frame(force=True)
        if obj.dtype.hasobject:
            pickle.dump(obj, self.file, protocol=5)
            return
        if not self.is_old:
            count = 16 - (self.file.tell() + 1) % 16
            self.file.write(bytes([count]) + b"\xff" * count)
        self.file.write(obj.tobytes(order))


def dumped(value: Any, *, is_old: bool = False) -> bytes:
    file = io.BytesIO()
    Pickler(file, is_old=is_old).dump(value)
    return file.getvalue()


W = np.arange(1200, dtype="f4").reshape(30, 40)
VALUE: dict[str, Any] = {
    "w": W, "f": np.asfortranarray(W), "k": 3, "o": np.array([{1: 2}, "x", None], object), "s": np.array(["ab"]),
    "again": W, "e": np.zeros((0, 3)), "be": W.astype(">f8"), "r": np.zeros(2, [("a", "f4"), ("b", "i2")]),
    "l": [np.arange(5), {"x": np.ones(3, "f2")}], "d": np.array(["2020"], "M8[D]"), "tail": 7,
}  # fmt: skip
READ: dict[str, NDArray[Any]] = {"w": W, "f": W, "again": W, "be": W, "l.0": np.arange(5), "l.1.x": np.ones(3)}


def opened(tmp_path: Path, data: bytes, name: str = "x.joblib") -> Source:
    (tmp_path / name).write_bytes(data)
    return open_path(tmp_path / name)


@pytest.mark.parametrize("is_old", [False, True])
def test_arrays_in_the_middle_are_read(tmp_path: Path, is_old: bool) -> None:
    source = opened(tmp_path, dumped(VALUE, is_old=is_old))
    assert source.listing.format == "joblib"
    assert source.listing.findings == ()
    for name, array in READ.items():
        np.testing.assert_array_equal(source.read(name), array)
    assert source.find("w").offset is not None  # it lies in the file as it is
    assert source.listing.metadata["tail"] == "7"
    assert {found.tensor for found in tui_params.check(source).unchecked} == {"r"}


@pytest.mark.parametrize(
    ("pack", "how"),
    [
        (zlib.compress, "zlib"),
        (gzip.compress, "gzip"),
        (bz2.compress, "bzip2"),
        (lzma.compress, "xz"),
        (lambda data: lzma.compress(data, lzma.FORMAT_ALONE), "lzma"),
    ],
)
def test_compressed_pickles_are_unpacked(
    tmp_path: Path, pack: Callable[[bytes], bytes], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = VALUE | {"large": np.random.default_rng(0).normal(size=300_000)}
    data = pack(dumped(large))
    source = opened(tmp_path, data)
    assert source.listing.format == f"joblib, compressed with {how}"
    for name, array in (READ | {"large": large["large"]}).items():
        np.testing.assert_array_equal(source.read(name), array)
    plain = opened(tmp_path, pack(pickle.dumps({"w": W}, 4)), "x.pkl")
    assert plain.listing.format == f"pickle, compressed with {how}"
    np.testing.assert_array_equal(plain.read("w"), W)
    with pytest.raises(OpenError, match=r"too early|damaged"):
        opened(tmp_path, data[: len(data) // 2])
    (tmp_path / "bomb.joblib").write_bytes(pack(dumped({"z": np.zeros(10_000_000, "u1")})))
    monkeypatch.setattr(legacy, "MAX_PICKLE_BYTES", 1 << 20)
    with pytest.raises(OpenError, match=r"unpacks to more than 1\.00 MiB: it is refused"):
        open_path(tmp_path / "bomb.joblib")


def test_other_compressed_files_are_still_told_to_be_decompressed(tmp_path: Path) -> None:
    for data, how in ((gzip.compress(b"text" * 50), "gzip"), (lzma.compress(b"text" * 50), "xz")):
        with pytest.raises(OpenError, match=f"is compressed with {how}: decompress it first"):
            opened(tmp_path, data)


def test_a_compressed_file_that_holds_no_pickle_is_named(tmp_path: Path) -> None:
    for data in (bz2.compress(b"text" * 50), b"BZh9" + bytes(40)):
        with pytest.raises(OpenError, match="is compressed with bzip2, and what is in it is no pickle, or is damaged"):
            opened(tmp_path, data)


def test_lz4_is_named_where_its_package_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "find_spec", lambda _: None)
    with pytest.raises(OpenError, match=r"is compressed with lz4: decompress it first .* the package lz4"):
        opened(tmp_path, content.LZ4 + bytes(60))


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def test_nothing_hides_in_the_bytes_of_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain unpickler takes for instructions what joblib takes for the bytes of an array."""
    monkeypatch.chdir(tmp_path)
    payload = pickle.dumps(Evil(), 2)
    array = np.frombuffer(payload, np.uint8)
    source = opened(tmp_path, dumped({"w": array}, is_old=True))
    assert "pickle-code" in {found.rule for found in source.listing.findings}
    np.testing.assert_array_equal(source.read("w"), array)
    # Since joblib 1.1 no unpickler goes on after the padding.
    data = dumped({"w": array})
    assert opened(tmp_path, data).listing.findings == ()
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(data)
    # Instructions in the place of the padding.
    at = len(data[: data.index(payload)].rstrip(b"\xff")) - 1
    for changed in (data[:at] + payload, data[: at + 1] + payload, data[:at] + b"\x12" + b"\xff" * 18 + payload):
        with pytest.raises(OpenError, match="no padding stands before an array of joblib"):
            opened(tmp_path, changed)
    nested = opened(tmp_path, dumped({"w": np.array([Evil()], object)}))
    assert "pickle-code" in {found.rule for found in nested.listing.findings}
    assert not (tmp_path / "ran").exists()


def test_a_file_of_paddle_is_told(tmp_path: Path) -> None:
    half = W.astype(ml_dtypes.bfloat16)
    value = {"w": half.view("u2"), "b": W, "c": W.astype("i1"), "StructuredToParameterName@@": {"w": "linear_0.w_0"}}
    source = opened(tmp_path, pickle.dumps(value, 4), "m.pdparams")
    assert source.listing.format == "pickle (Paddle)"
    assert source.find("w").notes[-1] == "written as uint16, as Paddle writes bfloat16"
    assert source.find("w").dtype.name == "bfloat16"
    assert (source.read("w") == half).all()
    assert source.summarize("w").figures(W.size).max == half.max()
    assert source.find("c").notes[-1] == "Paddle writes fp8 as int8: these may be the bit patterns of fp8"
    assert source.find("b").notes == ()
    assert open_path(tmp_path).names() == source.names()


SMALL = {"w": W[:1, :3], "o": np.array([None], object)}


def test_every_truncated_file_is_a_sentence(tmp_path: Path) -> None:
    assert_only_sentences(tmp_path / "x", truncated(dumped(SMALL)))
    assert_only_sentences(tmp_path / "x", truncated(zlib.compress(dumped(SMALL))))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_files_are_sentences(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    path = tmp_path_factory.getbasetemp() / f"joblib-{os.getpid()}"
    data = dumped(SMALL)
    assert_only_sentences(path, [flipped(data, seed), flipped(zlib.compress(data), seed)])


def test_a_shape_that_the_file_cannot_hold(tmp_path: Path) -> None:
    data = dumped({"w": np.zeros((3, 5), "f4")}).replace(b"K\x03K\x05", b"K\x03K\xff")
    with pytest.raises(OpenError, match=r"ends inside an array of joblib, of 3,060 bytes"):
        opened(tmp_path, data)
    with pytest.raises((OpenError, ReadError)):
        opened(tmp_path, dumped({"w": np.zeros(3, "f4")})[:-30])
