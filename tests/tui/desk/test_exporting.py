"""The thread that writes a file: one at a time, each step told, and nothing left when the desk closes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from textual.message import Message

from tests.factories_memory import MemorySource
from tests.factories_screen import PATIENCE, ramp
from tui_params.core.export.contents import Contents
from tui_params.tui.desk.exporting import Exports
from tui_params.tui.desk.messages import Exported


def endless() -> Contents:
    def pieces() -> Iterator[bytes]:
        while True:
            yield b"a"

    return Contents(pieces())


def outcome(make: Callable[[], Contents], path: Path) -> list[Exported]:
    told: list[Message] = []
    exports = Exports(MemorySource({"a": ramp(2)}), told.append)
    assert exports.begin(str(path), make, may_replace=False)
    exports.join(PATIENCE)
    assert not exports.is_busy
    return [message for message in told if isinstance(message, Exported)]


def failing(error: Exception) -> Callable[[], Contents]:
    def make() -> Contents:
        raise error

    return make


def test_each_step_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x"
    told = outcome(lambda: Contents(iter([b"abc", b"de"]), 5, lambda: "five letters"), path)
    assert (told[0].state, told[0].done, told[0].total) == ("writing", 3, 5)
    assert (told[-1].state, told[-1].done, told[-1].words) == ("written", 5, "five letters")
    assert all(message.path == str(path) for message in told)
    (occupied,) = outcome(lambda: Contents(iter([b"new"])), path)
    assert (occupied.state, occupied.words) == ("occupied", "x exists already (5 B)")
    (failed,) = outcome(failing(MemoryError()), tmp_path / "y")
    assert (failed.state, failed.words) == ("failed", "there is not enough memory to read it")
    (failed,) = outcome(failing(OSError(5, "Input/output error")), tmp_path / "y")
    assert failed.words == "it could not be read: Input/output error"
    assert os.listdir(tmp_path) == ["x"]


def test_of_what_waits_only_the_latest_word_matters() -> None:
    first, last = Exported("x", "writing", 1, 2, ""), Exported("x", "written", 2, 2, "")
    assert first.can_replace(last)


def test_stopping_removes_what_was_written(tmp_path: Path) -> None:
    told: list[Message] = []
    exports = Exports(MemorySource({"a": ramp(2)}), told.append)
    assert exports.begin(str(tmp_path / "x"), endless, may_replace=False)
    assert not exports.begin(str(tmp_path / "y"), endless, may_replace=False)
    exports.stop()
    exports.join(PATIENCE)
    assert os.listdir(tmp_path) == []
    assert isinstance(told[-1], Exported)
    assert told[-1].state == "stopped"
