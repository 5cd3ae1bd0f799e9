"""What ``watch`` does beside printing and saving: it runs a command of the user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tui_params.cli.output import complain, encode_json
from tui_params.core.text import clean
from tui_params.live.watching.watch import Look

MOST_RUNNING = 8
MOST_EVENTS = 64
"""Events of a step that are handed to a command: an environment has little room."""


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
