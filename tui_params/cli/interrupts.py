"""Ctrl+c while modules are still imported: the process exits with 130 and prints no traceback.

Python raises KeyboardInterrupt wherever the main thread is, and imports are a bad place for it: before 3.12 it becomes
a RuntimeError in ``__set_name__``, in the callback of an import lock it is printed and forgotten, and msgspec 0.22,
interrupted while it sets itself up, crashes at its first use.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tui_params.cli.exit_codes import INTERRUPTED


@contextmanager
def exiting_at_once() -> Iterator[None]:
    """Let ctrl+c end the process inside, without an exception; leave alone a handler that is not Python's own."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _exit)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _exit:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(number: int, frame: FrameType | None) -> None:
    import atexit
    import os

    atexit._run_exitfuncs()  # the process that compiles is stopped there
    os._exit(INTERRUPTED)


def led_to(error: BaseException | None) -> bool:
    """Whether ``error`` is what became of a KeyboardInterrupt."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def report_unraisable(what: sys.UnraisableHookArgs) -> None:
    """Interrupt again where Python would print a KeyboardInterrupt and go on (for ``sys.unraisablehook``)."""
    if what.exc_type is KeyboardInterrupt:
        import _thread
        import os

        # By a thread, because an interrupt that arrives in here would be printed too.
        _thread.start_new_thread(os.kill, (os.getpid(), signal.SIGINT))
    else:
        sys.__unraisablehook__(what)
