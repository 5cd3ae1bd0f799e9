"""ls, stats, values, check and diff of files that hold arrays of numpy: the same words in text and JSON."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Cli = Callable[..., Any]


def run(cli: Cli, *arguments: str, code: int) -> Any:
    ran = cli(*arguments)
    assert ran.code == code, ran
    return ran.json()


def write(path: Path, array: Any, protocol: int | None = None) -> str:
    if protocol is None:
        torch.save({"t": torch.eye(3), "np": {"w": array}}, path)
    else:
        path.write_bytes(pickle.dumps({"np": {"w": array}}, protocol))
    return str(path)


@pytest.mark.parametrize("protocol", [None, 0, 1, 2, 3, 4, 5])
def test_two_files_that_differ_in_an_array_differ(cli: Cli, tmp_path: Path, protocol: int | None) -> None:
    array = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    a = write(tmp_path / "a.pkl", array, protocol)
    other = array.astype(">f8")
    same = write(tmp_path / "same.pkl", other, protocol)
    other[2, 1] += 1
    b = write(tmp_path / "b.pkl", other, protocol)
    found = run(cli, "diff", a, b, "--json", code=1)
    assert [(entry["name"], entry["change"], entry["max_abs"]) for entry in found["changed"]] == [
        ("np.w", "values", 1.0)
    ]
    assert run(cli, "diff", a, same, "--json", code=0)["changed"] == []


@pytest.mark.parametrize("value", [[0.5] * 1000, np.array([1, 2.5], object), np.zeros(2, [("a", "f4")])])
def test_what_is_not_read_is_not_compared(cli: Cli, tmp_path: Path, value: Any) -> None:
    a, b = write(tmp_path / "a.pt", value), write(tmp_path / "b.pt", value)
    found = run(cli, "diff", a, b, "--json", code=3)
    assert [entry["name"] for entry in found["uncompared"]] == ["np.w"]
    assert "not read" in found["uncompared"][0]["reason"]
    found = run(cli, "check", a, "--json", code=3)
    assert (found["status"], [entry["tensor"] for entry in found["unchecked"]]) == ("unchecked", ["np.w"])


def test_an_array_is_listed_and_read(cli: Cli, tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt", np.asfortranarray(np.arange(12, dtype=">f4").reshape(3, 4)))
    listed = run(cli, "ls", path, "--json", code=0)["tensors"]
    assert [(entry["name"], entry["kind"], entry["dtype"]) for entry in listed] == [
        ("t", "tensor", "f32"),
        ("np.w", "array", "f32"),
    ]
    summary = run(cli, "stats", path, "np.w", "--json", code=0)["tensors"][0]["summary"]
    assert (summary["min"], summary["max"], summary["mean"]) == (0.0, 11.0, 5.5)
    assert run(cli, "values", path, "np.w", "[1]", "--json", code=0)["values"] == [4.0, 5.0, 6.0, 7.0]


def test_a_nan_in_an_array_is_an_error(cli: Cli, tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt", np.array([1.0, np.nan]))
    found = run(cli, "check", path, "--json", code=1)
    assert [(entry["rule"], entry["tensor"], entry["indices"]) for entry in found["findings"]] == [
        ("nan", "np.w", [[1]])
    ]
