"""A program in place of ssh that runs the command on this machine, and relays that say what a test wants."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tui_params.live.relay.ssh import COMMAND_VARIABLE, PROGRAM_VARIABLE

_SSH = """#!/bin/sh
# ssh [options] -- HOST COMMAND: each host is a runtime folder beside this file.
for word; do host="$before" before="$word"; done
export XDG_RUNTIME_DIR="$(readlink -f "$(dirname "$0")/$host")"
exec sh -c "$word"
"""

IMPOSTOR = """
import os, sys, time
from tui_params.live.relay.channel import MARK
data = MARK + eval(sys.argv[1])
os.write(1, data)
if len(sys.argv) == 2:
    sys.stdin.buffer.read()
"""


def be_ssh(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """From now on ``ssh HOST`` is a shell here, whose runtime folder is ``folder/HOST``."""
    program = folder / "ssh"
    program.write_text(_SSH)
    program.chmod(0o755)
    monkeypatch.setenv(PROGRAM_VARIABLE, str(program))
    monkeypatch.setenv(COMMAND_VARIABLE, f"{sys.executable} -m tui_params")
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
