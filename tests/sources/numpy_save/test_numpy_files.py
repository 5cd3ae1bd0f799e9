"""NPY and NPZ: values against numpy, what numpy refuses, and damaged files."""

from __future__ import annotations

import io
import os
import warnings
import zipfile
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
from tui_params.sources.detect import open_path
from tui_params.sources.numpy_save import inflated, npz
from tui_params.sources.numpy_save.literal import parse_literal

VALUES = np.array([[0.0, -0.0, 1.5, -2.25], [3.0, 4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 10.0]])
PLAIN = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1", "c16", "c8"]


def npy(array: NDArray[Any], **named: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.save(buffer, array, **named)
    return buffer.getvalue()


def opened(tmp_path: Path, data: bytes, name: str = "x") -> Source:
    (tmp_path / name).write_bytes(data)
    return open_path(tmp_path / name)


def header(text: str, version: bytes = b"\1\0", data: bytes = b"") -> bytes:
    raw = text.encode()
    return b"\x93NUMPY" + version + len(raw).to_bytes(2 if version[0] == 1 else 4, "little") + raw + data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("code", PLAIN)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_every_plain_type_in_every_order_is_what_numpy_loads(tmp_path: Path, code: str, order: str) -> None:
    values = np.abs(VALUES) if code[0] == "u" else VALUES
    array = values.astype(order + code)
    shapes = (array, np.asfortranarray(array), array[:, ::2], array[0, 2], array[:0], array.reshape(3, 2, 2).T)
    for number, stored in enumerate(shapes):
        data = npy(stored)
        source = opened(tmp_path, data, f"{number}.npy")
        read = source.read("array")
        due = np.load(io.BytesIO(data))
        assert read.dtype == due.dtype.newbyteorder("=")
        assert read.tobytes() == due.astype(read.dtype).tobytes()
        assert read.shape == due.shape
        if stored.size and code[0] in "fiu":
            found = source.summarize("array").figures(stored.size)
            assert (found.min, found.max, found.count) == (due.min(), due.max(), due.size)
        np.testing.assert_array_equal(source.read("array", "[-1:]" if due.ndim else ""), due[-1:] if due.ndim else due)


def test_types_of_ml_dtypes(tmp_path: Path) -> None:
    array = VALUES.astype(ml_dtypes.bfloat16)
    source = opened(tmp_path, npy(array))
    assert source.find("array").dtype.name == "bfloat16"
    np.testing.assert_array_equal(source.read("array"), array)
    source = opened(tmp_path, npy(VALUES.astype(ml_dtypes.float8_e5m2)))
    assert source.find("array").dtype.name == "float8_e5m2"
    np.testing.assert_array_equal(source.read("array"), VALUES.astype(ml_dtypes.float8_e5m2))
    for name in ("float8_e4m3fn", "int4"):
        array = VALUES.astype(getattr(ml_dtypes, name))
        source = opened(tmp_path, npy(array))
        (info,) = source
        assert info.dtype.name == "bits8"
        assert "which may be fp8 or int4: the file does not say" in info.notes[0]
        np.testing.assert_array_equal(source.read("array"), array.view(np.uint8))
    # A void of two bytes that is no bfloat16.
    (info,) = opened(tmp_path, npy(np.zeros(3, "V2")))
    assert info.unreadable == "elements of type V2 cannot be decoded here"


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([{1: 2}, None], object), "an array of Python objects, which are pickled"),
        (np.zeros(2, [("a", "<f4"), ("b", "<i2", (2,))]), r"an array of records \(fields a, b\)"),
        (np.zeros(2, np.dtype([("a", "u1"), ("b", "f4")], align=True)), r"records \(fields a, b\)"),
        (np.zeros(2, [("é", "<f4")]), r"records \(fields é\)"),
        (np.ones(1, np.longdouble), "elements of type float(128|96) cannot be decoded"),
    ],
)
def test_what_holds_no_plain_numbers_is_named(tmp_path: Path, array: NDArray[Any], words: str) -> None:
    if array.dtype == np.float64:
        pytest.skip("a long double is a double here")
    source = opened(tmp_path, npy(array, allow_pickle=True))
    assert source.find("array").shape == array.shape
    with pytest.raises(ReadError, match=words):
        source.read("array")
    assert [found.tensor for found in tui_params.check(source).unchecked] == ["array"]


def test_texts_and_dates_are_metadata(tmp_path: Path) -> None:
    for array in (np.array(["ab"]), np.array([b"ab"]), np.array(["2020"], "M8[D]")):
        listing = opened(tmp_path, npy(array)).listing
        assert not listing.tensors
        assert listing.metadata["array"].startswith("texts or dates of type ")


