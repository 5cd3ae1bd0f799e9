"""The command line as a whole: which command runs, exit codes, faults, and what is never imported."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.factories_terminal import Terminal
from tui_params import __version__
from tui_params.cli.app import COMMANDS
from tui_params.cli.demo import HINT
from tui_params.cli.exit_codes import BROKEN_PIPE, FAILED, FAULT, FOUND, INTERRUPTED, OK, USAGE
from tui_params.cli.selection import close_names
from tui_params.errors import OpenError


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "layer.bias": np.zeros(3)}, path)
    return path


def test_version_and_help(cli: Callable[..., Any]) -> None:
    assert (cli("--version").code, cli("--version").out) == (0, f"tui-params {__version__}\n")
    ran = cli("--help")
    assert ran.code == 0
    assert all(f"  {name} " in ran.out for name in COMMANDS)
    assert cli().out == ran.out
    for name in COMMANDS:
        assert cli(name, "-h").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ls"], "Missing argument 'SOURCE'"),
        (["ls", "a", "b"], "Got unexpected extra argument (b)"),
        (["ls", "a", "--jsn"], "No such option"),
        (["stat", "model"], "No command 'stat'. Did you mean stats?"),
        (
            ["model", "--json"],
            "No command 'model'. The commands are ls, stats, values, check, diff, timeline, report, attach, "
            "watch, relay, cache, demo.",
        ),
        (["--what"], "No such option"),
    ],
)
def test_usage_errors(cli: Callable[..., Any], arguments: list[str], message: str) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


@pytest.mark.parametrize("arguments", [["ls", "gone"], ["stats", "gone"], ["values", "gone", "x"], ["gone"]])
def test_what_cannot_be_opened(cli: Callable[..., Any], arguments: list[str], tmp_path: Path) -> None:
    where = str(tmp_path / "gone")
    ran = cli(*(where if argument == "gone" else argument for argument in arguments))
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("tui-params: ")
    assert ran.err.count("\n") == 1
    assert "gone" in ran.err


def test_a_source_alone_is_listed_without_a_terminal(cli: Callable[..., Any], checkpoint: Path) -> None:
    assert cli(str(checkpoint)).out == cli("ls", str(checkpoint)).out


def test_a_source_called_like_a_command(
    cli: Callable[..., Any], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.rename(checkpoint.parent / "ls")
    monkeypatch.chdir(checkpoint.parent)
    assert cli("./ls").code == 0
    assert cli("ls", "ls").out.startswith("ls  safetensors\n")


def test_a_source_that_begins_with_a_dash(
    cli: Callable[..., Any], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.rename(checkpoint.parent / "-x")
    monkeypatch.chdir(checkpoint.parent)
    assert cli("--", "-x").code == 0


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that a stand-in for the explorer was opened on; it exits with 42."""
    paths: list[str] = []
    explore = types.ModuleType("tui_params.tui.explore")

    def run_path(
        path: str, hint: str = "", reader: str | None = None, *, is_logical: bool = False, other: str | None = None
    ) -> int:
        paths.append(f"{path}: {hint}" if hint else f"{path} against {other}" if other else path)
        return 42

    def run_timeline(sources: tuple[str, ...], reader: str | None = None) -> int:
        paths.append(f"{' '.join(sources)} as {reader}")
        return 43

    explore.run_path = run_path  # type: ignore[attr-defined]
    explore.run_timeline = run_timeline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tui_params.tui.explore", explore)
    return paths


@pytest.mark.parametrize(
    ("stdin", "stdout", "term", "expected"),
    [
        (True, True, "xterm", True),
        (True, True, "dumb", False),
        (True, True, "", False),
        (False, True, "xterm", False),
        (True, False, "xterm", False),
    ],
)
def test_the_explorer_needs_a_terminal(
    cli: Callable[..., Any],
    checkpoint: Path,
    opened: list[str],
    monkeypatch: pytest.MonkeyPatch,
    stdin: bool,
    stdout: bool,
    term: str,
    expected: bool,
) -> None:
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(isatty=lambda: stdin))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: stdout, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", term)
    assert cli(str(checkpoint)).code == (42 if expected else 0)
    assert opened == ([str(checkpoint)] if expected else [])


