"""Sockets that were left behind by a process that was killed, found out by asking the kernel, not by a number.

The folder may be shared with containers, in which other processes have the same numbers. A server's socket listens
before it gets its name (``live.inside.server``), so nobody who serves refuses a connection; and a kernel knows all
sockets of its own machine, whatever the namespace. On a file system that another machine may share, refusal proves
nothing: there it is not removed.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path

_SECONDS = 1.0

_LOCAL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"})
"""File systems that one machine has to itself."""


def is_refused(path: Path) -> bool:
    """Whether the kernel says that nobody listens at a socket any more."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_SECONDS)
            probe.connect(str(path))
    except ConnectionRefusedError:
        # macOS refuses, too, where so many wait that no more are let in.
        return sys.platform == "linux"
    except OSError:
        return False
    return False


def remove_stale(path: Path) -> bool:
    """Remove a socket at which nobody listens; whether nobody does."""
    try:
        before = os.lstat(path)
    except OSError:
        return True  # gone meanwhile
    if not stat.S_ISSOCK(before.st_mode):
        return True  # a file of another kind, which is none of ours, refuses as well
    if not is_refused(path):
        return False
    if _is_local(path):
        # A process of the same number may have put its socket there since: what is taken away is looked at again.
        aside = path.with_name(f".{before.st_ino}.stale")
        with suppress(OSError):
            os.rename(path, aside)
            if os.lstat(aside).st_ino == before.st_ino:
                os.unlink(aside)
            else:
                os.rename(aside, path)
    return True


def _is_local(path: Path) -> bool:
    """Whether no other machine can have made this file: by the kind of the file system (proc(5), mountinfo)."""
    best, kind = "", ""
    try:
        folder = os.path.realpath(path.parent)
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    for line in lines:
        fields, _, rest = line.partition(" - ")
        # Blanks in a path are written in octal.
        mounted = fields.split(" ")[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        is_above = folder == mounted or folder.startswith(mounted.rstrip("/") + "/")
        if is_above and len(mounted) >= len(best):
            best, kind = mounted, rest.partition(" ")[0]
    return kind in _LOCAL
