"""What a pickle calls is named by what is allowed. Every call here is harmless, and none is ever run."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import enum
import fractions
import functools
import importlib
import logging
import operator
import pathlib
import pickle
import random
import re
import struct
import types
import typing
import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.factories_torch import string, tensor_pickle
from tui_params.core.findings import Finding
from tui_params.errors import OpenError
from tui_params.sources.inert_pickle import calls
from tui_params.sources.inert_pickle.allowed import TORCH_ALLOWED, TORCH_ALLOWED_ONCE_IMPORTED
from tui_params.sources.inert_pickle.calls import class_names, code_finding
from tui_params.sources.inert_pickle.labels import is_class_name, label
from tui_params.sources.inert_pickle.machine import PickleMachine, load_behind, load_pickle
from tui_params.sources.inert_pickle.values import Stub


def named(module: str, name: str) -> bytes:
    """GLOBAL of protocol 0 to 3."""
    return f"c{module}\n{name}\n".encode()


def dotted(module: str, name: str) -> bytes:
    """STACK_GLOBAL of protocol 4, which follows the dots of a name."""
    return string(module) + string(name) + b"\x93"


def code_of(*machines: PickleMachine) -> Finding | None:
    return code_finding((machine.calls, machine.globals.values()) for machine in machines)


def read(body: bytes, protocol: int = 2) -> PickleMachine:
    return load_pickle(b"\x80" + bytes([protocol]) + body + b".")


PRINT = named("builtins", "print")
HI = string("hi")
CALL_PRINT = PRINT + HI + b"\x85R"
FROM_TYPE = named("torch._tensor", "_rebuild_from_type_v2")
THING = named("my.pkg", "Thing")

CODE: dict[str, tuple[bytes, str]] = {
    "a call whose result is kept": (CALL_PRINT, "builtins.print('hi')"),
    "a call whose result is popped before the tensors come": (
        CALL_PRINT + b"0" + tensor_pickle(),
        "builtins.print('hi')",
    ),
    "a call whose result is popped with a mark": (b"(" + CALL_PRINT + b"1N", "builtins.print('hi')"),
    "a call inside the arguments of a tensor": (
        named("torch._utils", "_rebuild_tensor_v2") + b"(" + CALL_PRINT + b"K\x00))\x89NtR",
        "builtins.print('hi')",
    ),
    "a dotted name of protocol 4": (dotted("my.pkg", "helper.print.run") + b")R", "my.pkg.helper.print.run()"),
    "a module that torch imported": (dotted("torch.hub", "os.getcwd") + b")R", "torch.hub.os.getcwd()"),
    "a dotted name inside an honest class": (dotted("my.pkg", "Thing.run") + b")R", "my.pkg.Thing.run()"),
    "_io beside io": (named("_io", "open_code") + HI + b"\x85R", "_io.open_code('hi')"),
    "a class of _io": (named("_io", "StringIO") + HI + b"\x85R", "_io.StringIO('hi')"),
    "a function of torch": (named("torch.hub", "load") + HI + HI + b"\x86R", "torch.hub.load('hi', 'hi')"),
    "a function inside torch": (
        named("torch.utils.collect_env", "run") + HI + b"\x85R",
        "torch.utils.collect_env.run('hi')",
    ),
    "a class of torch that opens a file": (
        named("torch._C", "PyTorchFileReader") + HI + b"\x85R",
        "PyTorchFileReader('hi')",
    ),
    "torch.load of bytes that cannot be followed": (
        named("torch.storage", "_load_from_bytes") + b"C\x03abc\x85R0N",
        "torch.storage._load_from_bytes(3 bytes)",
    ),
    "a copyreg extension": (b"\x82\x05)R", "copyreg.extension.5()"),
    "INST": (b"(" + HI + b"ibuiltins\nprint\n", "builtins.print('hi')"),
    "INST without arguments": (b"(ios\ngetcwd\n", "os.getcwd()"),
    "OBJ": (b"(" + PRINT + HI + b"o", "builtins.print('hi')"),
    "OBJ without arguments": (b"(" + named("os", "getcwd") + b"o", "os.getcwd()"),
    "NEWOBJ of what is known to act": (named("subprocess", "Popen") + b")\x81", "subprocess.Popen"),
    "NEWOBJ of map": (named("builtins", "map") + PRINT + b"]\x86\x81", "builtins.map"),
    "NEWOBJ_EX of what is known to act": (named("subprocess", "Popen") + b")}\x92", "subprocess.Popen"),
    "the state of a global": (THING + b"N}" + HI + b"Ns\x86b", "my.pkg.Thing.__setstate__"),
    "an item of a global": (named("os", "environ") + HI + HI + b"s", "os.environ.__setitem__"),
    "items of a global": (named("os", "environ") + b"(" + HI + HI + b"u", "os.environ.__setitem__"),
    "an element of a global": (named("sys", "path") + HI + b"a", "sys.path.extend"),
    "a call of a call's result": (
        named("functools", "partial") + PRINT + b"\x85R)R",
        "functools.partial(builtins.print)()",
    ),
    "a call of an attribute of an object": (
        named("builtins", "getattr") + THING + b")R" + string("run") + b"\x86R)R",
        "builtins.getattr(my.pkg.Thing(), 'run')()",
    ),
    "getattr of a module": (
        named("builtins", "getattr") + named("my", "pkg") + string("run") + b"\x86R",
        "builtins.getattr(my.pkg, 'run')",
    ),
    "getattr of a dunder": (
        named("builtins", "getattr") + THING + string("__subclasses__") + b"\x86R",
        "builtins.getattr(my.pkg.Thing, '__subclasses__')",
    ),
    "getattr of a class, then a call": (
        named("builtins", "getattr") + THING + string("run") + b"\x86R)R",
        "my.pkg.Thing.run()",
    ),
    "getattr of a class that acts": (
        named("builtins", "getattr") + named("subprocess", "Popen") + string("wait") + b"\x86R",
        "builtins.getattr(subprocess.Popen, 'wait')",
    ),
    "_reconstructor calls its base": (
        named("copyreg", "_reconstructor") + THING + named("subprocess", "Popen") + HI + b"\x87R",
        "subprocess.Popen('hi')",
    ),
    "a tensor subclass is rebuilt by a function": (
        FROM_TYPE + b"(" + PRINT + named("torch", "Tensor") + HI + b"\x85}tR",
        "builtins.print('hi')",
    ),
    "a tensor subclass is rebuilt by a reconstructor": (
        FROM_TYPE + b"(" + named("copyreg", "_reconstructor") + named("torch", "Tensor")
        + b"(" + THING + named("subprocess", "Popen") + HI + b"t}tR",
        "subprocess.Popen('hi')",
    ),
    "nested rebuilding": (
        FROM_TYPE + b"(" + FROM_TYPE + b"N(" + PRINT + b"N" + HI + b"\x85}t}tR",
        "builtins.print('hi')",
    ),
    "a tensor subclass whose arguments are made by tuple": (
        FROM_TYPE + named("builtins", "tuple") + b"(" + PRINT + b"N" + HI + b"\x85Nl\x85RR",
        "torch._tensor._rebuild_from_type_v2([builtins.print, ",
    ),
    "_reconstructor with arguments made by tuple": (
        named("copyreg", "_reconstructor") + named("builtins", "tuple") + b"(" + THING + PRINT + HI + b"l\x85RR",
        "copyreg._reconstructor([my.pkg.Thing, builtins.print, 'hi'])",
    ),
    "numpy's generator calls its second argument": (
        named("numpy.random._pickle", "__generator_ctor") + HI + PRINT + b"\x86R",
        "builtins.print('hi')",
    ),
    "numpy's bit generator calls its argument": (
        named("numpy.random._pickle", "__bit_generator_ctor") + named("os", "getcwd") + b"\x85R",
        "os.getcwd()",
    ),
    "pandas makes any class": (
        named("pandas.core.indexes.base", "_new_Index") + named("numpy", "memmap") + b"}\x86R",
        "numpy.memmap",
    ),
    "type with three arguments": (named("builtins", "type") + HI + b")}\x87R", "builtins.type('hi', (), {})"),
    "reduce of another function": (
        named("functools", "reduce") + PRINT + named("builtins", "int") + named("builtins", "str") + b"\x86\x86R",
        "functools.reduce(builtins.print, (builtins.int, builtins.str))",
    ),
    "getitem of no annotation": (
        named("_operator", "getitem") + named("os", "environ") + HI + b"\x86R",
        "_operator.getitem(os.environ, 'hi')",
    ),
    "a name of Python 2": (named("__builtin__", "print") + HI + b"\x85R", "builtins.print('hi')"),
    "a module of Python 2": (named("commands", "getoutput") + HI + b"\x85R", "commands.getoutput('hi')"),
    "a class of the standard library": (named("logging", "FileHandler") + HI + b"\x85R", "logging.FileHandler('hi')"),
    "an alias of a class that acts": (named("my.pkg", "Popen") + HI + b"\x85R", "my.pkg.Popen('hi')"),
    "pkgutil": (named("pkgutil", "resolve_name") + string("a:b") + b"\x85R", "pkgutil.resolve_name('a:b')"),
    "numpy that imports": (
        named("numpy.core", "_ufunc_reconstruct") + HI + HI + b"\x86R",
        "numpy.core._ufunc_reconstruct('hi', 'hi')",
    ),
    "a persistent id that calls": (CALL_PRINT + b"Q", "builtins.print('hi')"),
    "a key": (b"}" + CALL_PRINT + b"Ns", "builtins.print('hi')"),
}  # fmt: skip

UNKNOWN: dict[str, tuple[bytes, str]] = {
    "a made-up function": (named("my.pkg", "run_me") + HI + b"\x85R", "my.pkg.run_me('hi')"),
    "a made-up function that is popped": (named("my.pkg", "run_me") + b")R0N", "my.pkg.run_me()"),
    "a function of the script itself": (named("__main__", "build") + b")R", "__main__.build()"),
    "INST of a function": (b"(imy.pkg\nrun_me\n", "my.pkg.run_me()"),
    "OBJ of a function": (b"(" + named("my.pkg", "run_me") + b"o", "my.pkg.run_me()"),
    "a builder of a later torch": (named("torch._utils", "_rebuild_new") + b")R", "torch._utils._rebuild_new()"),
}

MENTIONED: dict[str, bytes] = {
    "os.getcwd": named("os", "getcwd"),
    "builtins.getattr": named("builtins", "getattr"),
    "subprocess.Popen": named("subprocess", "Popen"),
    "torch.hub.os.getcwd": dotted("torch.hub", "os.getcwd"),
    "copyreg.extension.7": b"\x82\x07",
}


@pytest.mark.parametrize("name", CODE)
def test_what_would_run_is_named_with_its_arguments(name: str) -> None:
    body, expected = CODE[name]
    machine = read(body, 4)
    for data in list(machine.calls.nested.values()):
        machine.calls.name_nested(data)
    finding = code_of(machine)
    assert finding is not None
    assert (finding.severity, finding.rule) == ("error", "pickle-code")
    assert finding.evidence.startswith("contains calls that would run in a plain unpickler: ")
    assert expected in finding.evidence
    assert finding.evidence.endswith("; nothing was run here")


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_function_is_named_as_a_warning(name: str) -> None:
    body, expected = UNKNOWN[name]
    finding = code_of(read(body))
    assert finding is not None
    assert (finding.severity, finding.rule) == ("warning", "pickle-code")
    assert expected in finding.evidence


@pytest.mark.parametrize("name", MENTIONED)
def test_a_mention_is_told_from_a_call(name: str) -> None:
    finding = code_of(read(b"]" + MENTIONED[name] + b"a"))
    assert finding is not None
    assert finding.severity == "warning"
    assert finding.evidence == f"mentions {name} without calling it; nothing was run here"


@pytest.mark.parametrize("name", ["torch.nn.functional.relu", "inspect._empty", "signal.Handlers", "my.pkg.run_me"])
def test_honest_mentions_are_quiet(name: str) -> None:
    assert code_of(read(named(*name.rsplit(".", 1)))) is None


# Honest pickles


class Colour(enum.Enum):
    RED = "red"
    CODE = 2


class Flags(enum.IntFlag):
    A = 1
    B = 2


class Shell:
    class Inner:
        def __init__(self) -> None:
            self.a = 1

    class Size(enum.Enum):
        SMALL = 1


@dataclass
class Plan:
    rate: float = 0.5
    colour: Colour = Colour.RED
    names: list[str] = field(default_factory=lambda: ["a"])


Pair = collections.namedtuple("Pair", "a b")


def _generator() -> Any:
    import numpy as np

    return np.random.default_rng(3)


def _random_state() -> Any:
    import numpy as np

    return np.random.RandomState(3)


HONEST: dict[str, Any] = {
    "enum": Colour.RED,
    "flags": Flags.A | Flags.B,
    "enum in a class": Shell.Size.SMALL,
    "class in a class": Shell.Inner(),
    "dataclass": Plan(),
    "namedtuple": Pair(1, 2),
    "datetime": datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
    "date": datetime.date(2024, 1, 2),
    "timedelta": datetime.timedelta(1),
    "path": pathlib.PurePosixPath("/a/b"),
    "namespace": argparse.Namespace(lr=0.1, root=pathlib.PurePosixPath("/a")),
    "simple namespace": types.SimpleNamespace(a=1),
    "decimal": decimal.Decimal("1.5"),
    "fraction": fractions.Fraction(1, 3),
    "uuid": uuid.UUID(int=5),
    "partial": functools.partial(operator.add, 1),
    "random": random.Random(3),
    "pattern": re.compile("a+"),
    "logger": logging.getLogger("tui_params"),
    "exception": ValueError("no"),
    "counter": collections.Counter("aab"),
    "default dict": collections.defaultdict(list, a=[1]),
    "types": [int, type(None), list[int], typing.List[int], typing.Optional[int], int | None, dict[str, Any]],  # noqa: UP006, UP045
    "object": object(),
    "complex": 1 + 2j,
    "numpy generator": _generator,
    "numpy random state": _random_state,
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", HONEST)
def test_honest_objects_are_at_most_named_as_classes(name: str, protocol: int) -> None:
    value = HONEST[name]() if name.startswith("numpy") else HONEST[name]
    machine = load_pickle(pickle.dumps({"x": value}, protocol))
    assert code_of(machine) is None
    shown = class_names([machine.calls])
    assert not [name for name in shown if name.startswith("builtins.getattr")]


@pytest.mark.parametrize("protocol", [2, 4])
def test_classes_are_named_though_their_objects_are_popped(protocol: int) -> None:
    thing = pickle.dumps(Plan(), protocol)[2:-1]
    if protocol == 4:
        thing = thing[9:]
    machine = read(thing + b"0" + tensor_pickle(), protocol)
    assert class_names([machine.calls]) == [f"{__name__}.Plan", f"{__name__}.Colour"]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_members_and_inner_classes_are_named_by_their_place(protocol: int) -> None:
    machine = load_pickle(pickle.dumps([Shell.Inner(), Shell.Size.SMALL], protocol))
    names = class_names([machine.calls])
    assert f"{__name__}.Shell.Inner" in names
    assert f"{__name__}.Shell.Size" in names


@pytest.mark.parametrize("name", ["numpy.float64", "numpy.datetime64", "numpy.bool", "numpy.int8"])
def test_numpy_scalars_are_quiet(name: str) -> None:
    import numpy as np

    value = getattr(np, name.removeprefix("numpy."))(1) if "datetime" not in name else np.datetime64("2024-01-02")
    for protocol in range(2, 6):
        machine = load_pickle(pickle.dumps([value, np.zeros((2, 3)), np.array(["a", None], object)], protocol))
        assert code_of(machine) is None
        assert class_names([machine.calls]) == []


# The tables


def test_the_table_is_torchs_own() -> None:
    unpickler = importlib.import_module("torch._weights_only_unpickler")
    for module in ("torch.nested._internal.nested_tensor", "torch.distributed.tensor", "torch._dynamo.decorators"):
        importlib.import_module(module)
    assert set(unpickler._get_allowed_globals()) == TORCH_ALLOWED
    added = {name for name in unpickler._get_user_allowed_globals() if name.startswith("torch.")}
    assert added >= TORCH_ALLOWED_ONCE_IMPORTED
    assert all(label(*name.rsplit(".", 1), is_called=True) == "quiet" for name in TORCH_ALLOWED)


def test_class_names_are_told_by_their_spelling() -> None:
    assert all(map(is_class_name, ["Thing", "_Thing", "SGD", "Outer.Inner"]))
    assert not any(map(is_class_name, ["thing", "_run", "Outer.run", "os.Thing", "", "_"]))


@pytest.mark.parametrize(
    ("name", "is_called", "expected"),
    [
        ("torch._utils._rebuild_tensor_v2", True, "quiet"),
        ("my.pkg.Thing", True, "class"),
        ("my.pkg.thing", False, "class"),
        ("my.pkg.thing", True, "function"),
        ("my.fast.__pyx_unpickle_Thing", True, "class"),
        ("http.client.HTTPConnection", True, "code"),
        ("socketserver.TCPServer", True, "code"),
        ("csv.DictReader", True, "code"),
        ("csv.DictReader", False, "class"),
        ("itertools.starmap", False, "code"),
        ("builtins.ValueError", True, "class"),
        ("torch.optim.adam.Adam", True, "class"),
        ("torch.package.PackageImporter", True, "code"),
        ("torch.distributed.TCPStore", True, "code"),
        ("numpy.testing._private.utils.runstring", True, "code"),
        ("torch.set_default_device", True, "code"),
        ("torch.compile", True, "code"),
        ("torch._utils._rebuild_of_tomorrow", True, "function"),
        ("numpy.core._reconstruct_of_tomorrow", True, "function"),
        ("numpy.core._ufunc_reconstruct", True, "code"),
        ("osgeo.gdal", True, "function"),
        ("__torch__.Net", False, "quiet"),
    ],
)
def test_labels(name: str, is_called: bool, expected: str) -> None:
    assert label(*name.rsplit(".", 1), is_called=is_called) == expected


# Bounds


def test_a_second_pickle_is_read() -> None:
    first = load_pickle(b"\x80\x02K\x01.\x80\x02K\x02." + b"\x80\x02" + CALL_PRINT + b"0N." + b"\x00garbage")
    behind = load_behind(first)
    assert first.root == 1
    assert behind[0].root == 2
    assert code_of(first) is None
    finding = code_of(first, *behind)
    assert finding is not None
    assert "builtins.print('hi')" in finding.evidence


def test_a_second_pickle_that_breaks_off_has_called_by_then() -> None:
    finding = code_of(*load_behind(load_pickle(b"N." + CALL_PRINT + b"\xff")))
    assert finding is not None
    assert "builtins.print('hi')" in finding.evidence


def test_the_pickles_behind_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    from tui_params.sources.inert_pickle import machine

    monkeypatch.setattr(machine, "MAX_BEHIND", 3)
    assert len(load_behind(load_pickle(b"N." * 9))) == 3
    monkeypatch.setattr(machine, "MAX_BEHIND", 100)
    monkeypatch.setattr(machine, "MAX_OPERATIONS", 4)
    assert len(load_behind(load_pickle(b"N." * 9))) == 2


def test_a_pickle_that_breaks_off_tells_what_it_called_by_then() -> None:
    with pytest.raises(
        OpenError, match=r"ends too early; before the fault it calls builtins.print\('hi'\), and nothing"
    ):
        load_pickle(b"\x80\x02" + CALL_PRINT)
    with pytest.raises(OpenError, match=r"ends too early$"):
        load_pickle(b"\x80\x02" + THING + b")R")


def test_many_calls_are_counted_and_few_are_kept() -> None:
    machine = read(b"(" + b"".join(PRINT + struct.pack("<Bi", 0x4A, i) + b"\x85R" for i in range(1_000)) + b"t")
    (callee,) = machine.calls.callees.values()
    assert len(callee.shown) == 2
    finding = code_of(machine)
    assert finding is not None
    assert "builtins.print(0), builtins.print(1) (and 998 more calls)" in finding.evidence
    assert len(finding.evidence) < 200


def test_calls_that_are_only_counted_are_counted() -> None:
    once = named("my.pkg", "run_me") + b")R0"
    finding = code_of(read(once * 1_000 + b"N"))
    assert finding is not None
    assert "my.pkg.run_me(), my.pkg.run_me() (and 998 more calls)" in finding.evidence


def test_honest_forms_do_not_hide_a_call_nor_the_other_way_round() -> None:
    honest = named("builtins", "getattr") + THING + string("RED") + b"\x86R0"
    other = named("builtins", "getattr") + PRINT + string("run") + b"\x86R0"
    for body in (honest * 5 + other * 3, other * 3 + honest * 5):
        machine = read(body + b"N")
        finding = code_of(machine)
        assert finding is not None
        assert "(and 1 more call)" in finding.evidence
        assert class_names([machine.calls]) == ["my.pkg.Thing"]


def test_a_long_argument_is_cut() -> None:
    finding = code_of(read(PRINT + b"X" + struct.pack("<I", 100_000) + b"y" * 100_000 + b"\x85R"))
    assert finding is not None
    assert len(finding.evidence) < 300


def test_many_functions_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_CALLEES", 20)
    finding = code_of(read(b"".join(named("my.pkg", f"f{i}") + b")R0" for i in range(50)) + b"N"))
    assert finding is not None
    assert finding.severity == "warning"
    assert "my.pkg.f9() and 40 more" in finding.evidence


def test_many_classes_do_not_hide_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_CALLEES", 20)
    classes = b"".join(named("my.pkg", f"C{i}") + b")\x810" for i in range(50))
    machine = read(classes + CALL_PRINT + b"0N")
    assert len(class_names([machine.calls])) == 10
    finding = code_of(machine)
    assert finding is not None
    assert finding.severity == "error"
    assert finding.evidence.startswith("contains calls that would run in a plain unpickler: builtins.print('hi')")


def test_unknown_functions_do_not_hide_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_CALLEES", 20)
    finding = code_of(read(b"".join(named("my.pkg", f"f{i}") + b")R0" for i in range(50)) + CALL_PRINT))
    assert finding is not None
    assert finding.severity == "error"


@pytest.mark.parametrize("depth", [3, 49, 60, 2_000])
def test_deep_rebuilding_hides_no_call(depth: int) -> None:
    opening, closing = FROM_TYPE + b"(" + FROM_TYPE + b"N", b"NtR"
    arguments = (b"(" + FROM_TYPE + b"N") * depth + b"(" + PRINT + b"N" + HI + b"\x85Nt" + b"Nt" * depth
    finding = code_of(read(opening + arguments + closing))
    assert finding is not None
    assert finding.severity == "error"
    assert ("builtins.print('hi')" in finding.evidence) == (depth < 49)


def test_tensors_cost_nothing() -> None:
    machine = read(tensor_pickle())
    assert machine.calls.callees == {}
    assert all(type(stub) is Stub for stub in machine.globals.values())
