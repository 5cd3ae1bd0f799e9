from __future__ import annotations

import os
import pickle
import random
import struct
import sys
import tracemalloc
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_torch import (
    doubled_tuples,
    nested_lists,
    payloads,
    repeated_lists,
    state_dict_pickle,
    string,
    tensor_pickle,
)
from tui_params.errors import OpenError
from tui_params.sources.inert_pickle import machine as pickle_machine
from tui_params.sources.inert_pickle import values
from tui_params.sources.inert_pickle.calls import code_finding
from tui_params.sources.inert_pickle.machine import PickleEndsError, load_pickle
from tui_params.sources.inert_pickle.values import ArrayValue, Obj, OddKey, SetValue, Storage, Stub, TensorValue, render

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=30,
)


@settings(max_examples=150)
@given(plain, st.sampled_from([3, 4, 5]))
def test_plain_data_comes_back_as_it_was(value: Any, protocol: int) -> None:
    found = load_pickle(pickle.dumps(value, protocol)).root
    assert _plain_keys(found) == value


def _plain_keys(value: Any) -> Any:
    """The value with keys beyond 64 bits, which are wrapped, as plain ones again."""
    if isinstance(value, dict):
        return {k.value if isinstance(k, OddKey) else k: _plain_keys(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain_keys(item) for item in value)
    return value


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_reads_the_same(protocol: int) -> None:
    value: dict[Any, Any] = {
        "a": [1, -2, 1 << 80, 2.5, True, None, "ü\n"],
        "b": (1, (2,), (), (1, 2, 3, 4)),
        3: {"x": []},
    }
    found = load_pickle(pickle.dumps(value, protocol)).root
    assert found == value


def test_self_reference_and_shared_objects_keep_their_identity() -> None:
    value: dict[str, Any] = {"list": [1]}
    value["again"] = value["list"]
    value["self"] = value
    found = load_pickle(pickle.dumps(value, 4)).root
    assert found["again"] is found["list"]
    assert found["self"] is found


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (OrderedDict(a=1), "a dict of 1 item"),
        (defaultdict(list, a=[1]), "a dict of 1 item"),
        (Counter("aab"), "a dict of 2 items"),
        (deque([1, 2]), "[1, 2]"),
        ({3}, "{3}"),
        (frozenset([4]), "{4}"),
        (bytearray(b"abc"), "3 bytes"),
        (b"abc", "3 bytes"),
        (1 + 2j, "(1+2j)"),
        (slice(1, 5, 2), "slice(1, 5, 2)"),
        (range(1, 9, 2), "range(1, 9, 2)"),
        (PurePosixPath("/a/b"), "/a/b"),
        (len, "builtins.len"),
        (1 << 9000, "an integer of 9,001 bits"),
        ((1,), "(1,)"),
        (set(), "set()"),
        (list(range(1024)), "[0, 1, 2, … 1,024 items]"),
        (["a", None, {"b": 1}], "['a', None, a dict of 1 item]"),
    ],
)
def test_pure_data_of_the_standard_library_is_shown(value: object, text: str, protocol: int) -> None:
    assert render(load_pickle(pickle.dumps(value, protocol)).root) == text


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_numpy_values_are_shown(protocol: int) -> None:
    import numpy as np

    for number in (np.float64(2.5), np.int64(-7), np.float32(0.5), np.bool_(True), np.uint8(200)):
        found = load_pickle(pickle.dumps(number, protocol)).root
        assert type(found) is ArrayValue
        assert render(found) == str(number)
    array = load_pickle(pickle.dumps(np.zeros((2, 3), np.int32), protocol)).root
    assert render(array) == "numpy i4 of shape [2, 3]"


