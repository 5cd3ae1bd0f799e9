"""Target: the process that is to be looked at, and why it cannot be."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from tui_params.core.text import clean
from tui_params.errors import OpenError

_MAPPED = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) \S+ \d+ +(/.*)$")
_PYTHON = re.compile(r"^(?:libpython|python)(\d)\.(\d+)")
_SCOPES = {
    1: "only what has started it may stop it (kernel.yama.ptrace_scope is 1): run this with sudo",
    2: "only root may stop a process here (kernel.yama.ptrace_scope is 2): run this with sudo",
    3: "nobody may stop a process on this machine (kernel.yama.ptrace_scope is 3)",
}


class Target(msgspec.Struct, frozen=True):
    """A process of Python, by what is mapped into it.

    ``uid`` is its user. ``python`` is the file that has the interpreter's functions, ``libc`` that of the C library;
    ``bases`` say where each of the two is loaded. ``version`` is that of Python, ``has_torch`` whether torch's
    libraries are mapped yet.
    """

    pid: int
    uid: int
    python: Path
    libc: Path
    bases: tuple[int, int]
    version: tuple[int, int]
    has_torch: bool


def find_target(pid: int, proc: Path = Path("/proc")) -> Target:
    """The process ``pid`` as a target. Raises OpenError, which says what keeps it from being one."""
    folder = proc / str(pid)
    if not proc.joinpath("self").exists():
        raise OpenError("a process can be entered on Linux only: put tui_params.serve(model) into its script")
    try:
        owner = folder.stat().st_uid
        if owner != os.geteuid() and os.geteuid() != 0:
            raise OpenError(f"process {pid} belongs to another user ({owner})")
        lines = (folder / "maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        raise OpenError(f"there is no process {pid}") from None
    except ProcessLookupError:
        raise OpenError(f"process {pid} has ended") from None
    except PermissionError:
        raise OpenError(f"process {pid} cannot be looked into: {_why_forbidden(proc)}") from None
    starts: dict[str, int] = {}
    for line in lines:
        match = _MAPPED.match(line)
        if match is not None:
            starts.setdefault(match[5], int(match[1], 16) - int(match[4], 16))
    return _target(pid, owner, folder, starts)


def _target(pid: int, uid: int, folder: Path, starts: dict[str, int]) -> Target:
    names = {path: path.rpartition("/")[2] for path in starts}
    shared = next((path for path, name in names.items() if name.startswith("libpython")), None)
    program = os.path.realpath(folder / "exe") if shared is None else shared
    match = _PYTHON.match(program.rpartition("/")[2])
    if match is None or program not in starts:
        shown = clean(os.path.basename(program), 60) or "a kernel thread"
        raise OpenError(f"process {pid} is no Python ({shown})")
    libc = next((path for path, name in names.items() if re.match(r"libc[.-]|ld-musl", name)), None)
    if libc is None:
        raise OpenError(f"process {pid} is a static program: it has no C library to stop at; {HINT}")
    # The files as that process sees them: it may be in a container.
    root = folder / "root"
    return Target(
        pid,
        uid,
        root / program.lstrip("/"),
        root / libc.lstrip("/"),
        (starts[program], starts[libc]),
        (int(match[1]), int(match[2])),
        any(name.startswith("libtorch") for name in names.values()),
    )


HINT = "put tui_params.serve(model) into its script instead"


def _why_forbidden(proc: Path) -> str:
    try:
        scope = int((proc / "sys/kernel/yama/ptrace_scope").read_text(encoding="ascii"))
    except (OSError, ValueError):
        scope = 0
    return _SCOPES.get(scope, "the kernel does not allow it (in a container, add the capability SYS_PTRACE)")
