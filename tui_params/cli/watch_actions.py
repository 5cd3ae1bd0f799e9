"""What ``watch`` does beside printing: saves tensors, and runs a command of the user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tui_params.cli.output import complain, encode_json
from tui_params.core.text import clean
from tui_params.errors import OccupiedError, WriteError
from tui_params.live.watching.watch import Look

MOST_RUNNING = 8
MOST_EVENTS = 64
"""Events of a step that are handed to a command: an environment has little room."""

_MOST_NAMES = 1_000


class Saving:
    """Writes the tensors of the events of each step into ``folder``, in a file of their own."""

    def __init__(self, folder: str, origin: str) -> None:
        self._folder, self._origin = folder, origin

    def save(self, look: Look) -> str:
        """The path of the new file. Raises WriteError."""
        from tui_params.core.export.new_file import write_file
        from tui_params.core.export.safetensors import safetensors_of

        by_name = {event.info.name: event.info for event in look.events}
        tensors = [(info, look.copies[name]) for name, info in by_name.items()]
        metadata = {"step": str(look.step), "source": self._origin}
        for number in range(1, _MOST_NAMES):
            path = os.path.join(self._folder, f"step-{look.step}{f'-{number}' if number > 1 else ''}.safetensors")
            with suppress(OccupiedError):
                write_file(path, lambda: safetensors_of(tensors, metadata))
                return path
        raise WriteError(f"{clean(self._folder, 60)} has {_MOST_NAMES - 1} files of step {look.step} already")


class Running:
    """Runs a command of the user for each step with events, without waiting for it.

    What happened stands in the environment of the command, and never becomes part of it: no name of a tensor can be
    run. What it prints goes to stderr, because stdout is for events.
    """

    def __init__(self, command: str, pid: int, name: str) -> None:
        self._command = command
        self._facts = {"TUI_PARAMS_PID": str(pid), "TUI_PARAMS_NAME": name}
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, look: Look, saved: str | None, entry: Callable[[Any], dict[str, object]]) -> None:
        """Start the command; ``entry`` makes an event what ``TUI_PARAMS_EVENTS`` has of it."""
        self._running = [process for process in self._running if process.poll() is None]
        if len(self._running) >= MOST_RUNNING:
            complain(f"the command was not run for step {look.step}: {MOST_RUNNING} are running still")
            return
        first = look.events[0]
        facts = {
            **self._facts,
            "TUI_PARAMS_STEP": str(look.step),
            "TUI_PARAMS_TENSOR": clean(first.info.name),
            "TUI_PARAMS_CONDITION": first.condition.text,
            "TUI_PARAMS_COUNT": str(len(look.events)),
            "TUI_PARAMS_EVENTS": encode_json([entry(event) for event in look.events[:MOST_EVENTS]]),
            "TUI_PARAMS_SAVED": saved or "",
        }
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", self._command],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                env={**os.environ, **{name: value.replace("\0", "") for name, value in facts.items()}},
            )
        except OSError as error:
            complain(f"the command was not run for step {look.step}: {error.strerror or error}")
            return
        self._running.append(process)

    def wait(self) -> None:
        """Wait for the commands that are running still."""
        for process in self._running:
            process.wait()


def writable_folder(path: str) -> Path:
    """The folder of a path. Raises WriteError if there is none, or nothing can be written in it."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise WriteError(f"there is no folder {clean(path, 100)}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(f"nothing can be written in {clean(path, 100)}")
    return folder
