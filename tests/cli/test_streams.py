"""Standard streams that are closed, full or narrow: an answer that nobody could read is never taken for one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.cli.conftest import Ran

COMMAND = [sys.executable, "-m", "tui_params"]
CLOSED = "tui-params: the output cannot be written: standard output is closed, or not open for writing\n"
FULL = "tui-params: the output cannot be written: No space left on device\n"
PRINTING = [
    ["--help"],
    ["--version"],
    [],
    ["ls", "--help"],
    ["ls", "FILE"],
    ["ls", "FILE", "--json"],
    ["ls", "FILE", "--kinds"],
    ["stats", "FILE"],
    ["stats", "FILE", "--json"],
    ["values", "FILE", "layer.weight"],
    ["values", "FILE", "layer.weight", "--json"],
    ["check", "FILE"],
    ["check", "FILE", "--json"],
    ["check", "FILE", "--markdown"],
    ["check", "--rules"],
    ["diff", "FILE", "FILE"],
    ["diff", "FILE", "OTHER", "--json"],
    ["cache"],
    ["demo", "--path"],
    ["demo"],
    ["FILE"],
]
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "layer.bias": np.zeros(3)}, path)
    save_file({"layer.weight": np.zeros((2, 3), np.float32)}, tmp_path / "other.safetensors")
    return path


@pytest.fixture
def printed_to(
    checkpoint: Path, cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> Callable[[TextIO | None, list[str]], Ran]:
    """Runs a command line with another stdout, and with the paths of two checkpoints; ``demo`` writes none."""
    monkeypatch.setattr("tui_params.demo.make_demo", lambda progress=None: checkpoint)
    paths = {"FILE": str(checkpoint), "OTHER": str(checkpoint.with_name("other.safetensors"))}

    def ran(stdout: TextIO | None, arguments: list[str]) -> Ran:
        monkeypatch.setattr("sys.stdout", stdout)
        done = cli(*(paths.get(argument, argument) for argument in arguments))
        sys.stdout.close()
        return done

    return ran


def redirected(redirections: str, *command: str) -> subprocess.CompletedProcess[str]:
    """A command as a shell runs it, such as with ``>&-``."""
    shell = ["sh", "-c", f'"$@" {redirections}', "sh"]
    return subprocess.run([*shell, *command], capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_every_command_reports_a_stdout_that_is_closed(
    arguments: list[str], printed_to: Callable[[TextIO | None, list[str]], Ran]
) -> None:
    ran = printed_to(None, arguments)
    assert (ran.code, ran.out, ran.err) == (3, "", CLOSED)


@needs_full
@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_every_command_reports_a_full_disk(
    arguments: list[str], printed_to: Callable[[TextIO | None, list[str]], Ran]
) -> None:
    with open("/dev/full", "w") as full:
        ran = printed_to(full, arguments)
    assert (ran.code, ran.out, ran.err) == (3, "", FULL)


@pytest.mark.parametrize("redirection", [">&-", "</dev/null 1<&0", ">&- <&-"])
def test_a_process_whose_stdout_is_closed(checkpoint: Path, redirection: str) -> None:
    ran = redirected(redirection, *COMMAND, "ls", str(checkpoint))
    assert (ran.returncode, ran.stdout, ran.stderr) == (3, "", CLOSED)


@needs_full
def test_a_process_on_a_full_disk(checkpoint: Path) -> None:
    ran = redirected(">/dev/full", *COMMAND, "ls", str(checkpoint))
    assert (ran.returncode, ran.stdout, ran.stderr) == (3, "", FULL)


def test_an_answer_needs_neither_stdin_nor_stderr(checkpoint: Path) -> None:
    ran = redirected("<&- 2>&-", *COMMAND, "ls", str(checkpoint))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "layer.weight" in ran.stdout


@pytest.mark.parametrize("redirection", ["2>&-", ">&- 2>&- <&-", pytest.param("2>/dev/full", marks=needs_full)])
@pytest.mark.parametrize(("arguments", "code"), [(["ls", "gone"], 3), (["stat", "gone"], 2)])
def test_the_exit_code_remains_where_no_complaint_can_be_written(
    redirection: str, arguments: list[str], code: int
) -> None:
    ran = redirected(redirection, *COMMAND, *arguments)
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, "", "")


@needs_full
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("debug", ["", "1"])
def test_a_fault_of_ours_keeps_its_code(redirection: str, debug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUI_PARAMS_DEBUG", debug)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    script = """
import sys
import tui_params.api.opening
def faulty(path):
    print("half an answer")
    raise KeyError
tui_params.api.opening.open_source = faulty
from tui_params.__main__ import main
sys.exit(main())
"""
    ran = redirected(redirection, sys.executable, "-c", script, "ls", "x")
    assert (ran.returncode, ran.stderr) == (70, "")


def test_an_error_that_names_a_file_is_not_blamed_on_the_output(
    cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(path: str) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/somewhere")

    monkeypatch.setattr("tui_params.api.opening.open_source", missing)
    ran = cli("ls", "model")
    assert (ran.code, ran.out, ran.err) == (3, "", "tui-params: /somewhere: No such file or directory\n")


@pytest.mark.parametrize("arguments", [["--help"], ["ls", "--help"], ["--version"], ["check", "--rules"]])
def test_help_into_a_closed_pipe(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run([*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, timeout=600, check=False)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_a_closed_pipe_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "many.safetensors"
    save_file({f"layers.{number}.weight": np.zeros(1, np.float32) for number in range(5000)}, path)
    for command in ("ls", "stats"):
        process = subprocess.Popen(
            [*COMMAND, command, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        complaints = process.stderr.read()
        process.stderr.close()
        assert (process.wait(600), complaints) == (141, "")


def test_output_in_a_narrow_encoding(tmp_path: Path) -> None:
    path = tmp_path / "ü.safetensors"
    save_file({"größe": np.zeros(0, np.float32)}, path)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for arguments in (["ls", str(path)], ["stats", str(path)], ["values", str(path), "größe"]):
        ran = subprocess.run(
            [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "gr\\xf6\\xdfe" in ran.stdout
