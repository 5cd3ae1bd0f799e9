"""What calls make that are not imitated, held against what Python makes of them. All inputs are harmless."""

from __future__ import annotations

import io
import pickle
from collections import Counter, OrderedDict, deque
from pathlib import Path

import pytest
import torch

from tests.factories_torch import string, tensor_pickle
from tui_params.errors import OpenError
from tui_params.sources.detect import open_path
from tui_params.sources.inert_pickle.machine import load_pickle
from tui_params.sources.inert_pickle.results import made_kind, may_be_storage, may_be_tensor
from tui_params.sources.inert_pickle.values import Obj, Storage, Stub, TensorValue

MADE: dict[str, tuple[bytes, type]] = {
    "complex": (b"cbuiltins\ncomplex\n)R", complex),
    "set": (b"cbuiltins\nset\nC\x02ab\x85R", set),
    "frozenset": (b"cbuiltins\nfrozenset\nC\x02ab\x85R", frozenset),
    "frozenset of a list": (b"cbuiltins\nfrozenset\n](K\x01K\x02e\x85R", frozenset),
    "bytearray": (b"cbuiltins\nbytearray\nK\x02\x85R", bytearray),
    "bytes": (b"cbuiltins\nbytes\nK\x02\x85R", bytes),
    "list": (b"cbuiltins\nlist\nC\x02ab\x85R", list),
    "tuple": (b"cbuiltins\ntuple\nC\x02ab\x85R", tuple),
    "dict": (b"cbuiltins\ndict\n](K\x01K\x02\x86e\x85R", dict),
    "OrderedDict": (b"ccollections\nOrderedDict\n](K\x01K\x02\x86e\x85R", OrderedDict),
    "Counter": (b"ccollections\nCounter\nC\x02ab\x85R", Counter),
    "deque": (b"ccollections\ndeque\nC\x02ab\x85R", deque),
    "int": (b"cbuiltins\nint\n)R", int),
    "float": (b"cbuiltins\nfloat\n)R", float),
    "str": (b"cbuiltins\nstr\n)R", str),
    "object": (b"cbuiltins\nobject\n)R", object),
}
KEY = string("k")
DONE: dict[str, bytes] = {
    "a key": KEY + b"K\x01s",
    "keys": b"(" + KEY + b"K\x01u",
    "an item": b"K\x01a",
    "items": b"(K\x01K\x02e",
    "members": b"(K\x01K\x02\x90",
    "a state": b"}" + KEY + b"K\x01sb",
    "a state that is no dict": b"K\x01b",
    "a call": b")R",
    "an object": b")\x81",
}
MILDER = {("bytearray", "an item"), ("bytearray", "items")}
"""Python takes these. No pickler writes them, so the machine may refuse them."""


def stored(data: bytes) -> bytes:
    """A call that loads a storage from bytes."""
    return b"ctorch.storage\n_load_from_bytes\nB" + len(data).to_bytes(4, "little") + data + b"\x85R"


def a_storage() -> bytes:
    data = io.BytesIO()
    torch.save(torch.arange(4.0).storage(), data, _use_new_zipfile_serialization=False)
    return data.getvalue()


def is_refused(code: bytes) -> bool:
    try:
        return bool(load_pickle(code).faults.found)
    except OpenError:
        return True


@pytest.mark.parametrize("done", DONE)
@pytest.mark.parametrize("name", MADE)
def test_python_refuses_what_is_a_fault(name: str, done: str) -> None:
    made, cls = MADE[name]
    assert type(pickle.loads(b"\x80\x04" + made + b".")) is cls
    assert not is_refused(b"\x80\x04" + made + b".")
    code = b"\x80\x04" + made + DONE[done] + b"."
    try:
        pickle.loads(code)
    except (AttributeError, TypeError, IndexError, pickle.UnpicklingError):
        assert is_refused(code)
    else:
        assert (name, done) in MILDER or not is_refused(code)


@pytest.mark.parametrize("done", DONE)
def test_a_storage_takes_nothing(done: str) -> None:
    assert is_refused(b"\x80\x04" + stored(a_storage()) + DONE[done] + b".")


@pytest.mark.parametrize("done", [done for done in DONE if not done.startswith("a call")])
def test_a_class_that_is_not_known_takes_all(done: str) -> None:
    assert not is_refused(b"\x80\x04cmy.pkg\nThing\n)R" + DONE[done] + b".")


@pytest.mark.parametrize("protocol", range(6))
def test_keys_of_frozen_sets_are_honest(protocol: int) -> None:
    assert load_pickle(pickle.dumps({frozenset([1, 2]): {frozenset([3])}}, protocol)).faults.found == {}


@pytest.mark.parametrize("name", ["set", "list", "dict", "OrderedDict", "Counter", "deque", "bytearray"])
def test_what_python_cannot_hash_is_no_key(name: str) -> None:
    code = b"\x80\x04}" + MADE[name][0] + b"Ns."
    with pytest.raises(TypeError, match="unhashable"):
        pickle.loads(code)
    assert is_refused(code)


