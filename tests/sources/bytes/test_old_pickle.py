"""Pickles of protocol 0 and 1 are told from texts by their first bytes."""

from __future__ import annotations

import pickle
import string
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories_pickle import python2_repr_array
from tui_params.sources.bytes.old_pickle import is_old_pickle

HEAD = 1024


def is_recognised(data: bytes) -> bool:
    return is_old_pickle(data[:HEAD], len(data))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(values, st.sampled_from([0, 1]))
def test_what_pickle_writes_is_recognised(value: Any, protocol: int) -> None:
    assert is_recognised(pickle.dumps({"model": value}, protocol))
    assert is_recognised(pickle.dumps([value], protocol))
    assert is_recognised(pickle.dumps((value,), protocol))


@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        OrderedDict(a=np.arange(3.0)),
        np.arange(300.0),
        {"w": np.asfortranarray(np.ones((30, 40)))},
        np.float32(1),
        {"blob": b"\xff" * 5000, "text": "x" * 5000},
        0x1950A86A20F9469CFC6C,
    ],
)
def test_checkpoints_are_recognised(value: Any, protocol: int) -> None:
    assert is_recognised(pickle.dumps(value, protocol))


def test_pickles_of_python_2_are_recognised() -> None:
    assert is_recognised(python2_repr_array(np.arange(100.0, dtype="f4")))
    assert is_recognised(b"(dp1\nS'blobs'\np2\n(dp3\nS'conv1_w'\np4\nI1\nss.")
    assert is_recognised(b"}q\x01U\x05blobsq\x02}q\x03U\x01wq\x04K\x01ss.")


TEXTS = (
    "",
    "(",
    ")",
    "c",
    "}",
    "(.",
    "(at).",
    "().",
    "(see below)\n",
    "(dp = 3)\n.",
    "(define (square x) (* x x))\n",
    "(d.\n",
    "cat\ndog\npig\n.\n",
    "cat\ndog\n(\nant\n",
    "class Model:\n    pass\n",
    "col1,col2\n1,2\n",
    "config\nlr: 0.1\n",
    "conv1.weight\nconv1.bias\nconv2.weight\n",
    "]\n}\n",
    "}q",
    ")]}'\n",
    "cos(pi)\n",
    "copyright\nnotice\n\nAll rights reserved.\n",
    "(I1\nI2\n",
    "%PDF-1.4",
    '{"a": 1}',
    "[1, 2]",
    "I1\n.",
    "Vtext\n.",
)


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_not(text: str) -> None:
    assert not is_recognised(text.encode())


@given(st.text(st.sampled_from(string.printable), min_size=2, max_size=3000))
def test_printable_characters_seldom_are(text: str) -> None:
    data = ("c" + text).encode()
    if is_recognised(data):
        # Whatever is recognised starts as the language says: two names, and an instruction that may follow.
        module, name, rest = text.split("\n", 2)
        assert module.replace(".", "").replace("_", "").isalnum()
        assert name.replace(".", "").replace("_", "").isalnum()
        assert rest


def test_the_sources_of_this_package_are_no_pickles() -> None:
    for path in sorted((Path(__file__).parents[3] / "tui_params").rglob("*.py")):
        data = path.read_bytes()
        for at in range(0, len(data), 997):
            assert not is_recognised(data[at:]), (path.name, at)


@pytest.mark.parametrize(
    "code",
    [
        b"S'builtins'\nS'print'\n\x93(S'hi'\ntR.",
        b"Vbuiltins\np1\n0Vprint\np2\n0g1\ng2\n\x93(Vhi\ntR.",
        b"I1\n0(S'hi'\nibuiltins\nprint\n.",
        b"S'builtins'\nS'print'\n\x93S'hi'\n\x85R.",
        b"N0cbuiltins\nprint\n(S'hi'\ntR.",
    ],
)
def test_a_pickle_by_hand_that_calls_is_recognised(code: bytes) -> None:
    assert is_recognised(code)
    # Without the call, a text or a number alone is no checkpoint.
    assert not is_recognised(code[: code.index(b"\n") + 1] + b".")


@pytest.mark.parametrize("text", [b"S", b"Verse one\nVerse two\n", b"I\n", b"Nothing here.\n", b"Several\nlines\nR.\n"])
def test_prose_that_begins_with_an_instruction_is_no_pickle(text: bytes) -> None:
    assert not is_recognised(text)
    assert not is_recognised(text * 300)
