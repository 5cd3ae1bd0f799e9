"""The time by which an answer must be complete, and what reads from a socket until then."""

from __future__ import annotations

import io
import socket
import time
from typing import Any

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Seconds: for a connection to stand, between two pieces of an answer, for all of it; and its slowest bytes/s."""

    connect: float = 10.0
    silence: float = 20.0
    whole: float = 60.0
    slowest: int = 16 * 1024


class Deadline:
    """The time by which an answer must be complete, moved on by the bytes that are expected of it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._end = time.monotonic() + limits.whole

    def expect(self, nbytes: int) -> None:
        """Allow for a body of so many bytes."""
        self._end += nbytes / self._limits.slowest

    def left(self) -> float:
        """How long to wait for the next bytes, in seconds. Raises TimeoutError."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, self._limits.silence)


class _Stream(io.RawIOBase):
    """What is read from a socket by a deadline. A time-out of the socket alone would begin anew with every byte."""

    def __init__(self, raw: Any, sock: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._seconds: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        seconds = self._deadline.left()
        if seconds != self._seconds:
            # Not for every read: it is a call of the system.
            self._seconds = seconds
            self._sock.settimeout(seconds)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class Door:
    """What http.client takes for a socket: it asks for the file of its bytes only."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        # Unbuffered, the socket's own file: it keeps the socket open for as long as the answer is read.
        raw: Any = self._sock.makefile("rb", buffering=0)
        return io.BufferedReader(_Stream(raw, self._sock, self._deadline))