def test_only_some_objects_may_be_tensors_or_storages() -> None:
    known, unknown = Obj(Stub("builtins", "set"), (b"",)), Obj(Stub("my.pkg", "Thing"))
    loaded, tensor = Obj(Stub("torch.storage", "_load_from_bytes"), (b"",)), TensorValue(None, 0, (), ())
    assert [made_kind(value) for value in (known, unknown, loaded, tensor)] == ["a set", None, "a storage", None]
    assert [may_be_tensor(value) for value in (known, unknown, loaded, tensor, 1)] == [False, True, False, True, False]
    plain = Storage(None, "0", "cpu", 1)
    assert all(map(may_be_storage, (unknown, loaded, plain)))
    assert not any(map(may_be_storage, (known, tensor, b"", None)))


# What a tensor is made of


def rebuilt(storage: bytes) -> bytes:
    rest = b"K\x00K\x04\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest


def bytes_given_to(function: bytes) -> bytes:
    """The bytes of a storage, which another function is given."""
    return stored(a_storage()).replace(b"torch.storage\n_load_from_bytes", function)


NO_STORAGES: dict[str, bytes] = {
    "a set of the bytes": bytes_given_to(b"builtins\nset"),
    "a tuple of the bytes": bytes_given_to(b"builtins\ntuple"),
    "a bytearray": bytes_given_to(b"builtins\nbytearray"),
    "a call of an unknown class with the bytes": bytes_given_to(b"my.pkg\nThing"),
    "a number": b"K\x01",
    "nothing": b"N",
    "an empty list": b"]",
    "a complex number": MADE["complex"][0],
    "a tensor": rebuilt(stored(a_storage())),
}


@pytest.mark.parametrize("name", NO_STORAGES)
def test_a_tensor_made_of_no_storage_is_not_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x03}" + string("w") + rebuilt(NO_STORAGES[name]) + b"s.")
    with open_path(path) as source:
        (info,) = source.listing.tensors
        assert info.name == "w"
        assert info.unreadable is not None
        assert "malformed-tensor" in {
            finding.rule for finding in source.listing.findings if finding.severity == "error"
        }
    path.write_bytes(b"\x80\x03}" + string("w") + rebuilt(stored(a_storage())) + b"s.")
    with open_path(path) as source:
        assert source.listing.findings == ()
        assert source.read("w").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("build", ["_rebuild_tensor", "_rebuild_tensor_v3", "_rebuild_qtensor"])
def test_every_builder_asks_for_a_storage(build: str) -> None:
    flags = b"\x89ccollections\nOrderedDict\n)R"
    more = {
        "_rebuild_tensor": b"",
        "_rebuild_tensor_v3": flags + b"ctorch\nfloat32\n",
        "_rebuild_qtensor": b"N" + flags,
    }
    code = f"\x80\x03ctorch._utils\n{build}\n(".encode("latin-1")
    for storage, is_fault in ((NO_STORAGES["a set of the bytes"], True), (stored(a_storage()), False)):
        given = code + storage + b"K\x00K\x04\x85K\x01\x85" + more[build] + b"tR."
        assert bool(load_pickle(given).faults.found) == is_fault


@pytest.mark.parametrize("data", [MADE["set"][0], b"K\x01", stored(a_storage())], ids=["set", "number", "storage"])
def test_a_parameter_that_wraps_no_tensor_is_not_read(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.pkl"
    flags = b"\x88ccollections\nOrderedDict\n)R\x87R"
    path.write_bytes(b"\x80\x03}" + string("w") + b"ctorch._utils\n_rebuild_parameter\n" + data + flags + b"s.")
    with open_path(path) as source:
        (info,) = source.listing.tensors
        assert info.unreadable is not None
        assert "which is no tensor" in info.unreadable
        assert [finding.severity for finding in source.listing.findings] == ["error"]


@pytest.mark.parametrize("layout", ["sparse_coo", "sparse_csr"])
def test_the_parts_of_a_sparse_tensor_are_tensors(layout: str) -> None:
    head = b"\x80\x03ctorch._utils\n_rebuild_sparse_tensor\nctorch.serialization\n_get_layout\n"
    head += string(f"torch.{layout}") + b"\x85R("
    first = MADE["set"][0] if layout == "sparse_coo" else MADE["set"][0] + tensor_pickle()
    rest = b"K\x05\x85" + (b"\x89" if layout == "sparse_coo" else b"") + b"t\x86R."
    found = load_pickle(head + first + tensor_pickle(key="1") + rest).faults.found
    assert any("_rebuild_sparse_tensor with 2 arguments" in fault for fault in found)


@pytest.mark.parametrize("ending", ["replaced", "popped"])
def test_a_tensor_that_nobody_can_build_is_told_though_it_is_not_kept(tmp_path: Path, ending: str) -> None:
    good, name = rebuilt(stored(a_storage())), string("w")
    path = tmp_path / "x.pkl"
    for shape in (string("x") + b"\x85", b"K\x04", b"G" + bytes(8) + b"\x85"):
        bad = good.replace(b"K\x04\x85K\x01\x85", shape + b"K\x01\x85")
        code = name + bad + b"s" + name + good + b"s" if ending == "replaced" else name + good + b"s" + bad + b"0"
        path.write_bytes(b"\x80\x03}" + code + b".")
        with open_path(path) as source:
            (finding,) = source.listing.findings
            assert (finding.severity, finding.rule) == ("error", "bad-pickle")
            assert "_rebuild_tensor_v2 with a size that is none" in finding.evidence
