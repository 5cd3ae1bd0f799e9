"""ProcessMemory: the memory of another process, read without its help: ``/proc/PID/mem`` (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from tui_params.core.reading.place import HERE, Fill, Spans
from tui_params.errors import ReadError


class ProcessMemory:
    """The memory of the process ``pid``; offsets are addresses. ``reason`` says why it may not be read, if so."""

    def __init__(self, pid: int) -> None:
        self._fd = -1
        self.reason: str | None = None
        try:
            self._fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            # EACCES, EPERM: Yama's ptrace_scope, a container without the capability; ENOENT: macOS has no /proc.
            self.reason = f"its memory cannot be read from outside ({(error.strerror or str(error)).lower()})"

    def coming(self, spans: Spans) -> AbstractContextManager[None]:
        return HERE

    @contextmanager
    def reading(self) -> Iterator[Fill]:
        """What reads from it, inside a ``with``. Raises ReadError."""
        if self._fd < 0:
            raise ReadError(self.reason or "its memory is no longer read")
        yield partial(_read_into, self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _read_into(fd: int, address: int, buffer: memoryview) -> None:
    done = 0
    while done < len(buffer):
        try:
            count = os.preadv(fd, [buffer[done:]], address + done)
        except OSError as error:
            raise ReadError(
                f"the memory of the process cannot be read there: {(error.strerror or '').lower()}"
            ) from None
        except OverflowError:
            raise ReadError("the process has no memory there") from None
        if count <= 0:
            raise ReadError("the process has ended")
        done += count
