"""Whether memory of this process may be written to: to find out by writing would end the process."""

from __future__ import annotations

import ctypes
import os
import re

_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) \S+ \S+ \S+ *(.*)")
_SHARED = ("/dev/shm/", "/memfd:", "/SYSV", "/dev/zero")
"""Shared memory that is no file on a disk."""


def why_not_writable(start: int, stop: int) -> str | None:
    """Why the bytes from one address to another must not be written to, one sentence; None if they may be."""
    if stop <= start:
        return None
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as lines:
            text = lines.read()
    except OSError:
        return None if _takes(start) and _takes(stop - 1) else "its memory is read-only"
    return judge(text, start, stop)


def judge(maps: str, start: int, stop: int) -> str | None:
    """The same, from the text of Linux's ``/proc/PID/maps`` (man 5 proc_pid_maps)."""
    for line in maps.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        low, high = int(found.group(1), 16), int(found.group(2), 16)
        if high <= start or low >= stop:
            continue
        mode, path = found.group(3), found.group(4)
        if mode[1] != "w":
            return f"its memory is read-only: it is mapped from {path}" if path else "its memory is read-only"
        if mode[3] == "s" and path.startswith("/") and not path.startswith(_SHARED):
            return f"its memory is the file {path} itself, which a write would change"
    return None


def _takes(address: int) -> bool:
    """Whether a byte can be written there: the kernel is asked to put the same one there, and says EFAULT if not."""
    library = ctypes.CDLL(None, use_errno=True)
    source, target = os.pipe()
    try:
        os.write(target, ctypes.string_at(address, 1))
        return int(library.read(source, ctypes.c_void_p(address), ctypes.c_size_t(1))) == 1
    finally:
        os.close(source)
        os.close(target)
