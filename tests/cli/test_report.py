"""``tui-params report``: where it writes, what it never writes over, and what its exit codes mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.factories_terminal import Terminal
from tests.reports.sources import pair, run_folder

Cli = Callable[..., Any]


@pytest.fixture
def clean_file(tmp_path: Path) -> Path:
    path = tmp_path / "clean.pt"
    torch.save({"w": torch.randn(8, 8, generator=torch.Generator().manual_seed(0))}, path)
    return path


def test_exit_codes_are_those_of_check_diff_and_timeline(tmp_path: Path, clean_file: Path, cli: Cli) -> None:
    a, b = map(str, pair(tmp_path))
    clean = str(clean_file)
    assert cli("report", clean, "--format", "md").code == 0
    assert cli("report", clean, clean, "--format", "md").code == 0
    assert cli("report", b, "--format", "md").code == 1
    assert cli("report", clean, a, "--format", "md").code == 1
    run = run_folder(tmp_path / "run")
    assert cli("report", str(run), "--format", "md").code == 1
    two = [str(run / f"checkpoint-{step}") for step in (100, 200, 300)]
    ran = cli("report", *two, "--format", "md")
    assert ran.code == 3  # step 200 is cut, and nothing is wrong with the others
    assert "No NaN and no infinity in what could be read." in ran.out
    torch.save({}, tmp_path / "empty.pt")
    assert cli("report", str(tmp_path / "empty.pt"), "--format", "md").code == 3


def test_a_file_is_written_whole_and_never_over_another_unasked(tmp_path: Path, clean_file: Path, cli: Cli) -> None:
    path = tmp_path / "out" / "report.html"
    assert "there is no folder" in cli("report", str(clean_file), "-o", str(path)).err
    path.parent.mkdir()
    ran = cli("report", str(clean_file), "-o", str(path))
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith(f"wrote {path} (")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    path.write_text("mine")
    ran = cli("report", str(clean_file), "-o", str(path))
    assert ran.code == 3
    assert "report.html exists already (4 B): --force writes over it" in ran.err
    assert path.read_text() == "mine"
    assert cli("report", str(clean_file), "-o", str(path), "--force").code == 0
    assert path.read_text(encoding="utf-8").endswith("</html>\n")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_nothing_is_written_of_what_cannot_be_opened_nor_over_what_is_open(tmp_path: Path, cli: Cli) -> None:
    broken, out = tmp_path / "broken.safetensors", tmp_path / "r.md"
    broken.write_bytes(b"")
    ran = cli("report", str(broken), "-o", str(out))
    assert (ran.code, ran.out, out.exists()) == (3, "", False)
    assert ran.err == "tui-params: broken.safetensors is empty (0 bytes)\n"
    torch.save({"w": torch.ones(2)}, out)
    before = out.read_bytes()
    ran = cli("report", str(out), "-o", str(out), "--force")
    assert ran.code == 3
    assert "r.md is part of what is open here" in ran.err
    assert out.read_bytes() == before


def test_wrong_usage(tmp_path: Path, clean_file: Path, cli: Cli, terminal: Callable[..., Any]) -> None:
    clean = str(clean_file)
    for arguments, message in (
        ((clean, "-o", "model.safetensors"), "'model.safetensors' ends neither in .html nor in .md"),
        ((clean, "-o", "x.html", "--format", "md"), "'x.html' is no file for md"),
        ((clean, "--format", "nonsense"), "nonsense"),
        ((clean, clean, clean, "--logical"), "are for one source or two, not for a run"),
        ((), "Missing argument"),
    ):
        ran = cli("report", *arguments)
        assert ran.code == 2
        assert message in ran.err
    assert "clean.pt" in cli("report", clean, "--format", "md").out
    terminal(80)
    ran = cli("report", clean)
    assert ran.code == 3
    assert "a page is for a browser, not for a terminal" in ran.err


def test_a_terminal_sees_how_far_it_is(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = map(str, pair(tmp_path))
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    cli("report", a, b, "-o", str(tmp_path / "r.html"))
    shown = [part for part in stream.getvalue().replace("\x1b[K", "").split("\r") if part.strip()]
    assert any(part.startswith("100 %  3.") for part in shown)  # of A, of B, then of both
    assert any("17 of 17" in part for part in shown)
    assert shown[-1].startswith("wrote ")
