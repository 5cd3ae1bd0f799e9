from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_memory import MemorySource
from tui_params.cli import values as command

ARRAYS = {
    "w": np.array([[0.5, math.nan, -math.inf], [0.0, 1.5, -2.25]], ml_dtypes.bfloat16),
    "big": np.arange(300 * 400, dtype=np.int32).reshape(300, 400),
    "z": np.array([1 + 2j, complex(math.nan, -math.inf)], np.complex64),
    "scalar": np.array(7),
    "mask": np.array([True, False]),
    "empty": np.zeros((2, 0), np.float32),
    "fp8": np.array([448.0, math.nan], ml_dtypes.float8_e4m3fn),
    "f4": np.array([6.0, -0.5], ml_dtypes.float4_e2m1fn),
    "lost": np.zeros(3),
}


@pytest.fixture
def source(serve: Callable[..., MemorySource]) -> MemorySource:
    return serve(ARRAYS, unreadable={"lost": "shard 2 is missing"})


def test_plain_grid(source: MemorySource, cli: Callable[..., Any]) -> None:
    ran = cli("values", "model", "w")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "w  bf16  [0:2, 0:3] of [2, 3]\n       0      1      2\n0   0.50    NaN   -Inf\n1      0   1.50  -2.25\n"
    )


def test_only_what_is_shown_is_read(source: MemorySource, cli: Callable[..., Any]) -> None:
    lines = cli("values", "model", "big", "[10:, ::-1]").out.splitlines()
    assert lines[0].startswith("big  i32  [10:50, 399:")
    assert lines[2].split()[:2] == ["10", "4399"]
    assert max(map(len, lines)) <= 100
    shown = 40 * len(lines[1].split())
    assert lines[-1] == f"{290 * 400 - shown:,} more values in [10:, ::-1]"
    assert max(window.numel for window in source.windows) <= 40 * 20


@pytest.mark.parametrize(
    ("name", "slice_", "expected"),
    [
        ("w", ["0"], {"slice": "[0]", "shape": [3], "values": [0.5, "nan", "-inf"]}),
        ("w", ["[1:,", "-1]"], {"slice": "[1:, -1]", "shape": [1], "values": [-2.25]}),
        ("w", ["-1"], {"slice": "[-1]", "shape": [3], "values": [0.0, 1.5, -2.25]}),
        ("z", [], {"slice": "[...]", "shape": [2], "values": [[1.0, 2.0], ["nan", "-inf"]]}),
        ("scalar", [], {"slice": "[...]", "shape": [], "values": 7}),
        ("mask", [], {"slice": "[...]", "shape": [2], "values": [True, False]}),
        ("empty", [], {"slice": "[...]", "shape": [2, 0], "values": [[], []]}),
        ("fp8", [], {"slice": "[...]", "shape": [2], "values": [448.0, "nan"]}),
        ("f4", ["-1:"], {"slice": "[-1:]", "shape": [1], "values": [-0.5]}),
        ("big", ["0,", ":2"], {"slice": "[0, :2]", "shape": [2], "values": [0, 1]}),
    ],
)
def test_json(
    source: MemorySource, cli: Callable[..., Any], name: str, slice_: list[str], expected: dict[str, Any]
) -> None:
    ran = cli("values", "model", name, *slice_, "--json")
    document = ran.json()
    assert (ran.code, document.pop("name")) == (0, name)
    assert document.pop("dtype")
    assert document == expected
    assert list(document) == ["slice", "shape", "values"]


@settings(max_examples=60)
@given(st.lists(st.integers(0, 5), max_size=4).map(tuple), st.integers(1, 12))
def test_json_in_pieces_is_the_whole(shape: tuple[int, ...], at_once: int) -> None:
    array = np.arange(math.prod(shape)).reshape(shape)
    source = MemorySource({"x": array})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "_AT_ONCE", at_once)
        text = "".join(command.document(source, source.find("x"), ""))
        assert all(window.numel <= at_once for window in source.windows)
    import json

    assert json.loads(text)["values"] == array.tolist()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["w", "5"], 2, "tui-params: index 5 is out of range for axis 0 of size 2 (use -2 to 1)\n"),
        (["w", "0,0,0"], 2, "tui-params: 3 indices for a tensor of 2 dimensions\n"),
        (["w", "--jsn"], 2, "tui-params: part 1 of the slice has '--jsn', which is not an integer\n"),
        (["bog"], 2, "tui-params: model has no tensor 'bog'; the nearest names are big\n"),
        (["lost"], 3, "tui-params: shard 2 is missing\n"),
        (["lost", "--json"], 3, "tui-params: shard 2 is missing\n"),
    ],
)
def test_refusals(source: MemorySource, cli: Callable[..., Any], arguments: list[str], code: int, message: str) -> None:
    ran = cli("values", "model", *arguments)
    assert (ran.code, ran.out, ran.err) == (code, "", message)
    assert source.is_closed