def test_two_sources_are_compared_with_a_terminal_or_without(
    cli: Callable[..., Any], checkpoint: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = cli(str(checkpoint), str(checkpoint))
    assert found.code == 0
    assert "identical" in found.out
    assert "No command" not in cli(str(checkpoint), "nothing-there").err
    for stream in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("TERM", "xterm")
    assert cli(str(checkpoint), "b/").code == 42
    assert opened == [f"{checkpoint} against b/"]


def test_a_screen_is_not_drawn_into_a_file_of_errors(
    cli: Callable[..., Any], checkpoint: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert cli(str(checkpoint)).code == 0
    assert opened == []


def test_three_sources_are_a_timeline(
    cli: Callable[..., Any], checkpoint: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    three = [str(checkpoint)] * 3
    assert cli(*three).out == cli("timeline", *three).out
    assert "3 steps" in cli("--format", "safetensors", *three).out
    assert cli("--format", "gguf", *three).code == 3
    assert "leave out --logical" in cli("--logical", *three).err
    assert "No command 'stat'. Did you mean stats?" in cli("stat", *three).err
    assert opened == []
    monkeypatch.setattr("tui_params.cli.terminal.has_terminal", lambda: True)
    assert cli("--format", "safetensors", *three).code == 43
    assert opened == [f"{' '.join(three)} as safetensors"]


def test_demo(cli: Callable[..., Any], checkpoint: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_params.demo.make_demo", lambda progress=None: checkpoint)
    assert cli("demo", "--path").out == f"{checkpoint}\n"
    assert "layer.weight" in cli("demo").out
    monkeypatch.setattr("tui_params.cli.terminal.has_terminal", lambda: True)
    assert cli("demo").code == 42
    assert opened == [f"{checkpoint}: {HINT}"]
    assert cli(str(checkpoint)).code == 42
    assert opened[1:] == [str(checkpoint)]  # no hint for anything else


def test_demo_says_what_it_writes_on_a_terminal_only(
    cli: Callable[..., Any], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_demo(progress: Callable[[int, int], None] | None = None) -> Path:
        if progress is not None:
            for done in (0, 1, 1 << 20, 2 << 20):
                progress(done, 2 << 20)
        return checkpoint

    monkeypatch.setattr("tui_params.demo.make_demo", make_demo)
    assert (cli("demo", "--path").out, cli("demo", "--path").err) == (f"{checkpoint}\n", "")
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", stderr := Terminal())
        assert cli("demo", "--path").out == f"{checkpoint}\n"
    line = "\r\x1b[Kwriting 2.00 MiB once, "
    assert stderr.getvalue() == f"{line}0 %{line}50 %{line}100 %\r\x1b[K"
    monkeypatch.setattr("tui_params.demo.make_demo", lambda progress: checkpoint)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", stderr := Terminal())
        cli("demo", "--path")
    assert stderr.getvalue() == ""  # it was there


def test_demo_that_cannot_be_written(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(progress: object = None) -> Path:
        raise OpenError("the demo cannot be written: No space left on device")

    monkeypatch.setattr("tui_params.demo.make_demo", refuse)
    ran = cli("demo", "--path")
    assert (ran.code, ran.err) == (3, "tui-params: the demo cannot be written: No space left on device\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt, EOFError])
def test_interrupt_is_quiet(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: type) -> None:
    def interrupted(path: str) -> None:
        raise error

    monkeypatch.setattr("tui_params.api.opening.open_source", interrupted)
    ran = cli("ls", "model")
    assert (ran.code, ran.out, ran.err.strip()) == (130, "", "")


_FAULTY = """
import sys
import tui_params.api.opening
def faulty(path):
    raise {error}
tui_params.api.opening.open_source = faulty
from tui_params.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("arguments", [["ls", "x"], ["check", "x"], ["diff", "x", "y", "--json"], ["x.pt"]])
def test_a_fault_of_ours_is_no_answer(arguments: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TUI_PARAMS_DEBUG"}
    script = _FAULTY.format(error="KeyError('x\\x1b[31m\\nmore')")
    run = partial(subprocess.run, capture_output=True, text=True, timeout=600, check=False)
    ran = run([sys.executable, "-c", script, *arguments], env=environment)
    assert (ran.returncode, ran.stdout) == (70, "")
    assert ran.stderr.startswith(f"tui-params: this is a fault of tui-params {__version__}, not an answer: KeyError: ")
    assert "(tui_params/" in ran.stderr
    assert "TUI_PARAMS_DEBUG=1" in ran.stderr
    assert ran.stderr.count("\n") == 2
    assert "Traceback" not in ran.stderr
    assert "\x1b" not in ran.stderr
    ran = run([sys.executable, "-c", script, *arguments], env={**environment, "TUI_PARAMS_DEBUG": "1"})
    assert (ran.returncode, ran.stdout) == (70, "")
    assert "Traceback" in ran.stderr
    assert "in faulty" in ran.stderr


def test_every_help_fits_80_columns(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in ([], ["ls"], ["stats"], ["values"], ["check"], ["diff"], ["cache"], ["demo"]):
        assert max(map(len, cli(*command, "--help").out.splitlines())) <= 80


def test_the_exit_codes_are_told(cli: Callable[..., Any]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for words in (
        cli("--help").out.partition("Exit codes:")[2],
        readme.partition("Exit codes:")[2].partition("```")[0],
    ):
        for code in (OK, FOUND, USAGE, FAILED, FAULT, INTERRUPTED, BROKEN_PIPE):
            assert re.search(rf"\b{code}\b", words)


def test_close_names_are_bounded() -> None:
    names = [f"model.layers.{layer}.mlp.{part}.weight" for layer in range(3000) for part in ("up_proj", "down_proj")]
    assert close_names("model.layers.17.mlp.up_prj.weight", names)[0] == "model.layers.17.mlp.up_proj.weight"
    assert len(close_names("model.layers.99999.mlp.up_proj.weight", names)) == 3
    assert close_names("x" * 10_000, names) == []
    assert close_names("zebra", names) == []


def test_commands_load_neither_torch_nor_a_terminal_interface(checkpoint: Path) -> None:
    script = """
import sys
from tui_params.cli.app import run
for arguments in (["ls"], ["ls", "--json"], ["stats"], ["values", "layer.weight"], []):
    arguments[1:1] = [sys.argv[1]] if arguments else []
    assert run(arguments or [sys.argv[1]]) == 0
    heavy = {"torch", "textual", "plotext", "rich", "safetensors"} & set(sys.modules)
    assert not heavy, (arguments, heavy)
    if arguments[:1] == ["ls"]:
        assert not {"numpy", "pickle"} & set(sys.modules), arguments
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, str(checkpoint)], capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_ctrl_c_in_a_process(tmp_path: Path) -> None:
    fifo = tmp_path / "waits"
    os.mkfifo(fifo)
    script = """
import os, signal, sys
# A test run that was started in the background has SIGINT ignored, and its children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
import tui_params.api.opening
def waits(path):
    print("waiting", flush=True)
    os.open(path, os.O_RDONLY)
tui_params.api.opening.open_source = waits
from tui_params.__main__ import main
sys.argv[1:] = ["ls", sys.argv[1]]
sys.exit(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(fifo)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=600)
    assert (process.returncode, complaints.strip()) == (130, "")
