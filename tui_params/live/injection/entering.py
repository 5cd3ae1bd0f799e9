"""Entering: from the number of a process to the sockets of its models."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.live.attached.finding import Serving, find_serving
from tui_params.live.bundle import make_guest
from tui_params.live.injection.debugger import commands_for, run_text
from tui_params.live.injection.target import HINT, Target, find_target
from tui_params.live.inside.runtime_folder import make_folder

TORCH_SECONDS = 60.0
"""How long a process that has just begun may take to import torch."""

SERVED_SECONDS = 30.0


def enter(pid: int) -> list[Serving]:
    """Serve the models of a process that does not serve them itself, and return them. Raises OpenError."""
    target = find_target(pid)
    try:
        folder = make_folder(uid=target.uid)
    except OSError as error:
        raise OpenError(f"there is no folder for a socket: {error}") from error
    word = Path(folder) / f"{pid}.failed"
    word.unlink(missing_ok=True)
    script = make_guest(folder, TORCH_SECONDS)
    _way(target)(target, script)
    return _wait(target, word)


def _way(target: Target) -> Callable[[Target, str], None]:
    return _execute if _has_remote_exec(target) else run_text


def _has_remote_exec(target: Target) -> bool:
    """Whether both Pythons have the interface of PEP 768, which needs the same minor version at both ends."""
    return target.version >= (3, 14) and sys.version_info[:2] == target.version


def _execute(target: Target, script: str) -> None:
    """Run Python text in the main thread of a process by ``sys.remote_exec`` (PEP 768). Raises OpenError."""
    descriptor, path = tempfile.mkstemp(prefix="tui-params-", suffix=".py")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        # The file is read when it is run, which may be later: it removes itself.
        file.write(f"import os\nos.unlink({path!r})\ndel os\n{script}")
    try:
        sys.remote_exec(target.pid, path)  # type: ignore[attr-defined, unused-ignore]
    except (OSError, RuntimeError) as error:
        Path(path).unlink(missing_ok=True)
        raise OpenError(f"process {target.pid} cannot be entered: {clean(str(error), 200)}; {HINT}") from error


def _wait(target: Target, word: Path) -> list[Serving]:
    patience = SERVED_SECONDS if target.has_torch else TORCH_SECONDS + SERVED_SECONDS
    deadline = monotonic() + patience
    while monotonic() < deadline:
        if word.exists():
            sentence = word.read_text(encoding="utf-8", errors="replace")
            word.unlink(missing_ok=True)
            raise OpenError(f"process {target.pid} was entered, and serves nothing: {clean(sentence, 400)}")
        if not Path(f"/proc/{target.pid}").exists():
            raise OpenError(f"process {target.pid} has ended")
        found = [each for each in find_serving(target.uid) if each.pid == target.pid and each.reason is None]
        if found:
            return found
        sleep(0.05)
    raise OpenError(
        f"process {target.pid} was entered, and did not answer within {patience:.0f} s: it is busy in one long call, or"
        " sleeps; what was left in it runs when it goes on, so try attach again later"
    )


def plan(pid: int) -> str:
    """Exactly what would be run to enter a process, as text to read. Raises OpenError."""
    from tui_params.live.inside.runtime_folder import folder_path

    target = find_target(pid)
    script = make_guest(folder_path(target.uid), TORCH_SECONDS)
    if _has_remote_exec(target):
        how = [f"sys.remote_exec({pid}, PATH of the script)"]
    else:
        with tempfile.NamedTemporaryFile(prefix="tui-params-", suffix="-text") as file:
            file.write(script.encode() + b"\0")
            file.flush()
            before, after = commands_for(target, Path(file.name))
        how = [f"gdb: attach {pid}", *(f"gdb: {command}" for command in (*before, *after, "delete", "detach"))]
    return "\n".join([*how, "", "# the script, which is run in the main thread of the process", script])