def test_headers_of_other_writers(tmp_path: Path) -> None:
    data = np.arange(6, dtype="<f4").tobytes()
    for version in (b"\1\0", b"\2\0", b"\3\0"):
        for text in (
            "{'descr':'<f4','fortran_order':False,'shape':(2,3)}",
            "{'shape': (2L, 3L), 'fortran_order': False, 'descr': '<f4', }\n",
            '{"descr": "<f4", "fortran_order": False, "shape": (2, 3), "more": [None, {"a": (1)}]}',
        ):
            np.testing.assert_array_equal(
                opened(tmp_path, header(text, version, data)).read("array"), [[0, 1, 2], [3, 4, 5]]
            )


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch x')",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (10**9,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': [1]}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 4000000000, 4000000000)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} 2",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}",
        "(" * 500,
        "{'a':" * 500,
        "-" * 500 + "1",
        "",
    ],
)
def test_headers_that_are_no_array(tmp_path: Path, text: str) -> None:
    with pytest.raises(OpenError, match="x is a NumPy array that cannot be read: "):
        opened(tmp_path, header(text, data=bytes(64)))


def test_a_literal_is_what_python_reads() -> None:
    for text in ("(1,)", "(1)", "()", "[]", "[1, 'a\\n\\x41\\'', (None, True)]", "{'a': {'b': (-3, 4)}}", '"\\u00e9"'):
        assert parse_literal(text) == eval(text)


def test_a_shorter_or_longer_file_is_found(tmp_path: Path) -> None:
    whole = npy(VALUES)
    source = opened(tmp_path, whole[:-1])
    assert [(found.rule, found.tensor) for found in source.listing.findings] == [("truncated", "array")]
    with pytest.raises(ReadError, match="its shape and type need 96 bytes, and it has 95"):
        source.read("array")
    (found,) = opened(tmp_path, whole + b"12").listing.findings
    assert (found.rule, found.severity) == ("trailing-bytes", "error")
    (found,) = opened(tmp_path, whole + whole).listing.findings
    assert (found.rule, found.severity) == ("trailing-bytes", "warning")
    assert "another array starts there" in found.evidence


