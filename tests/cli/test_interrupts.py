"""Ctrl+c while modules are still imported: exit code 130 and not a word, wherever it arrives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

# Runs the command line with something that happens as a module is imported.
SCRIPT = """
import os, signal, sys, time
# A test run that was started in the background has SIGINT ignored, and its children inherit that.
signal.signal(signal.SIGINT, signal.{handler})
class Importing:
    def find_spec(self, name, path, target=None):
        if name == "{module}":
            sys.meta_path.remove(self)
            happen()
def happen():
    {happens}
sys.meta_path.insert(0, Importing())
from tui_params.__main__ import main
sys.exit(main())
"""
RAISED = "raise KeyboardInterrupt"
TURNED = """\
try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as interrupt:
        raise RuntimeError("Error calling __set_name__") from interrupt"""
SENT_AND_SWALLOWED = """\
try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        pass"""
LOST_IN_A_DESTRUCTOR = """\
class Interrupted:
        def __del__(self):
            raise KeyboardInterrupt
    Interrupted()
    # One long wait could begin just after the interrupt.
    for _ in range(6000):
        time.sleep(0.01)"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"weight": np.zeros(3)}, path)
    return path


def ran(module: str, happens: str, *arguments: str, handler: str = "default_int_handler") -> tuple[int, str, str]:
    script = SCRIPT.format(module=module, happens=happens, handler=handler)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("module", "happens"),
    [
        pytest.param("tui_params.cli.interrupts", RAISED, id="start-raised"),
        pytest.param("tui_params.cli.app", RAISED, id="app-raised"),
        pytest.param("click", TURNED, id="click-turned"),
        pytest.param("click", SENT_AND_SWALLOWED, id="click-swallowed"),
        pytest.param("tui_params.cli.ls", RAISED, id="command-raised"),
        pytest.param("tui_params.cli.ls", TURNED, id="command-turned"),
        pytest.param("tui_params.cli.ls", LOST_IN_A_DESTRUCTOR, id="command-lost"),
    ],
)
def test_an_interrupt_as_a_module_is_imported(module: str, happens: str, checkpoint: Path) -> None:
    code, out, complaints = ran(module, happens, "ls", str(checkpoint))
    assert (code, out, complaints.strip()) == (130, "", "")


def test_an_interrupt_as_the_explorer_is_imported(checkpoint: Path) -> None:
    script = """
import os, signal, sys
from tui_params.cli import terminal
signal.signal(signal.SIGINT, signal.default_int_handler)
terminal.has_terminal = lambda: True
class Importing:
    def find_spec(self, name, path, target=None):
        if name == "tui_params.tui.explore":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Importing())
terminal.open_explorer(sys.argv[1])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(checkpoint)], capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interrupt_that_is_ignored_stays_ignored(checkpoint: Path) -> None:
    code, out, complaints = ran("click", SENT_AND_SWALLOWED, "ls", str(checkpoint), handler="SIG_IGN")
    assert (code, complaints) == (0, "")
    assert "weight" in out


def test_nothing_is_imported_before_an_interrupt_is_answered() -> None:
    script = """
import sys
before = set(sys.modules)
import tui_params.__main__
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.split() == ["__future__", "tui_params", "tui_params.__main__"]
