"""The fields of ``--json`` that ``--help`` and ``.github/JSON.md`` show are those that the commands print."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import tui_params
from tests.cli.conftest import Ran
from tests.factories_safetensors import entry, file_bytes
from tests.live.attached.conftest import runtime
from tui_params.cli import fields
from tui_params.cli.app import COMMANDS
from tui_params.cli.kept_figures import KindFigures, Range
from tui_params.cli.watch_report import JsonReport
from tui_params.live.inside.runtime_folder import SUFFIX, folder_path, make_folder

__all__ = ["runtime"]

ROOT = Path(__file__).parents[2]
PAGE = ".github/JSON.md"
BLOCKS = {
    "ls": fields.LS,
    "stats": fields.STATS,
    "values": fields.VALUES,
    "check": fields.CHECK,
    "check --rules": fields.RULES,
    "diff": fields.DIFF,
    "timeline": fields.TIMELINE,
    "attach": fields.ATTACH,
    "watch": fields.WATCH,
}

Fields = dict[str, Any]
"""Fields by name: those of the objects behind them, or nothing."""


def documented(block: str) -> Fields:
    """What a block says: a name in quotes is a field, and braces with such names belong to the field before them."""
    tokens = iter(re.findall(r'"\w+"|[{}]', block))
    assert next(tokens) == "{"
    found = nested(tokens)
    assert next(tokens, None) is None
    return found


def nested(tokens: Iterator[str]) -> Fields:
    found: Fields = {}
    last = ""
    for token in tokens:
        if token == "}":
            return found
        if token == "{":
            found[last] = nested(tokens)
        else:
            last = token.strip('"')
            assert last not in found
            found[last] = {}
    raise AssertionError("a brace is not closed")


def printed(value: Any, known: Fields, into: Fields) -> Fields:
    """The fields of a document, as deep as documented; of lists those of all entries together."""
    for item in value if isinstance(value, list) else [value]:
        for name, inner in item.items() if isinstance(item, dict) else ():
            below = into.setdefault(name, {})
            if known.get(name):
                printed(inner, known[name], below)
    return into


@pytest.fixture
def sources(tmp_path: Path) -> tuple[str, str, str, str]:
    """Two checkpoints that differ in every way that a command can tell of, a file that is cut short, and two models."""
    a = {
        "w.0.weight": torch.ones(4, 4),
        "w.1.weight": torch.tensor([[1.0, float("nan")], [1.0, 2.0]]),
        "tied": torch.zeros(2),
        "zero": torch.zeros(2),
        "shape": torch.ones(3),
        "type": torch.ones(3),
        "gone": torch.ones(1),
        "m.lora_A.weight": torch.ones(2, 4),
        "turned": torch.arange(12.0).reshape(3, 4),
        "packed": torch.ones(2, 64),
        "w.0.bias": torch.ones(4),
    }
    a["again"] = a["tied"]
    b = a | {"w.1.weight": torch.ones(2, 2), "zero": -torch.zeros(2), "shape": torch.ones(4), "new": torch.ones(1)}
    b |= {"type": b["type"].double(), "turned": b["turned"].T.contiguous()}
    packing = b'{"quant_type": "nf4", "shape": [2, 64], "dtype": "bfloat16"}'
    b |= {"packed": torch.zeros(64, 1).byte()}
    b["packed.quant_state.bitsandbytes__nf4"] = torch.tensor(list(packing), dtype=torch.uint8)
    del b["gone"], b["again"]
    paths = []
    for name, state in (("a", a), ("b", {f"module.{key}": tensor for key, tensor in b.items()})):
        folder = tmp_path / name
        folder.mkdir()
        torch.save(state, folder / "pytorch_model.bin")
        torch.save({}, folder / "optimizer.pt")
        paths.append(str(folder))
    header = {"x": entry("F32", (2,), 0), "y": entry("F32", (2,), 8)}
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(file_bytes(header, bytes(12)))
    two = tmp_path / "two"
    two.mkdir()
    for name in ("model", "consolidated"):
        (two / f"{name}.safetensors").write_bytes(file_bytes(header, bytes(16)))
    return paths[0], paths[1], str(cut), str(two)


def commands(a: str, b: str, cut: str, two: str) -> dict[str, list[list[str]]]:
    renamed = ["diff", a, b, "--json", "--rename", "b:module.="]
    return {
        "ls": [
            ["ls", a, "--json"],
            ["ls", a, "--kinds", "--json"],
            ["ls", cut, "--json"],
            ["ls", two, "--json"],
            ["ls", b, "--json"],
        ],
        "stats": [["stats", a, "--json"], ["stats", cut, "--json"]],
        "values": [["values", a, "zero", "--json"]],
        "check": [["check", a, "--json"], ["check", cut, "--json", "--verify"]],
        "check --rules": [["check", "--rules", "--json"]],
        "timeline": [["timeline", a, cut, b, "--json"], ["timeline", two, cut, two, "--json"]],
        "attach": [["attach", "--json"]],
        "watch": [["watch", "model", "--pause", "--for", "1", "--json"]],
        "diff": [
            ["diff", a, b, "--json"],
            renamed,
            [*renamed, "--names"],
            [*renamed, "--rename", "w.0.=w.1."],
            ["diff", b, a, "--json", "--rename", "module.="],
            ["diff", cut, cut, "--json"],
            ["diff", cut, a, "--json"],
        ],
    }


@pytest.mark.parametrize("command", BLOCKS)
def test_the_documented_fields_are_printed_and_no_others(
    command: str,
    sources: tuple[str, str, str, str],
    cli: Callable[..., Ran],
    runtime: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_folder()
    known = documented(BLOCKS[command])
    found: Fields = {}
    monkeypatch.setattr("tui_params.live.attached.finding.HELLO_SECONDS", 0.2)
    some = Range(0.0, 1.0, 2.0)
    monkeypatch.setattr("tui_params.cli.kept_figures.figures_of", lambda *_: KindFigures(1, 0, 0, some, some))
    # A process that does not answer has all fields, too.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(f"{folder_path()}/{os.getpid()}{SUFFIX}")
        silent.listen()
        for arguments in commands(*sources)[command]:
            if command == "watch":
                # The one that prints a document in each line.
                with training_while_watched(monkeypatch):
                    lines = cli(*arguments).out.splitlines()
                printed([json.loads(line) for line in lines], known, found)
            else:
                printed(cli(*arguments).json(), known, found)
    assert found == known


@contextmanager
def training_while_watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A model that makes a step with a NaN once it is watched, and is served until it was told that it went on."""
    went_on, released = threading.Event(), JsonReport.released

    def tell(report: JsonReport, step: int, by: str) -> None:
        released(report, step, by)
        went_on.set()

    monkeypatch.setattr(JsonReport, "released", tell)
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    server = tui_params.serve(net, optimizer, name="model")

    def train() -> None:
        while not server.clock.at_step:
            time.sleep(0.001)
        net.weight.grad = torch.full_like(net.weight, float("nan"))
        optimizer.step()
        went_on.wait(100)
        server.stop()

    thread = threading.Thread(target=train)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_the_page_shows_the_fields_of_every_command_that_prints_json(cli: Callable[..., Ran]) -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert dict(re.findall(r"^## `([^`]+)`\n\n```text\n(.+?)\n```\n", page, re.MULTILINE | re.DOTALL)) == BLOCKS
    with_json = {name for name in COMMANDS if "--json" in cli(name, "--help").out}
    assert with_json == {name.partition(" ")[0] for name in BLOCKS}
    assert f"]({PAGE})" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", BLOCKS)
def test_the_help_of_a_command_shows_its_fields(
    command: str, cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Click's own lines begin with two blanks, and it fills lines anew unless it is told not to.
    monkeypatch.setenv("COLUMNS", "80")
    block = "".join(f"  {line}\n" for line in BLOCKS[command].splitlines())
    assert block in cli(command.partition(" ")[0], "--help").out


def test_the_table_of_markdown_is_documented(sources: tuple[str, str, str, str], cli: Callable[..., Ran]) -> None:
    title = cli("check", sources[0], "--markdown").out.splitlines()[2]
    assert f"`{title}`" in (ROOT / PAGE).read_text(encoding="utf-8")
