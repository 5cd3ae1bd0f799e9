"""The three standard streams, which may be closed, full, or too narrow for the characters of a name."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


def prepare() -> None:
    """Make sure that there are three streams, and that any character can be written to them.

    Python sets a stream that is closed to None, and the next file that is opened would get its descriptor. Such a
    stdout is replaced by one on which every flush raises OSError, as on a full disk; such a stderr loses what it is
    given, because nothing could report that.
    """
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Opened for reading only, a descriptor refuses to be written to.
            descriptor = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            setattr(sys, name, open(descriptor, "r" if name == "stdin" else "w", errors="backslashreplace"))  # noqa: SIM115
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def flush_output() -> None:
    """Write what is still buffered for stdout. Raises OSError; the rest is then dropped."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        silence(sys.stdout)
        raise


def reason(error: OSError) -> str:
    """Why something could not be printed."""
    if error.errno == errno.EBADF:
        return "standard output is closed, or not open for writing"
    return error.strerror or str(error)


@contextmanager
def losing_complaints() -> Iterator[None]:
    """Drop what is written to stderr inside if it cannot be written: the exit code still says what happened."""
    try:
        yield
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        silence(sys.stderr)


def silence(stream: TextIO | None) -> None:
    """Send what is still buffered for a stream nowhere, so that Python's own flush at exit does not fail."""
    if stream is None:
        return
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
