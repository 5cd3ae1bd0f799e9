"""Signals that end a process, while a full-screen program runs: it gives the terminal back first, then obeys.

Without this SIGTERM and SIGHUP kill the process where it is, and leave a terminal without a cursor that reports every
move of the mouse; and asyncio makes an ordinary exit of SIGINT, with code 0. (The key ctrl+c sends no signal here.)
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def held(leave: Callable[[], object]) -> Iterator[list[int]]:
    """Call ``leave`` instead of obeying one of SIGNALS; yields the list of those that came, for ``deliver``.

    Each signal is held once: the second time, whatever handled it before handles it again, so a program that does not
    leave can still be ended. A signal is obeyed at once where the terminal is gone or another program has it, because
    nothing can be given back there. A signal that was ignored (``nohup``) stays ignored. Off the main thread, where
    Python lets nobody set a handler, nothing is held.
    """
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(number, before[signal.Signals(number)])
        if has_terminal():
            came.append(number)
        else:
            signal.raise_signal(number)
        leave()

    is_main = threading.current_thread() is threading.main_thread()
    # None: the handler was not set from Python, and Python could not set it again.
    ours = [number for number in SIGNALS if is_main and before[number] not in (signal.SIG_IGN, None)]
    for number in ours:
        signal.signal(number, handle)
    try:
        yield came
    finally:
        for number in ours:
            if signal.getsignal(number) is handle:
                signal.signal(number, before[number])


def deliver(numbers: Iterable[int]) -> None:
    """Send the held signals to this process again, which ends it unless its own program handles them."""
    for number in numbers:
        signal.raise_signal(number)


def has_terminal() -> bool:
    """Whether this process may draw on the terminal of its standard error."""
    if sys.__stderr__ is None or sys.__stderr__.closed:
        return False
    number = sys.__stderr__.fileno()
    try:
        return os.tcgetpgrp(number) == os.getpgrp()
    except OSError as error:
        # In a terminal without job control (some containers) no program is in the foreground.
        return error.errno == errno.ENOTTY and os.isatty(number)
