"""The system's ``ssh``, which runs a relay on a host: its command line, and what its failures mean."""

from __future__ import annotations

import os
import re
import shlex

from tui_params.core.text import clean
from tui_params.live.relay.address import Host

COMMAND_VARIABLE = "TUI_PARAMS_RELAY"
"""The environment variable that says how tui-params is called on the host, where it is not in the PATH of ssh."""

PROGRAM_VARIABLE = "TUI_PARAMS_SSH"
"""The environment variable with another program in place of ``ssh``, and options of it."""

_ALIVE = ("ServerAliveInterval=5", "ServerAliveCountMax=3")
"""A connection over which nothing comes for so long is lost, and is not waited for."""

_MISSING = 127
"""The exit status of a shell that finds no such command (POSIX, Shell Command Language, 2.8.2)."""


def command_of(host: Host) -> list[str]:
    """The command line. Nothing is asked on a terminal, which belongs to the screen: keys and the agent only."""
    options = [word for each in ("BatchMode=yes", "ConnectTimeout=20", *_ALIVE) for word in ("-o", each)]
    port = ["-p", str(host.port)] if host.port else []
    user = ["-l", host.user] if host.user else []
    program = shlex.split(os.environ.get(PROGRAM_VARIABLE, "")) or ["ssh"]
    return [*program, "-T", *options, *port, *user, "--", host.name, f"{relay_command()} relay"]


def relay_command() -> str:
    """How tui-params is called on the host, for its shell."""
    return os.environ.get(COMMAND_VARIABLE, "").strip() or "tui-params"


def meaning(host: Host, status: int | None, said: str, noise: str = "") -> str:
    """Why there is no relay, one sentence: from the exit status and the words of ssh, and what the host has printed."""
    name = clean(host.name, 80)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    words = " ".join(lines)
    login = f"ssh{f' -p {host.port}' if host.port else ''} {f'{host.user}@' if host.user else ''}{name}"
    if status == _MISSING or "command not found" in words:
        return (
            f"{name} has no command {relay_command()!r}: pip install tui-params there, or say where it is with"
            f" {COMMAND_VARIABLE}=/path/to/tui-params"
        )
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in words:
        return f"{name} shows another key than the one in known_hosts: find out why before you remove that one"
    if "Host key verification failed" in words:
        return f"the key of {name} is not known yet: run `{login}` once, compare the key, and accept it"
    if "Could not resolve hostname" in words:
        return f"there is no host {name}: its name cannot be resolved"
    if "Permission denied" in words:
        return f"{name} accepts none of your keys: `{login}` must work without a password"
    refused = re.search(r"Connection refused|Connection timed out|No route to host|Operation timed out", words)
    if refused:
        return f"{name} does not answer: {refused[0].lower()}"
    if "No command 'relay'" in words or "No such command" in words:
        return f"the tui-params of {name} has no relay: it is another version than this one; use the same in both"
    last = last_words(said) or clean(noise, 200)
    if status is None:
        return f"{name} does not answer{f': {last}' if last else ''}"
    return f"{name} runs no relay{f': {last}' if last else f' (exit status {status})'}"


def last_words(said: str) -> str:
    """The last line that ssh has printed; empty if there is none."""
    return clean(([line.strip() for line in said.splitlines() if line.strip()] or [""])[-1], 200)
