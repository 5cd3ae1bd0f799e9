"""The command that shows and clears the cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tui_params.cli.cache import command
from tui_params.cli.exit_codes import FAILED, OK

NAME = "0123456789abcdef" * 2 + ".figures"


@pytest.fixture
def ran(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    def run(*arguments: str) -> tuple[Any, str, str]:
        code = command.main(list(arguments), standalone_mode=False)
        return code, *capsys.readouterr()

    return run


def test_it_is_shown_and_cleared(
    ran: Callable[..., tuple[Any, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept"
    monkeypatch.setenv("TUI_PARAMS_CACHE", str(folder))
    assert ran() == (OK, f"{folder}: 0 files, 0 B\n", "")
    folder.mkdir(mode=0o700)
    (folder / NAME).write_bytes(bytes(2048))
    (folder / "other.txt").write_text("mine")
    assert ran() == (OK, f"{folder}: 1 file, 2.00 KiB\n", "")
    assert ran("--clear") == (OK, f"{folder}: 1 file, 2.00 KiB deleted\n", "")
    assert [path.name for path in folder.iterdir()] == ["other.txt"]


def test_off_and_forbidden(
    ran: Callable[..., tuple[Any, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUI_PARAMS_CACHE", "off")
    assert ran("--clear") == (OK, "The cache is turned off by TUI_PARAMS_CACHE.\n", "")
    monkeypatch.setenv("TUI_PARAMS_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    code, out, err = ran("--clear")
    assert (code, out) == (FAILED, "")
    assert "the folder belongs to another user" in err
