"""How many processors there are to read with. Imports nothing of ours: it is asked before numpy is there."""

from __future__ import annotations

import os

MAX_THREADS = 4
"""More threads would wait for the memory, and take processors from a training that runs at the same time."""


def cores() -> int:
    """The processors that this process may use, MAX_THREADS at most."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MAX_THREADS)
    return min(os.cpu_count() or 1, MAX_THREADS)
