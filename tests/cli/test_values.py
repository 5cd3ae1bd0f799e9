from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_memory import MemorySource
from tui_params.cli import values as command
from tui_params.cli.app import run

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


@pytest.fixture
def served(serve: Callable[..., MemorySource], cli: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a command line on the arrays, opened anew."""

    def ran(*arguments: str) -> Any:
        serve(ARRAYS, unreadable={"lost": "shard 2 is missing"})
        return cli(*arguments)

    return ran


def test_every_format_has_the_same_values(served: Callable[..., Any], tmp_path: Path) -> None:
    assert served("values", "model", "w", "--format", "csv").out == "0.5,nan,-inf\n0.0,1.5,-2.25\n"
    assert (
        served("values", "model", "w", "1", "--format", "md").out
        == "| | 0 | 1 | 2 |\n| --- | --- | --- | --- |\n| | 0.0 | 1.5 | -2.25 |\n"
    )
    assert served("values", "model", "w", "--format", "md").out.splitlines()[2:] == [
        "| 0 | 0.5 | nan | -inf |", "| 1 | 0.0 | 1.5 | -2.25 |",
    ]  # fmt: skip
    assert served("values", "model", "w", "--format", "json").out == served("values", "model", "w", "--json").out
    assert served("values", "model", "w", "--format", "table").out == served("values", "model", "w").out
    file = tmp_path / "big.npy"
    ran = served("values", "model", "big", "10:, ::-1", "-o", str(file))
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("wrote ")
    np.testing.assert_array_equal(np.load(file), ARRAYS["big"][10:, ::-1])


def test_a_file_is_not_written_over_unasked(served: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "w.csv"
    file.write_text("mine")
    ran = served("values", "model", "w", "-o", str(file))
    assert (ran.code, file.read_text()) == (3, "mine")
    assert "exists already" in ran.err
    assert "--force" in ran.err
    assert served("values", "model", "w", "-o", str(file), "--force").code == 0
    assert file.read_text() == "0.5,nan,-inf\n0.0,1.5,-2.25\n"
    assert [path.name for path in tmp_path.iterdir()] == ["w.csv"]


@pytest.mark.parametrize("form", ["csv", "md", "npy"])
def test_what_cannot_be_written_leaves_no_file(served: Callable[..., Any], tmp_path: Path, form: str) -> None:
    for arguments in (["lost"], ["w", "7"], ["w", "0, 0, 0"]):
        ran = served("values", "model", *arguments, "--format", form, "-o", str(tmp_path / "out"))
        assert ran.code in (2, 3)
        assert ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_table_has_at_most_so_many_values(served: Callable[..., Any]) -> None:
    ran = served("values", "model", "big", "--format", "md")
    assert ran.code == 3
    assert "120,000 values are too many for a table (100,000)" in ran.err
    assert served("values", "model", "scalar", "--format", "md").out == "| | |\n| --- | --- |\n| | 7 |\n"
    assert served("values", "model", "empty", "--format", "csv").code == 0


def test_bytes_go_into_a_pipe(source: MemorySource, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["values", "model", "big", "--format", "npy"]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    np.testing.assert_array_equal(np.load(io.BytesIO(out)), ARRAYS["big"])
