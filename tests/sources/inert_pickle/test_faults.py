"""What a plain unpickler refuses is an error, though it can be read here. All inputs are harmless."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.factories_torch import build_model, integer, numbers, string, tensor_pickle
from tui_params.errors import OpenError
from tui_params.sources.inert_pickle import faults
from tui_params.sources.inert_pickle.machine import load_pickle
from tui_params.sources.inert_pickle.values import ByteArray, Encoded, SetValue, Stub, Text
from tui_params.sources.torch_save.zip import open_torch

DTYPE = b"cnumpy\ndtype\n"
F4 = DTYPE + string("f4") + b"\x89\x88\x87R"
STATE = b"(K\x03" + string("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
EMPTY = b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"

REFUSED: dict[str, tuple[bytes, str]] = {
    "a call of a number": (b"K\x01)R", "calls a number"),
    "a call of a list": (b"])R", "calls a list"),
    "arguments that are no tuple": (b"ccollections\nOrderedDict\n]R", "with a list for its arguments"),
    "too many arguments": (b"ccollections\nOrderedDict\n}}\x86R", "with 2 arguments of which it can make nothing"),
    "a set of a number": (b"cbuiltins\nset\nK\x01\x85R", "calls builtins.set with 1 argument"),
    "a call of an element type": (b"ctorch\nfloat32\n)R", "calls torch.float32, of which no call is known"),
    "an array that is called": (b"cnumpy\nndarray\nK\x01\x85R", "calls numpy.ndarray, of which no call is known"),
    "an object of a number": (b"K\x01)\x81", "makes an object of a number"),
    "a list as a key": (b"}]Ns", "uses a list as a key"),
    "a dict in a key": (b"}}\x85Ns", "uses a tuple as a key"),
    "an item of a set": (b"\x8f(]\x90", "uses a list as a key or as an item of a set"),
    "an item of a frozenset": (b"(]\x91", "uses a list as a key or as an item of a set"),
    "the state of a text": (string("a") + b"}b", "sets the state of a text"),
    "the state of a tensor": (tensor_pickle() + b"}b", "sets the state of a tensor"),
    "the state of a plain dict": (b"}}b", "sets the state of a dict"),
    "the state of an OrderedDict": (b"ccollections\nOrderedDict\n)RK\x01b", "sets the state of a dict"),
    "a text that is no UTF-8": (b"X\x01\x00\x00\x00\xff", "holds a text that is no UTF-8"),
    "a short text that is no UTF-8": (b"\x8c\x01\xff", "holds a text that is no UTF-8"),
    "half a surrogate pair": (b"X\x03\x00\x00\x00\xed\xa0\x80", "holds a text that is no UTF-8"),
    "half a surrogate pair in a line": (b"V\\ud800\n", "holds a text that is no UTF-8"),
    "a text without quotes": (b"Sab\n", "holds a text without its quotes"),
    "a text with a malformed escape": (b"S'\\xZ'\n", "a malformed escape"),
    "a number of the registry": (b"\x82\x05", "uses the registry of copyreg"),
    "a persistent id": (b"K\x01Q", "holds a persistent id that names no storage"),
    "a persistent id in a line": (b"P1\n", "holds a persistent id that names no storage"),
    "a storage of no storage class": (
        tensor_pickle(storage="float32"),
        "names a storage of the class torch.float32, which is none",
    ),
    "a global that is changed": (b"ccollections\nOrderedDict\nNNs", "changes a global itself"),
    "a flag that is no truth value": (
        tensor_pickle().replace(b"\x89ccollections", b"K\x01ccollections"),
        "calls torch._utils._rebuild_tensor_v2 with 6 arguments",
    ),
    "hooks that are no dict": (
        tensor_pickle().replace(b"\x89ccollections\nOrderedDict\n)R", b"\x89K\x01"),
        "calls torch._utils._rebuild_tensor_v2 with 6 arguments",
    ),
    "a storage made of nothing": (b"ctorch.storage\n_load_from_bytes\n)R", "_load_from_bytes with 0 arguments"),
    "a size of texts": (b"ctorch\nSize\n" + string("a") + b"\x85\x85R", "calls torch.Size"),
    "a layout that is none": (b"ctorch.serialization\n_get_layout\n" + string("torch.x") + b"\x85R", "_get_layout"),
    "a codec that is none": (b"c_codecs\nencode\n" + string("a") + string("b") + b"\x86R", "calls _codecs.encode"),
    "an element type that is none": (DTYPE + string("f5") + b"\x89\x88\x87R", "calls numpy.dtype"),
    "an element type that is not copied": (DTYPE + string(">i4") + b"\x89\x89\x87R", "calls numpy.dtype"),
    "the state of an element type": (F4 + STATE.replace(b"K\x03", b"K\x09"), "the state of an element type"),
    "flags of an element type": (F4 + STATE.replace(b"K\x00tb", b"K\x01tb"), "the state of an element type"),
    "fields without names": (F4 + STATE.replace(b"NNN", b"NN}"), "the state of an element type"),
    "an array of no class": (EMPTY.replace(b"cnumpy\nndarray\n", b"ctorch\nfloat32\n"), "_reconstruct with 3"),
    "an array that is not empty": (EMPTY.replace(b"K\x00", b"K\x02"), "_reconstruct with 3 arguments"),
    "the state of an array": (EMPTY + b"(K\x07K\x01\x85" + F4 + b"\x89C\x00tb", "the state of an array"),
}

TAKEN: dict[str, bytes] = {
    "an OrderedDict with attributes": b"ccollections\nOrderedDict\n)R}" + string("a") + b"K\x01sb",
    "a tensor as a key": b"}" + tensor_pickle() + b"Ns",
    "a frozenset of tuples": b"(K\x01\x85\x91",
    "a tuple as a key": b"}K\x01" + string("a") + b"\x86Ns",
    "a byte order that is a copy": DTYPE + string("i4") + b"\x89\x88\x87R" + STATE.replace(b"<", b">"),
    "an escape that Python keeps": b"S'\\d'\n",
    "a text of two bytes": b"X\x02\x00\x00\x00\xc3\xa9",
    "text as bytes": b"c_codecs\nencode\n" + string("a") + string("utf-8") + b"\x86R",
    "a class that is not known": b"cmy.pkg\nThing\nK\x01\x85R}b",
}  # fmt: skip


def faults_of(body: bytes, protocol: int = 2) -> list[str]:
    return list(load_pickle(b"\x80" + bytes([protocol]) + body + b".").faults.found)


@pytest.mark.parametrize("name", REFUSED)
def test_what_nobody_else_reads_is_a_fault(name: str) -> None:
    body, words = REFUSED[name]
    for code in (body, body + b"0N", body + b"\x85"):
        assert any(words in fault for fault in faults_of(code)), faults_of(code)


@pytest.mark.parametrize("name", TAKEN)
def test_what_only_looks_like_a_fault_is_none(name: str) -> None:
    assert faults_of(TAKEN[name]) == []


@pytest.mark.parametrize("code", [b"K\x01(\x85", b"ccollections\nOrderedDict\n(R", b"K\x01(}(s", b"N("])
def test_nothing_is_taken_from_below_a_mark(code: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(b"\x80\x02" + code + b".")
    with pytest.raises(OpenError):
        load_pickle(b"\x80\x02" + code + b".")


@pytest.mark.parametrize(
    ("code", "value"),
    [(b"I010\n", 8), (b"I0x10\n", 16), (b"I3 \n", 3), (b"L0x10L\n", 16), (b"I-3\n", -3), (b"L-3L\n", -3)],
)
def test_numbers_in_lines_are_those_of_the_real_unpickler(code: bytes, value: int) -> None:
    assert pickle.loads(code + b".") == load_pickle(code + b".").root == value


@pytest.mark.parametrize("code", [b"F1_0\n", b"F 1\n", b"I08\n", b"Ix\n"])
def test_numbers_that_the_real_unpickler_refuses(code: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        pickle.loads(code + b".")
    with pytest.raises(Exception, match="malformed number"):
        load_pickle(code + b".")


def framed(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(b"\x95" + len(part).to_bytes(8, "little") + part for part in parts)


def test_parts_that_do_not_fit_are_a_fault() -> None:
    whole = framed(b"]\x94(K\x01K\x02e.")
    assert load_pickle(whole).faults.found == {}
    assert load_pickle(framed(b"]\x94(K\x01", b"K\x02e.")).faults.found == {}
    for length, words in ((99, "announces 99 bytes where 9 follow"), (7, "across the end of a part")):
        code = whole[:3] + bytes([length]) + whole[4:]
        assert any(words in fault for fault in load_pickle(code).faults.found)
    inside = whole[:3] + bytes([18]) + whole[4:11] + b"\x95" + bytes(8) + whole[11:]
    assert list(load_pickle(inside).faults.found) == ["has an instruction across the end of a part"]


@pytest.mark.parametrize("protocol", [4, 5])
def test_long_values_stand_outside_of_parts(protocol: int) -> None:
    values: list[Any] = [["x" * 70_000], {"a": b"x" * 70_000, "b": [b"y" * 80_000]}, list(range(40_000)), [1]]
    for value in values:
        assert load_pickle(pickle.dumps(value, protocol)).faults.found == {}


def test_a_file_shows_the_first_faults_and_counts_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pkl"
    body = b"".join(REFUSED[name][0] + b"0" for name in ("a call of a number", "a list as a key", "a call of a list"))
    path.write_bytes(b"\x80\x02" + body + REFUSED["an item of a set"][0] + b"0" + string("a") + b"}b.")
    (finding,) = [finding for finding in open_torch(path).listing.findings if finding.rule == "bad-pickle"]
    assert finding.severity == "error"
    assert finding.evidence == (
        "the pickle x.pkl is damaged: it calls a number; it uses a list as a key or as an item of a set;"
        " it calls a list (and 1 more fault)"
    )
    monkeypatch.setattr(faults, "MAX_FAULTS", 3)
    machine = load_pickle(path.read_bytes())
    assert (len(machine.faults.found), machine.faults.more) == (3, 1)


@pytest.mark.parametrize("protocol", range(6))
def test_what_numpy_writes_has_no_fault(protocol: int) -> None:
    import ml_dtypes

    values: list[Any] = [
        np.array([1], "M8[s]"), np.timedelta64(3, "D"), np.array(["x"], "U3"), np.array([b"x"], "S3"),
        np.zeros(2, [("x", "f4"), ("y", "i8", (2,))]), np.array([None, 1], object), np.zeros(2, ">c16"),
        np.zeros(2, ml_dtypes.bfloat16), np.ma.masked_array([1.0, 2.0], [False, True]), np.longdouble(2),
        np.dtype("f4", metadata={"a": 1}), np.zeros((2, 3)).T, np.bool_(True), np.dtype("V8"), np.zeros(0),
        np.random.default_rng(0), np.random.RandomState(0), np.str_("x"), np.void(b"abc"),
    ]  # fmt: skip
    for value in values:
        assert load_pickle(pickle.dumps(value, protocol)).faults.found == {}, value


def sparse(indices: bytes, values: bytes, size: bytes) -> bytes:
    layout = b"ctorch.serialization\n_get_layout\n" + string("torch.sparse_coo") + b"\x85R"
    return b"ctorch._utils\n_rebuild_sparse_tensor\n" + layout + b"(" + indices + values + size + b"\x89t\x86R"


@pytest.mark.parametrize(
    ("storage", "shape", "size", "is_fault"),
    [
        ("LongStorage", (1, 4), b"K\x05\x85", False),
        ("FloatStorage", (1, 4), b"K\x05\x85", True),
        ("LongStorage", (1, 3), b"K\x05\x85", True),
        ("LongStorage", (2, 4), b"K\x05\x85", True),
        ("LongStorage", (1, 4), b"J\xff\xff\xff\xff\x85", True),
        ("LongStorage", (1, 4), b"]", True),
    ],
)
def test_the_parts_of_a_sparse_tensor_belong_together(
    storage: str, shape: tuple[int, ...], size: bytes, is_fault: bool
) -> None:
    indices = tensor_pickle(storage=storage, shape=shape, stride=(shape[1], 1))
    assert bool(faults_of(sparse(indices, tensor_pickle(key="1"), size))) == is_fault


def test_a_sparse_tensor_whose_indices_have_a_tuple_for_a_length_is_a_fault() -> None:
    indices = tensor_pickle(storage="LongStorage", shape=(1, 4), stride=(4, 1))
    odd = indices.replace(numbers((1, 4)), b"(" + numbers((1,)) + integer(4) + b"t", 1)
    assert odd != indices
    assert faults_of(sparse(odd, tensor_pickle(key="1"), b"K\x05\x85"))


@pytest.mark.parametrize("key", [1 << 64, -(1 << 70), 7])
def test_a_key_that_is_a_large_number_is_a_name(tmp_path: Path, key: int) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({key: {"w": np.arange(3.0)}}))
    assert [info.name for info in open_torch(path).listing.tensors] == [f"{key}.w"]


@pytest.mark.parametrize("protocol", range(6))
def test_what_torch_writes_has_no_fault(protocol: int) -> None:
    import torch

    values: list[Any] = [
        build_model(), torch.device("cuda:0"), torch.Size([1]), torch.float16, torch.sparse_coo, torch.Generator(),
        torch.sparse_coo_tensor([[0, 1]], [2.0, 3.0], (3,), check_invariants=True),
        torch.nn.Parameter(torch.ones(2)), torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
    ]  # fmt: skip
    for value in values:
        assert load_pickle(pickle.dumps(value, protocol)).faults.found == {}, value


ARGUMENTS: list[tuple[Any, ...]] = [
    (), (1,), (True,), (1.5,), ("1j",), ("x",), (None,), (b"ab",), ([1, 2],), ((1, 255),), ([1, 256],), ([-1],),
    ([1.5],), (["a"],), ([],), (-1,), (1, 2), (1.5, True), (1, "2"), ("1", 2), ("1", "ascii"), (None, 1), (0,),
    ("a", "latin-1"), ("a", "latin-1", "strict"), ("a", 1), (b"a", "latin-1"), ("a", None), (1, 2, 3), (1, 2, 3, 4),
    ("a", "latin-1", 1), ({1, 2},), ({1: 2},),
]  # fmt: skip


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize(
    ("make", "refuses"), [(complex, faults.refuses_complex), (bytearray, faults.refuses_bytearray)]
)
def test_arguments_that_python_refuses(make: Any, refuses: Any, arguments: tuple[Any, ...]) -> None:
    try:
        make(*arguments)
    except (TypeError, ValueError):
        assert refuses(arguments)
    else:
        assert not refuses(arguments)


@pytest.mark.parametrize("argument", [Stub("torch", "float32"), ByteArray(b""), Encoded("a"), SetValue([])])
def test_what_stands_for_no_number_makes_none(argument: Any) -> None:
    assert faults.refuses_complex((argument,))
    assert faults.refuses_complex((1.0, argument))
    assert not faults.refuses_complex((Text("1j"),)), "it may be a number"


PAIRS: tuple[Any, ...] = (
    [],
    [("a", 1)],
    ["ab"],
    [[1, 2], b"xy"],
    (2, 3),
    [None],
    [("a",)],
    [("a", 1, 2)],
    ["abc"],
    (1.0,),
    [True],
)


@pytest.mark.parametrize("kind", [dict, OrderedDict])
@pytest.mark.parametrize("given", PAIRS, ids=repr)
def test_a_dict_is_made_of_pairs_only(kind: type, given: Any) -> None:
    code = f"c{'builtins' if kind is dict else 'collections'}\n{kind.__name__}\n".encode()
    code += pickle.dumps(given, 2)[2:-1] + b"\x85R"
    try:
        kind(given)
        is_refused = False
    except (TypeError, ValueError):
        is_refused = True
    assert bool(faults_of(code)) == is_refused


def test_bytes_are_no_text_to_encode() -> None:
    made = b"c_codecs\nencode\n" + string("ab") + string("latin1") + b"\x86R"
    assert faults_of(b"cbuiltins\nbytearray\n" + made + string("latin1") + b"\x86R")
    assert not faults_of(b"cbuiltins\nbytearray\n" + string("ab") + string("latin1") + b"\x86R")


def test_a_storage_keeps_the_type_of_its_first_name() -> None:
    first = tensor_pickle(shape=(2,))
    assert not faults_of(first + first + b"\x86")
    assert faults_of(first + tensor_pickle(shape=(2,), storage="IntStorage") + b"\x86") == [
        "names the storage 0 as FloatStorage and as IntStorage"
    ]


def test_a_key_that_is_set_twice_loses_a_value_that_nobody_looked_at() -> None:
    twice = b"}(" + string("a") + tensor_pickle() + string("a") + tensor_pickle(key="1") + b"u"
    assert faults_of(twice) == ["sets a key of a dict twice"]
    assert faults_of(b"}" + string("a") + b"K\x01s" + string("a") + b"K\x02s") == ["sets a key of a dict twice"]
    assert not faults_of(b"}(" + string("a") + b"K\x01" + string("b") + b"K\x02u")


def test_a_parameter_is_made_by_a_call() -> None:
    parts = tensor_pickle() + b"\x88ccollections\nOrderedDict\n)R\x87"
    assert not faults_of(b"ctorch._utils\n_rebuild_parameter\n" + parts + b"R")
    assert faults_of(b"ctorch._utils\n_rebuild_parameter\n" + parts + b"\x81") == ["makes an object of a function"]