def archive(compressed: bool = False, **arrays: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (np.savez_compressed if compressed else np.savez)(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


ARRAYS = {"a/b": VALUES.astype("f4"), "c.npy": np.ones(3), "w": np.asfortranarray(VALUES), "e": np.zeros((0, 3))}


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_is_what_numpy_loads(tmp_path: Path, compressed: bool) -> None:
    data = archive(compressed, **ARRAYS, s=np.array(["x"]), o=np.array([{}], object), m=VALUES.astype("f2"))
    source = opened(tmp_path, data)
    due = np.load(io.BytesIO(data), allow_pickle=True)
    assert source.listing.format == "NPZ"
    assert [info.name for info in source.listing.tensors] == ["a/b", "c.npy", "w", "e", "o", "m"]
    assert source.listing.metadata == {"s": "texts or dates of type U1, [1]"}
    for name in (*ARRAYS, "m"):
        np.testing.assert_array_equal(source.read(name), due[name])
        assert source.summarize(name).count == due[name].size
    report = tui_params.check(source)
    assert [found.tensor for found in report.unchecked] == ["o"]
    assert not [found for found in report.findings if found.severity == "error"]
    np.testing.assert_array_equal(source.read("w", "[1:, 2]"), due["w"][1:, 2])
    source.close()
    with pytest.raises(ReadError, match="closed"):
        source.read("w")


def test_a_wrong_byte_in_a_compressed_array_is_no_value(tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 256, 5000, np.uint8)
    data = bytearray(archive(True, a=array))
    data[3000] ^= 1
    source = opened(tmp_path, bytes(data))
    with pytest.raises(ReadError, match=r"checksum|damaged"):
        source.read("a")
    stored = bytearray(archive(a=array))
    stored[3000] ^= 1
    assert "checksum" in {found.rule for found in tui_params.check(opened(tmp_path, bytes(stored))).findings}


def test_no_more_is_unpacked_than_the_limit_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "MAX_INFLATED_NBYTES", 1000)
    source = opened(tmp_path, archive(True, a=np.zeros(200), b=np.ones(3)))
    with pytest.raises(ReadError, match=r"it is compressed, and has 1\.69 KiB when unpacked: at most 1000 B"):
        source.read("a")
    np.testing.assert_array_equal(source.read("b"), np.ones(3))
    assert not source.listing.findings


def test_a_member_that_grows_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory claims less than the stream unpacks to."""
    monkeypatch.setattr(inflated, "_STEP", 4096)
    data = bytearray(archive(True, a=np.zeros(1_000_000)))
    size = (8_000_128).to_bytes(4, "little")
    at = data.rindex(size)
    data[at : at + 4] = (928).to_bytes(4, "little")
    (found,) = opened(tmp_path, bytes(data)).listing.findings
    assert found.rule == "malformed-tensor"
    assert "unpacks to more than the 928 bytes that it claims" in found.evidence
    packed = inflated.Packed("a", 0, 0, 100, 0)
    monkeypatch.setattr(inflated, "_unpack", lambda *given: iter([bytes(90), bytes(90)]))
    with pytest.raises(ReadError, match="unpacks to more than the 100 bytes that it claims"):
        inflated.inflate(None, packed)  # type: ignore[arg-type]


def test_members_of_one_name_and_members_without_an_array(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as into:
        warnings.simplefilter("ignore")
        into.writestr("a.npy", npy(np.zeros(2)))
        into.writestr("a.npy", npy(np.ones(2)))
        into.writestr("a", npy(np.full(2, 3.0)))
        into.writestr("notes.txt", "x")
        into.writestr("bad.npy", b"\x93NUMPY\1\0\xff\0{")
    source = opened(tmp_path, buffer.getvalue())
    assert sorted(info.name for info in source) == ["a", "a.npy", "bad"]
    np.testing.assert_array_equal(source.read("a.npy"), [1, 1])
    np.testing.assert_array_equal(source.read("a"), [3, 3])
    assert source.listing.metadata == {"notes.txt": "a file of 1 B that is no array"}
    assert {found.rule for found in source.listing.findings} == {"zip-duplicates", "malformed-tensor"}


def test_what_python_takes_for_no_number_is_none(tmp_path: Path) -> None:
    text = "{{'descr': '<f8', 'fortran_order': False, 'shape': ({}, 3), }}"
    assert opened(tmp_path, header(text.format("00"))).find("array").shape == (0, 3)
    with pytest.raises(OpenError, match="no Python literal"):
        opened(tmp_path, header(text.format("02"), data=bytes(48)))
    # numpy takes bytes for no type.
    with pytest.raises(OpenError, match="no Python literal"):
        opened(tmp_path, header(text.format("2").replace("'<f8'", "b'<f8'"), data=bytes(48)))


@pytest.mark.parametrize("space", ["\xa0", "\0", "\v"])
def test_what_python_takes_for_no_space_is_none(tmp_path: Path, space: str) -> None:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }}{space}\n"
    with pytest.raises(OpenError, match="no Python literal"):
        opened(tmp_path, header(text, b"\3\0", bytes(8)))


@pytest.mark.parametrize(("descr", "width"), [("<U2", 8), ("|S3", 3), ("<M8[s]", 8), ("<m8", 8)])
def test_texts_and_dates_of_another_length_are_an_error(tmp_path: Path, descr: str, width: int) -> None:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (2, 3), }}"
    for more in (-1, 0, 1):
        data = header(text, data=bytes(6 * width + more))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("t.npy", data)
        for content in (data, packed.getvalue()):
            found = opened(tmp_path, content).listing.findings
            assert [each.rule for each in found] == ["storage-bounds"] * (more != 0)


def test_what_numpy_refuses_of_an_archive(tmp_path: Path) -> None:
    data = bytearray(archive(a=np.arange(3.0)))
    at = data.rindex(b"PK\1\2")
    data[at + 6] = 64
    (found,) = opened(tmp_path, bytes(data)).listing.findings
    assert found.evidence == "it says that version 6.4 of zip is needed: numpy refuses more than 6.3"
    said = opened(tmp_path, b"PK\3\0" + archive(a=np.arange(3.0), b=np.arange(2.0))[4:], "x.npz").listing.findings
    assert any(found.evidence.startswith("its first bytes are not those of a zip") for found in said)
    data[at + 6], data[at + 16 : at + 20] = 20, bytes(4)
    # A checksum of 0 is one here, where torch writes it for none.
    (record,) = opened(tmp_path, bytes(data)).records()
    assert record.crc == 0
    for array in (np.array(["abc"]), np.zeros((0, 3))):
        # Nobody reads these, which are compressed.
        data = bytearray(archive(True, a=array))
        data[data.rindex(b"PK\1\2") + 16] ^= 1
        (found,) = opened(tmp_path, bytes(data)).listing.findings
        assert found.evidence == "a.npy does not match its checksum (CRC-32): the zip is damaged"
    data = bytearray(archive(a=np.arange(3.0), b=np.arange(2.0)).replace(b"b.npy", b"notes"))
    assert opened(tmp_path, bytes(data)).names() == ["a", "notes"]
    data[data.rindex(b"PK\1\2") + 10] = 9
    source = opened(tmp_path, bytes(data))
    assert source.listing.metadata == {"notes": "a file: it is compressed by method 9, which is not supported"}


def test_every_truncated_file_is_a_sentence(tmp_path: Path) -> None:
    small = archive(a=np.arange(3.0), b=np.asfortranarray(VALUES))
    for data in (npy(VALUES), small, archive(True, a=np.arange(3.0))):
        assert_only_sentences(tmp_path / "x", truncated(data))


SEEDS = (npy(VALUES), archive(a=np.arange(3.0), b=np.asfortranarray(VALUES)), archive(True, a=np.arange(3.0)))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_files_are_sentences(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    path = tmp_path_factory.getbasetemp() / f"numpy-{os.getpid()}"
    assert_only_sentences(path, (flipped(data, seed) for data in SEEDS))
