"""Names with characters that a terminal obeys: real in every source and in JSON, written out wherever they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tui_params.api.opening import open_source
from tui_params.core.text import clean

NAMES = [
    "a\nb.weight",
    "a\x1b[31mred",
    "\x1b]0;title\x07",
    "tab\there",
    "nul\x00x",
    "bidi\u202e",
    "c1\x9b31m",
    "back\\x0aslash",
    "layers.\n.w",
    "",
    ".x",
    "x.",
    "é",
]
STATE = {name: torch.arange(4.0) + place for place, name in enumerate(NAMES)}


def _zip(path: Path) -> None:
    torch.save(STATE, path)


def _legacy(path: Path) -> None:
    torch.save(STATE, path, _use_new_zipfile_serialization=False)


def _safetensors(path: Path) -> None:
    save_file(STATE, path)


@pytest.fixture(params=[_zip, _legacy, _safetensors])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / "hostile"
    request.param(file)
    return file


def test_every_reader_gives_the_real_names(path: Path) -> None:
    with open_source(str(path)) as source, open_source(STATE) as live:
        assert sorted(info.name for info in source.listing.tensors) == sorted(NAMES)
        assert sorted(info.name for info in live.listing.tensors) == sorted(NAMES)
        for name, values in STATE.items():
            assert source.read(name).tolist() == values.tolist()


def test_two_formats_do_not_differ(cli: Callable[..., Any], path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    _safetensors(other)
    ran = cli("diff", str(path), str(other), "--json")
    assert ran.code == 0
    assert ran.json()["identical"] == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_found_as_it_is_and_as_it_is_printed(cli: Callable[..., Any], path: Path, name: str) -> None:
    for asked in (name, clean(name)):
        ran = cli("values", str(path), asked, "--json")
        assert (ran.code, ran.err) == (0, "")
        assert (ran.json()["name"], ran.json()["values"]) == (name, STATE[name].tolist())
        assert [tensor["name"] for tensor in cli("stats", str(path), asked, "--json").json()["tensors"]] == [name]


def test_a_module_is_found_as_it_is_printed(cli: Callable[..., Any], path: Path) -> None:
    ran = cli("stats", str(path), "layers.\\x0a", "--json")
    assert [tensor["name"] for tensor in ran.json()["tensors"]] == ["layers.\n.w"]


def test_two_names_that_are_printed_alike_are_not_guessed(serve: Callable[..., Any], cli: Callable[..., Any]) -> None:
    serve({"a\n\\x0a": np.zeros(1), "a\\x0a\n": np.zeros(1)})
    ran = cli("values", "model", "a\\x0a\\x0a")
    assert (ran.code, ran.out) == (2, "")


@pytest.mark.parametrize("command", [["ls"], ["ls", "--json"], ["stats"], ["stats", "--json"], ["check"], ["diff"]])
def test_no_command_prints_what_a_terminal_obeys(cli: Callable[..., Any], path: Path, command: list[str]) -> None:
    if command == ["diff"]:
        changed = path.with_name("changed")
        torch.save({name + "\x1b[2J": values for name, values in STATE.items()}, changed)
        command = ["diff", "--names", str(changed)]
    elif command == ["check"]:
        torch.save({**STATE, "bad\x1b[2J": torch.tensor([float("nan")]), "z\n": torch.zeros(9, 9)}, path)
    ran = cli(*command, str(path))
    assert ran.out
    assert not [letter for letter in ran.out + ran.err if letter != "\n" and not letter.isprintable()]
    lines = cli("ls", str(path)).out.splitlines()
    assert sum(line.endswith("B") and "[" in line for line in lines) >= len(NAMES)


def test_the_empty_name_is_told_in_words(cli: Callable[..., Any], path: Path, tmp_path: Path) -> None:
    torch.save({**STATE, "": torch.tensor([float("nan")])}, tmp_path / "other")
    other = str(tmp_path / "other")
    for command in (["ls", other], ["ls", "--kinds", other], ["values", other, ""], ["check", other]):
        assert "(empty name)" in cli(*command).out
    for more in ([], ["--names"]):
        assert cli("diff", str(path), other, *more).out.count("(empty name)") == 2