@pytest.mark.parametrize("name", payloads(Path("x")))
def test_no_call_is_carried_out(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "it_ran"
    machine = load_pickle(payloads(marker)[name])
    assert not marker.exists()
    finding = code_finding([(machine.calls, machine.globals.values())])
    assert finding is not None
    assert finding.evidence.startswith("contains calls that would run in a plain unpickler: ")
    assert finding.evidence.endswith("; nothing was run here")
    if name == "eval of Python 2":
        assert "builtins.eval" in finding.evidence


@pytest.mark.parametrize("name", ["reduce", "inst", "obj", "eval", "exec", "stack_global"])
def test_the_payloads_do_run_in_a_plain_unpickler(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "it_ran"
    pickle.loads(payloads(marker)[name])
    assert marker.exists()


def test_unknown_classes_are_kept_as_they_were_written() -> None:
    code = b"\x80\x02cmy.pkg\nThing\n)\x81}" + string("a") + b"K\x07sb."
    found = load_pickle(code).root
    assert type(found) is Obj
    assert str(found.cls) == "my.pkg.Thing"
    assert found.state == {"a": 7}


def test_extension_codes_are_not_looked_up() -> None:
    import copyreg

    copyreg.add_extension("os", "system", 0x77)
    try:
        found = load_pickle(b"\x80\x02\x82\x77" + string("true") + b"\x85R.").root
    finally:
        copyreg.remove_extension("os", "system", 0x77)
    assert type(found) is Obj
    assert str(found.cls) == "copyreg.extension.119"


def test_tensors_and_storages() -> None:
    machine = load_pickle(state_dict_pickle({"w": tensor_pickle(6, shape=(2, 3), stride=(3, 1))}))
    tensor = machine.root["w"]
    assert type(tensor) is TensorValue
    assert (tensor.shape, tensor.stride, tensor.offset, tensor.requires_grad) == ((2, 3), (3, 1), 0, False)
    assert type(tensor.storage) is Storage
    assert (tensor.storage.key, tensor.storage.location, tensor.storage.numel) == ("0", "cpu", 6)
    assert machine.storages == [tensor.storage]


# What would take another reader for ever, in sizes that are harmless to any


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[Stub]:
    """Every Stub that is hashed during the test, once for each time."""
    counted: list[Stub] = []

    def count(stub: Stub) -> int:
        counted.append(stub)
        return id(stub)

    monkeypatch.setattr(Stub, "__hash__", count)
    return counted


def test_tuples_are_not_hashed(hashes: list[Stub]) -> None:
    nested = load_pickle(b"\x80\x02" + doubled_tuples(10) + b".").root
    hash(nested)
    assert len(hashes) == 1 << 10
    hashes.clear()
    (key,) = load_pickle(b"\x80\x02}(" + doubled_tuples(10) + b"K\x01u.").root
    assert type(key) is OddKey
    assert len(render(key)) <= 200
    assert hashes == []


def test_sets_hash_nothing(hashes: list[Stub]) -> None:
    assert type(load_pickle(b"\x80\x04\x8f(" + doubled_tuples(10) + b"\x90.").root) is SetValue
    assert hashes == []


def test_integers_that_collide_are_wrapped() -> None:
    prime = (1 << 61) - 1
    found = load_pickle(pickle.dumps({prime << shift: shift for shift in range(64)})).root
    assert sum(type(key) is OddKey for key in found) == 61
    assert len(found) == 64


def peak_of(data: bytes) -> tuple[Any, int]:
    """What a pickle builds, or the error, and the most bytes that were allocated meanwhile."""
    tracemalloc.start()
    try:
        found: Any = load_pickle(data).root
    except OpenError as error:
        found = error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found, peak


def test_the_memo_is_no_array() -> None:
    # An array with room for entry 1,048,575 would take 8 MiB.
    found, peak = peak_of(b"\x80\x02K\x05r\xff\xff\x0f\x000j\xff\xff\x0f\x00.")
    assert found == 5
    assert peak < 1 << 18


def containers(value: Any) -> int:
    """How many lists there are in ``value``, each counted once."""
    found: dict[int, list[Any]] = {}
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is list and id(item) not in found:
            found[id(item)] = item
            waiting += item
    return len(found)


def test_what_is_repeated_is_built_once_and_shown_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = values.render

    def counted(value: Any, depth: int = 0) -> str:
        calls.append(depth)
        return real(value, depth)

    monkeypatch.setattr(values, "render", counted)
    counts = []
    for levels in (4, 5):
        root = load_pickle(repeated_lists(levels)).root
        assert len(root) == 10
        assert containers(root) == levels + 1
        calls.clear()
        assert len(counted(root)) <= 200
        counts.append(len(calls))
    # A level more costs nothing; written out it would cost ten times as much.
    assert counts[0] == counts[1] < 1_000


def test_deep_nesting_is_only_data() -> None:
    # Deeper than Python lets functions call each other.
    levels = 2 * sys.getrecursionlimit()
    assert render(load_pickle(nested_lists(levels)).root) == "[[[…]]]"
    assert render(load_pickle(b"\x80\x02cp\nC\n" + b")\x81" * levels + b".").root).startswith("…")
    assert render(load_pickle(b"\x80\x02cp\nC\n" + b"\x85)\x81" * levels + b".").root)
    arrays = b"cnumpy.core.multiarray\nscalar\nq\x00" + b"h\x00h\x01h\x01\x86R" + b"q\x01"
    assert render(load_pickle(b"\x80\x02Nq\x010" + arrays * levels + b".").root) == "numpy unknown type of shape []"


@pytest.mark.parametrize("code", [b"\x8e", b"\x96", b"\x8d"])
def test_a_length_beyond_the_end_allocates_nothing(code: bytes) -> None:
    data = b"\x80\x05" + code + struct.pack("<Q", 1 << 22) + b"abc."
    with pytest.raises(PickleEndsError, match=r"data\.pkl ends too early"):
        load_pickle(data, "data.pkl")
    assert peak_of(data)[1] < 1 << 18


def test_huge_integers_are_refused() -> None:
    with pytest.raises(OpenError, match="an integer of 100,000 bytes"):
        load_pickle(b"\x80\x02\x8b" + struct.pack("<i", 100_000) + bytes(100_000) + b".")
    with pytest.raises(OpenError, match="an integer of 5,000 digits"):
        load_pickle(b"I" + b"9" * 5_000 + b"\n.")


def test_the_number_of_steps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_machine, "MAX_OPERATIONS", 1_000)
    assert load_pickle(b"\x80\x02N" + b"2" * 900 + b".").root is None
    with pytest.raises(OpenError, match="more than 1,000 steps"):
        load_pickle(b"\x80\x02N" + b"2" * 1_100 + b".")
    monkeypatch.setattr(pickle_machine, "MAX_CONTAINERS", 100)
    with pytest.raises(OpenError, match="100 containers: it is refused"):
        load_pickle(b"\x80\x02" + b"}" * 101 + b".")


def test_constructors_copy_nothing() -> None:
    # A pickle can call each of them a million times on one long list.
    names = [b"builtins\nset\n", b"builtins\nlist\n", b"collections\ndeque\n", b"torch\nSize\n", b"builtins\ntuple\n"]
    calls = b"".join(b"c" + name + b"h\x00\x85R" for name in names)
    given, *built = load_pickle(b"\x80\x02(](K\x01K\x02eq\x00" + calls + b"l.").root
    assert given == [1, 2]
    assert [type(value) for value in built] == [SetValue, list, list, list, list]
    assert all((value.items if type(value) is SetValue else value) is given for value in built)


# Damage


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the pickle ends too early"),
        (b"\x80", "the pickle ends too early"),
        (b"\x80\x02}", "the pickle ends too early"),
        (b"\x80\x02X\xff\x00\x00\x00abc", "the pickle ends too early"),
        (b"\x80\x02X\xff", "the pickle ends too early"),
        (b"cos", "the pickle ends too early"),
        (b"\x80\x02.", "builds nothing"),
        (b"\x80\x02t.", "takes a value from an empty stack"),
        (b"\x80\x02h\x05.", "refers to a value that was never stored"),
        (b"\x80\x09.", "is of protocol 9"),
        (b"\x80\x02\xff.", "holds an unknown instruction 0xff"),
        (b"\x80\x02NNs.", "takes a value from an empty stack"),
        (b"\x80\x02NNNs.", "sets a key in a value that is no dict"),
        (b"\x80\x02NNa.", "appends to a value that is no list"),
        (b"\x80\x02}(Nu.", "sets a key without a value"),
        (b"\x80\x04NN\x93.", "names a global by something that is no name"),
        (b"Ix\n.", "holds a malformed number"),
        (b"Fx\n.", "holds a malformed number"),
        (b"\x80\x02\x8b\xff\xff\xff\xff.", "holds a negative length"),
    ],
)
def test_damage_is_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(OpenError) as caught:
        load_pickle(data)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("the pickle ")


