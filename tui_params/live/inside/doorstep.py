"""The first text that runs in a process that was not prepared: waits on a thread for torch, then lets the rest in.

It is run once, as a whole, at a moment that nobody chose: it imports the standard library only, starts a thread and
returns. What goes wrong is written into the folder of sockets, where the viewer finds it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any


def is_torch_ready() -> bool:
    """Whether torch has been imported to its end: in the middle of it, half of its names are missing."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "optim"):
        return False
    return not getattr(getattr(torch, "__spec__", None), "_initializing", False)


def enter(folder: str, seconds: float, let_in: Callable[[], Any]) -> None:
    """Call ``let_in`` on a daemon thread as soon as torch is there, at the latest after ``seconds``."""

    def wait() -> None:
        deadline = time.monotonic() + seconds
        while not is_torch_ready():
            if time.monotonic() > deadline:
                leave_word(folder, "it has not imported torch")
                return
            time.sleep(0.05)
        try:
            let_in()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be told, and must not be printed here
            leave_word(folder, f"{type(error).__name__}: {error}")

    threading.Thread(target=wait, name="tui-params", daemon=True).start()


def leave_word(folder: str, sentence: str) -> None:
    """Tell the viewer why nothing is served."""
    path = os.path.join(folder, f"{os.getpid()}.failed")
    # The viewer looks for the file all the time: it appears when it is whole.
    unfinished = f"{path}.tmp"
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(sentence[:1000])
    os.replace(unfinished, path)
