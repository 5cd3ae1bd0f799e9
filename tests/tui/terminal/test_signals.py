"""SIGTERM, SIGHUP and SIGINT: the terminal is given back, then the signal does what it would have done."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.factories_safetensors import entry, file_bytes
from tests.factories_terminal import PseudoTerminal, running_in_terminal
from tui_params.tui.terminal import signals

TAKEN = (b"\x1b[?1049h", b"\x1b[?1000h", b"\x1b[?1003h", b"\x1b[?1006h", b"\x1b[?25l")
"""The alternate screen, reports of the mouse, no cursor."""

GIVEN_BACK = (b"\x1b[?1049l", b"\x1b[?1000l", b"\x1b[?1003l", b"\x1b[?1006l", b"\x1b[?25h")

RUN = "import sys; from tui_params.__main__ import main; sys.argv = ['tui-params', {path!r}]; sys.exit(main())"

EXPLORE = """
import signal, sys
import numpy as np
from tests.factories_memory import MemorySource
from tui_params import explore

def handler(number, frame):
    print("the script got", signal.Signals(number).name, flush=True)

signal.signal(signal.SIGTERM, handler)
explore(MemorySource({"deep.weight": np.ones(3, np.float32)}))
print("explore returned", signal.getsignal(signal.SIGTERM) is handler, flush=True)
"""


def checkpoint(folder: Path) -> str:
    path = folder / "x.safetensors"
    path.write_bytes(file_bytes({"deep.weight": entry("F32", (3,), 0)}, np.ones(3, np.float32).tobytes()))
    return str(path)


def wait_for_the_tree(terminal: PseudoTerminal) -> None:
    terminal.wait_for(b"deep.weight")
    assert all(code in terminal.written for code in TAKEN)
    assert not any(code in terminal.written for code in GIVEN_BACK)


def is_given_back(written: bytes) -> bool:
    """Whether what took the terminal was undone, and not done again."""
    return all(written.rfind(after) > written.rfind(before) for before, after in zip(TAKEN, GIVEN_BACK, strict=True))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_given_back_before_the_process_dies_by_the_signal(number: int, tmp_path: Path) -> None:
    with running_in_terminal(RUN.format(path=checkpoint(tmp_path)), tmp_path, os.environ) as terminal:
        wait_for_the_tree(terminal)
        os.kill(terminal.process.pid, number)
        assert terminal.wait_for_end() == -number
    assert is_given_back(terminal.written)


def test_an_interrupt_gives_the_terminal_back_and_exits_with_130(tmp_path: Path) -> None:
    with running_in_terminal(RUN.format(path=checkpoint(tmp_path)), tmp_path, os.environ) as terminal:
        wait_for_the_tree(terminal)
        os.kill(terminal.process.pid, signal.SIGINT)
        assert terminal.wait_for_end() == 130
    assert is_given_back(terminal.written)
    assert b"Traceback" not in terminal.written


def test_ctrl_c_quits(tmp_path: Path) -> None:
    with running_in_terminal(RUN.format(path=checkpoint(tmp_path)), tmp_path, os.environ) as terminal:
        wait_for_the_tree(terminal)
        terminal.type(b"\x03")
        assert terminal.wait_for_end() == 0
    assert is_given_back(terminal.written)


def test_a_script_that_handles_the_signal_gets_it_once_the_terminal_is_given_back(tmp_path: Path) -> None:
    with running_in_terminal(EXPLORE, tmp_path, os.environ) as terminal:
        wait_for_the_tree(terminal)
        os.kill(terminal.process.pid, signal.SIGTERM)
        assert terminal.wait_for_end() == 0
    before, found, after = terminal.written.partition(b"the script got SIGTERM")
    assert found
    assert is_given_back(before)
    assert b"explore returned True" in after


def test_a_terminal_that_is_gone_ends_the_process_at_once(tmp_path: Path) -> None:
    with running_in_terminal(RUN.format(path=checkpoint(tmp_path)), tmp_path, os.environ) as terminal:
        wait_for_the_tree(terminal)
        terminal.hang_up()
        assert terminal.wait_for_end() == -signal.SIGHUP


# Without a terminal


@pytest.fixture
def got(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The signals that reach the handlers of this process, which has a terminal."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    monkeypatch.setattr(signals, "has_terminal", lambda: True)
    for number in signals.SIGNALS:
        signal.signal(number, lambda number, frame: came.append(number))
    yield came
    for number in signals.SIGNALS:
        signal.signal(number, before[number])


def test_a_held_signal_is_delivered_to_the_handler_that_was_there_before(got: list[int]) -> None:
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    left: list[str] = []
    with signals.held(lambda: left.append("left")) as held:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        assert left == ["left", "left"]
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before
    assert held == [signal.SIGTERM, signal.SIGHUP]
    assert got == []
    signals.deliver(held)
    assert got == [signal.SIGTERM, signal.SIGHUP]


def test_the_second_time_a_signal_is_not_held(got: list[int]) -> None:
    with signals.held(lambda: None) as held:
        signal.raise_signal(signal.SIGTERM)
        assert got == []
        signal.raise_signal(signal.SIGTERM)
        assert got == [signal.SIGTERM]
    assert held == [signal.SIGTERM]


def test_an_ignored_signal_stays_ignored(got: list[int]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals.held(lambda: None) as held:
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.raise_signal(signal.SIGHUP)
    assert held == []
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_handler_that_was_set_meanwhile_is_kept(got: list[int]) -> None:
    def later(number: int, frame: object) -> None: ...

    with signals.held(lambda: None):
        signal.signal(signal.SIGTERM, later)
    assert signal.getsignal(signal.SIGTERM) is later


def test_without_a_terminal_a_signal_is_obeyed_at_once(got: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "has_terminal", lambda: False)
    with signals.held(lambda: None) as held:
        signal.raise_signal(signal.SIGHUP)
        assert got == [signal.SIGHUP]
    assert held == []


def test_off_the_main_thread_no_handler_is_set(got: list[int]) -> None:
    seen: list[object] = []

    def work() -> None:
        with signals.held(lambda: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize(
    ("foreground", "is_terminal", "expected"),
    [
        (os.getpgrp(), True, True),
        (os.getpgrp() + 1, True, False),
        (OSError(errno.ENOTTY, "no job control"), True, True),
        (OSError(errno.ENOTTY, "not a terminal"), False, False),
        (OSError(errno.EIO, "hung up"), False, False),
    ],
    ids=["ours", "of another program", "without job control", "a file", "hung up"],
)
def test_has_terminal(
    foreground: int | OSError, is_terminal: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tcgetpgrp(number: int) -> int:
        if isinstance(foreground, OSError):
            raise foreground
        return foreground

    monkeypatch.setattr("sys.__stderr__", SimpleNamespace(closed=False, fileno=lambda: 2))
    monkeypatch.setattr("os.tcgetpgrp", tcgetpgrp)
    monkeypatch.setattr("os.isatty", lambda number: is_terminal)
    assert signals.has_terminal() is expected


def test_without_standard_error_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.__stderr__", None)
    assert not signals.has_terminal()
    monkeypatch.setattr("sys.__stderr__", SimpleNamespace(closed=True))
    assert not signals.has_terminal()
