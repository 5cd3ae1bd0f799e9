"""Running the command line inside the test's process, on sources made of arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.factories_memory import MemorySource
from tests.factories_terminal import Terminal
from tui_params.cli.app import run
from tui_params.errors import OpenError


class Ran(msgspec.Struct, frozen=True):
    """What a command line did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its one strict JSON document: NaN and Infinity are no JSON."""
        assert self.out.count("\n") == 1
        return json.loads(self.out, parse_constant=refuse)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where config.json would stand; the user's own sets nothing here."""
    file = tmp_path / "configuration" / "config.json"
    monkeypatch.setattr("tui_params.settings.path", lambda: file)
    return file


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def ran(*arguments: str) -> Ran:
        code = run(arguments)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return ran


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., MemorySource]:
    """Make a source of arrays be what the path ``model`` opens."""

    def served(arrays: dict[str, Any], **options: Any) -> MemorySource:
        source = MemorySource(arrays, label="model", **options)

        def open_source(path: str) -> MemorySource:
            if path != "model":
                raise OpenError(f"{path}: there is no such file or folder")
            return source

        monkeypatch.setattr("tui_params.api.opening.open_source", open_source)
        return source

    return served


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Terminal]:
    """Make stdout a terminal of so many columns."""

    def made(columns: int, **environment: str) -> Terminal:
        for name in ("NO_COLOR", "COLORTERM", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "24", **environment}.items():
            monkeypatch.setenv(name, value)
        stream = Terminal()
        monkeypatch.setattr("sys.stdout", stream)
        return stream

    return made
