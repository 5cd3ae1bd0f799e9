"""Calls of Python's own codecs and containers that no pickler writes: what Python takes is no damage."""

from __future__ import annotations

import codecs
import collections
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from tui_params.sources.inert_pickle.calls import code_finding
from tui_params.sources.inert_pickle.machine import PickleMachine, load_pickle


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.args


def read(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[PickleMachine, bool]:
    """The machine that read such a pickle, and whether Python makes something of it."""
    data = pickle.dumps(Call(function, *args), 4)
    try:
        pickle.loads(data)
    except (TypeError, ValueError, LookupError):
        return load_pickle(data), False
    return load_pickle(data), True


FORMS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    *((kind, (value,)) for kind in (set, frozenset, list, tuple) for value in ("abc", {1: 2}, b"ab", (1,), range(2))),
    *((kind, (5,)) for kind in (set, frozenset, list, tuple, dict, bytes, collections.OrderedDict, collections.deque)),
    (dict, ([(1, 2)],)),
    (dict, ("ab",)),
    (bytes, ("a", "utf8")),
    (bytes, ("a", "nonsense")),
    (bytes, (b"a", "utf8")),
    (bytes, (-1,)),
    (set, ("a", "b")),
    (collections.OrderedDict, (((1, 2),),)),
    (collections.Counter, ("abc",)),
    (collections.deque, ("ab",)),
    (collections.deque, ("ab", 3)),
    (collections.deque, ("ab", -3)),
    (codecs.encode, ("abc", "rot13")),
    (codecs.encode, (b"abc", "rot13")),
    (codecs.encode, (b"abc", "hex")),
    (codecs.encode, ("abc", "hex")),
    (codecs.encode, ("abc", "UTF8")),
    (codecs.encode, ("abc", "latin_1", "ignore")),
    (codecs.encode, ("abc", "cp437")),
    (codecs.encode, ("abc", "nonsense")),
    (codecs.encode, (5, "latin1")),
    (codecs.encode, ("abc",)),
    (codecs.encode, ("abc", 5)),
]


@pytest.mark.parametrize(("function", "args"), FORMS)
def test_what_python_takes_is_no_damage(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    machine, is_taken = read(function, args)
    assert (list(machine.faults.found) == []) is is_taken


@pytest.mark.parametrize(("text", "codec"), [("abc", "rot13"), (b"abc", "zlib"), (b"abc", "HEX"), ("abc", "cp437")])
def test_a_codec_that_no_pickler_writes_is_a_call(text: str | bytes, codec: str) -> None:
    machine, _ = read(codecs.encode, (text, codec))
    finding = code_finding([(machine.calls, machine.globals.values())])
    assert finding is not None
    shown = "'abc'" if text == "abc" else "3 bytes"
    assert (finding.severity, finding.evidence) == (
        "warning",
        f"contains calls that would run in a plain unpickler: _codecs.encode({shown}, '{codec}'); nothing was run here",
    )


@pytest.mark.parametrize("codec", ["latin1", "utf-8", "UTF_8", "ascii"])
def test_a_text_that_is_written_out_is_no_call_to_tell(codec: str) -> None:
    machine, _ = read(codecs.encode, ("abc", codec))
    assert code_finding([(machine.calls, machine.globals.values())]) is None
