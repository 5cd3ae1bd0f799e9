"""Arrays, element types and bytearrays that numpy or pickle refuses, each beside one that they take. All harmless."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.factories_torch import string, tensor_pickle
from tui_params.core.health.checker import check
from tui_params.sources.detect import open_path
from tui_params.sources.inert_pickle import machine
from tui_params.sources.inert_pickle.machine import load_pickle

MULTIARRAY = b"cnumpy._core.multiarray\n"
FROM_BUFFER = b"cnumpy._core.numeric\n_frombuffer\n"
STATE = b"(K\x03" + string("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
F4 = b"cnumpy\ndtype\n" + string("f4") + b"\x89\x88\x87R" + STATE
OBJECTS = (
    b"cnumpy\ndtype\n"
    + string("O8")
    + b"\x89\x88\x87R"
    + STATE.replace(string("<"), string("|")).replace(b"K\x00tb", b"K?tb")
)
NUMBER = b"C\x04\x00\x00\x80?"
BYTE_ARRAY = b"\x96\x04\0\0\0\0\0\0\0\x00\x00\x80?"
BYTE_ARRAY_OF_BYTES = b"cbuiltins\nbytearray\n" + NUMBER + b"\x85R"
BYTE_ARRAY_OF_TEXT = b"cbuiltins\nbytearray\n" + string("abcd") + string("latin-1") + b"\x86R"
ENCODED = b"c_codecs\nencode\n" + string("b") + string("latin1") + b"\x86R"


def reconstructed(code: bytes = b"C\x01b") -> bytes:
    return MULTIARRAY + b"_reconstruct\ncnumpy\nndarray\nK\x00\x85" + code + b"\x87R"


def array(
    data: bytes = NUMBER, dtype: bytes = F4, shape: bytes = b"K\x01\x85", order: bytes = b"\x89", more: bytes = b""
) -> bytes:
    return reconstructed() + b"(K\x01" + shape + dtype + order + data + more + b"tb"


def scalar(dtype: bytes = F4, data: bytes = NUMBER) -> bytes:
    return MULTIARRAY + b"scalar\n" + dtype + data + b"\x86R"


def from_buffer(data: bytes = BYTE_ARRAY, shape: bytes = b"K\x01\x85", order: bytes = string("C")) -> bytes:
    return FROM_BUFFER + b"(" + data + F4 + shape + order + b"tR"


def texts(code: str, size: bytes, data: bytes) -> bytes:
    dtype = b"cnumpy\ndtype\n" + string(code) + b"\x89\x88\x87R(K\x03" + string("|") + b"NNN" + size + b"K\x01K\x00tb"
    return array(data, dtype)


REFUSED: dict[str, tuple[bytes, str]] = {
    "a bytearray as a key": (b"}" + BYTE_ARRAY + b"Ns", "uses a bytearray as a key"),
    "a bytearray of bytes as an item": (b"\x8f(" + BYTE_ARRAY_OF_BYTES + b"\x90", "uses a bytearray as a key"),
    "a bytearray of a text in a key": (b"}" + BYTE_ARRAY_OF_TEXT + b"\x85Ns", "uses a tuple as a key"),
    "an array as a key": (b"}" + array() + b"Ns", "uses an array as a key"),
    "an array without dimensions as a key": (b"}" + from_buffer(shape=b")") + b"Ns", "uses an array as a key"),
    "a type code in a bytearray": (
        reconstructed(b"cbuiltins\nbytearray\nC\x01b\x85R"),
        "_reconstruct with 3 arguments",
    ),
    "the state of bytes": (ENCODED + b"(K\x01tb", "sets the state of bytes"),
    "the state of a bytearray": (BYTE_ARRAY + b"K\x01b", "sets the state of a bytearray"),
    "elements in a bytearray": (array(BYTE_ARRAY), "sets the state of an array"),
    "elements that are nothing": (array(b"N"), "sets the state of an array"),
    "numbers in a list": (array(b"(G?\xf0\x00\x00\x00\x00\x00\x00l"), "sets the state of an array"),
    "objects in bytes": (array(dtype=OBJECTS), "sets the state of an array"),
    "objects in a tuple": (array(b"K\x01\x85", OBJECTS), "sets the state of an array"),
    "an element type that is bytes": (array(dtype=b"C\x02f4"), "sets the state of an array"),
    "too few elements": (array(shape=b"K\x02\x85"), "sets the state of an array"),
    "too many elements": (array(shape=b")", data=b"C\x08" + bytes(8)), "sets the state of an array"),
    "too few encoded elements": (array(ENCODED), "sets the state of an array"),
    "a negative dimension": (array(shape=b"J\xff\xff\xff\xff\x85"), "sets the state of an array"),
    "no order": (array(order=b"N"), "sets the state of an array"),
    "a mask of a plain array": (array(more=b"C\x01\x00N"), "sets the state of an array"),
    "elements of a text": (from_buffer(string("abcd")), "_frombuffer with 4 arguments"),
    "elements of a list": (from_buffer(b"]"), "_frombuffer with 4 arguments"),
    "an order that is a number": (from_buffer(order=b"K\x01"), "_frombuffer with 4 arguments"),
    "an order without axes": (from_buffer(order=string("K")), "_frombuffer with 4 arguments"),
    "a scalar of no element type": (scalar(b"C\x02f4"), "scalar with 2 arguments"),
    "a scalar of a bytearray": (scalar(data=BYTE_ARRAY), "scalar with 2 arguments"),
    "a scalar of too few bytes": (scalar(data=b"C\x03abc"), "scalar with 2 arguments"),
    "a scalar of too few bytes in a list": (b"(" + scalar(data=b"C\x03abc") + b"l", "scalar with 2 arguments"),
    "a type code of another text": (
        reconstructed(b"c_codecs\nencode\n" + string("latin1") + b"\x85R"),
        "_reconstruct with 3 arguments",
    ),
    "a negative number of a value": (b"]p-1\n", "stores a value under a negative number"),
    "a view of a text": (string("a") + b"\x98", "makes a view of the bytes of a text"),
    "a view of a tuple": (b")\x98", "makes a view of the bytes of a tuple"),
    "an object of a function": (b"c_codecs\nencode\n" + string("b") + string("latin1") + b"\x86\x81", "of a function"),
    "texts of no size": (texts("S4", b"J\xff\xff\xff\xff", NUMBER), "sets the state of an element type"),
    "objects whose type has no list": (
        array(b"(K\x01l", OBJECTS.replace(b"K?tb", b"K\x00tb")),
        "sets the state of an array",
    ),
    "bytes of no size": (texts("V4", b"J\xff\xff\xff\xff", NUMBER), "sets the state of an element type"),
}

TAKEN: dict[str, bytes] = {
    "bytes as a key": b"}" + NUMBER + b"Ns",
    "encoded bytes as a key": b"}" + ENCODED + b"Ns",
    "a scalar as a key": b"}" + scalar() + b"Ns",
    "a bytearray as a value": b"}" + string("a") + BYTE_ARRAY + b"s",
    "a type code in encoded bytes": reconstructed(ENCODED) + b"(K\x01K\x01\x85" + F4 + b"\x89" + NUMBER + b"tb",
    "an array": array(),
    "an array without dimensions": array(shape=b")"),
    "an array of no elements": array(b"C\x00", shape=b"K\x00K\x05\x86"),
    "a type code in ASCII": reconstructed(b"c_codecs\nencode\n" + string("b") + string("ascii") + b"\x86R"),
    "a scalar of text": scalar(data=string("abcd")),
    "a number of a value that is skipped": b"]p999\n",
    "an array in Fortran order": array(order=b"\x88"),
    "an array with its order as a number": array(order=b"K\x00"),
    "an array of objects": array(b"(K\x01l", OBJECTS),
    "an array of text": array(string("abcd")),
    "an array of a bytearray": from_buffer(),
    "an array of a bytearray of bytes": from_buffer(BYTE_ARRAY_OF_BYTES),
    "a view of bytes": b"C\x01a\x98",
    "an array of a view": from_buffer(BYTE_ARRAY + b"\x98"),
    "an array of bytes": from_buffer(NUMBER),
    "a scalar with a state": scalar() + b"K\x01b",
    "texts": texts("S4", b"K\x04", NUMBER),
    "texts whose state has the last word": texts("S9", b"K\x04", NUMBER),
}


def test_a_sparse_tensor_is_made_by_a_call() -> None:
    layout = b"ctorch.serialization\n_get_layout\n" + string("torch.sparse_coo") + b"\x85R"
    indices = tensor_pickle(storage="LongStorage", shape=(1, 4), stride=(4, 1))
    data = b"(" + indices + tensor_pickle(key="1") + b"K\x05\x85\x89t"
    code = b"ctorch._utils\n_rebuild_sparse_tensor\n" + layout + data + b"\x86"
    assert faults_of(code + b"R") == []
    assert faults_of(code + b"\x81") == ["makes an object of torch._utils._rebuild_sparse_tensor, which is no class"]
    code = b"ctorch\nfloat16\n)"
    assert faults_of(code + b"\x81") == ["makes an object of torch.float16, which is an element type"]
    code = b"ctorch\nFloatStorage\n)"
    assert faults_of(code + b"\x81") == ["makes an object of torch.FloatStorage, which torch makes itself"]


def faults_of(body: bytes) -> list[str]:
    return list(load_pickle(b"\x80\x05" + body + b".").faults.found)


@pytest.mark.parametrize("name", REFUSED)
def test_what_numpy_refuses_is_a_fault(name: str) -> None:
    body, words = REFUSED[name]
    with pytest.raises((TypeError, ValueError, AttributeError, pickle.UnpicklingError)):
        pickle.loads(b"\x80\x05" + body + b".")
    found = faults_of(body)
    assert any(words in fault for fault in found), found


@pytest.mark.parametrize("name", TAKEN)
def test_what_numpy_takes_is_none(name: str) -> None:
    pickle.loads(b"\x80\x05" + TAKEN[name] + b".")
    assert faults_of(TAKEN[name]) == []


@pytest.mark.parametrize(("number", "is_fault"), [(40, True), (30, False)])
def test_a_value_is_stored_as_a_number_that_a_table_can_have(
    monkeypatch: pytest.MonkeyPatch, number: int, is_fault: bool
) -> None:
    monkeypatch.setattr(machine, "MAX_OPERATIONS", 30)
    for code in (f"]p{number}\n".encode(), bytes([0x5D, 0x71, number]), bytes([0x5D, 0x72, number, 0, 0, 0])):
        assert bool(faults_of(code)) == is_fault


@pytest.mark.parametrize("protocol", range(6))
def test_bytearrays_and_their_arrays_are_healthy(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "x.pkl"
    value: dict[str, Any] = {
        "raw": bytearray(b"ab"), "empty": bytearray(), "long": bytearray(300), "w": np.arange(200.0),
        "texts": np.array(["a", "bcd"]), "none": np.array([], "S"), "dates": np.array(["2020-01-01"], "M8[D]"),
    }  # fmt: skip
    path.write_bytes(pickle.dumps(value, protocol))
    with open_path(path) as source:
        assert source.listing.findings == ()
        assert source.listing.metadata["raw"] == "2 bytes"
        np.testing.assert_array_equal(source.read("w"), value["w"])
        assert check(source).status == "ok"


@pytest.mark.parametrize(
    ("code", "size", "is_fault"), [("S4", 4, False), ("S4", 3, True), ("S", 3, True), ("a", 4, False)]
)
def test_texts_need_the_bytes_that_their_state_says(tmp_path: Path, code: str, size: int, is_fault: bool) -> None:
    path = tmp_path / "x.pkl"
    body = b"}(" + string("w") + array() + string("t") + texts(code, bytes([0x4B, size]), NUMBER) + b"u"
    path.write_bytes(b"\x80\x05" + body + b".")
    with open_path(path) as source:
        assert [finding.rule for finding in source.listing.findings] == ["storage-bounds"] * is_fault
    if is_fault:
        with pytest.raises(ValueError, match="buffer size does not match"):
            pickle.loads(path.read_bytes())
    else:
        assert pickle.loads(path.read_bytes())["t"].tolist() == [b"\x00\x00\x80?"]
