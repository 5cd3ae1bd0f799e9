"""Calls of the operating system: made again where a signal interrupts them, and what their errors say in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TypeVar

_MOST_INTERRUPTIONS = 1000
"""How often a call that signals interrupt is made again."""

_T = TypeVar("_T")


def retried(call: Callable[[], _T]) -> _T:
    """What ``call`` returns, called again if a signal interrupted it (EINTR). Raises what it raises.

    Python repeats reads and ``open`` by itself (PEP 475), but not ``stat``, ``fstat`` and the listing of folders, which
    a file system in user space or over a network may interrupt.
    """
    for _ in range(_MOST_INTERRUPTIONS):
        # Not contextlib.suppress: a check of many small tensors passes here several times for each.
        try:
            return call()
        except InterruptedError:  # noqa: PERF203
            continue
    return call()


def reason(error: OSError) -> str:
    """What the operating system says, in lower case and without numbers or paths: ``permission denied``."""
    if error.errno == errno.EMFILE:
        return f"this process may have no more than {descriptor_limit():,} files open (ulimit -n)"
    if error.errno == errno.ENFILE:
        return "the system has as many files open as it can"
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def descriptor_limit() -> int:
    """How many files this process may have open at once; -1 where that is unlimited."""
    return os.sysconf("SC_OPEN_MAX")