def test_names_for_a_terminal_hold_no_escapes() -> None:
    stub = Stub("os\x1b[31m", "a" * 1000)
    assert "\x1b" not in str(stub)
    assert len(str(stub)) <= 200
    assert "\x1b" not in render("\x1b]0;title\x07")


def _seeds() -> list[bytes]:
    tensors = {"w": tensor_pickle(6, shape=(2, 3), stride=(3, 1)), "b": tensor_pickle(2, shape=(2,), key="1")}
    several = {"a": [1, 2.5, "x", (1, 2)], "b": {3: None}, "c": {1, 2}, "d": Counter("ab"), "e": bytearray(b"x")}
    return [
        state_dict_pickle(tensors),
        *(pickle.dumps(several, protocol) for protocol in range(6)),
        *payloads(Path("never_made")).values(),
        b"\x80\x02}(" + doubled_tuples(8) + b"K\x01u.",
        repeated_lists(3),
    ]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """``data`` with a few bytes changed, taken out, doubled or cut off."""
    raw = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not raw:
            break
        at = rng.randrange(len(raw))
        choice = rng.randrange(6)
        if choice == 0:
            raw[at] = rng.randrange(256)
        elif choice == 1:
            del raw[at : at + rng.randint(1, 8)]
        elif choice == 2:
            raw[at:at] = raw[at : at + rng.randint(1, 16)]
        elif choice == 3:
            raw[at:at] = bytes(
                [
                    rng.choice(
                        b"\x80(.012FGIJKLMNPQRSTUVXabcdeghijlopqrstu})\x81\x82\x85\x86\x87\x88\x8a\x8b\x8f\x90\x93"
                    )
                ]
            )
        elif choice == 4:
            raw[at] = rng.choice(b"\x00\x01\x7f\x80\xff")
        else:
            del raw[at:]
    return bytes(raw)


def test_mutated_pickles_give_data_or_a_sentence() -> None:
    rounds = int(os.environ.get("TUI_PARAMS_FUZZ", "4000"))
    rng = random.Random(20261125)
    seeds = _seeds()
    outcomes = Counter[str]()
    for _ in range(rounds):
        data = mutate(rng.choice(seeds), rng)
        sentence = ""
        try:
            render(load_pickle(data).root)
        except OpenError as error:
            sentence = str(error)
        assert "\n" not in sentence
        outcomes["refused" if sentence else "read"] += 1
    assert not Path("never_made").exists()
    assert outcomes["read"] > rounds // 100
    assert outcomes["refused"] > rounds // 10
