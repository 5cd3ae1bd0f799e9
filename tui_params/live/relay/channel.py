"""Channel: frames over a pair of descriptors: what a viewer and a relay say to each other.

A frame is two lengths of 4 bytes (little-endian), JSON of the first length, and raw bytes of the second. Both lengths
are bounded before anything is read, and nothing is unpickled. Before the first frame a relay writes MARK: what the
shell of a host prints when somebody logs in comes before it.
"""

from __future__ import annotations

import os
import struct
from threading import Lock

from tui_params.core.text import clean

MARK = b"\x00tui-params relay\x00"

MAX_TEXT = 16 << 20
"""As ``live.inside.frames`` has it: parts of lists are passed on as they are."""

MAX_RAW = 1 << 18
"""Bytes of tensors in one frame: an answer that waits for a larger one waits for a frame of it."""

MAX_NOISE = 1 << 16
"""Bytes that a host may print before MARK."""

_HEADER = struct.Struct("<II")


class ChannelError(Exception):
    """What came is no frame, or the other side has gone; one sentence."""


class Channel:
    """Takes both descriptors. Frames may be sent from several threads; one thread receives them."""

    def __init__(self, reading: int, writing: int) -> None:
        self._in = os.fdopen(reading, "rb", buffering=1 << 16)
        self._out = os.fdopen(writing, "wb", buffering=0)
        self._lock = Lock()
        self.received = 0
        """Bytes that have come."""

    def mark(self) -> None:
        """Say that frames follow. Raises ChannelError."""
        self._write(MARK)

    def await_mark(self) -> None:
        """Pass over what comes before MARK. Raises ChannelError."""
        seen = bytearray()
        while not seen.endswith(MARK):
            byte = self._read(1)
            if not byte:
                raise ChannelError(clean(seen.decode("utf-8", "replace").strip(), 200))
            seen += byte
            if len(seen) > MAX_NOISE + len(MARK):
                raise ChannelError("it prints something else without end")

    def send(self, message: bytes, raw: bytes | memoryview = b"") -> None:
        """Send one frame: JSON and raw bytes. Raises ChannelError."""
        if len(message) > MAX_TEXT or len(raw) > MAX_RAW:
            raise ChannelError("the message is too long to be sent")
        self._write(_HEADER.pack(len(message), len(raw)) + message + raw)

    def receive(self) -> tuple[bytes, bytes] | None:
        """JSON and raw bytes of the next frame; None if the other side has closed. Raises ChannelError."""
        head = self._read(_HEADER.size)
        if not head:
            return None
        if len(head) == _HEADER.size:
            lengths = _HEADER.unpack(head)
            if lengths[0] > MAX_TEXT or lengths[1] > MAX_RAW:
                raise ChannelError(f"a message of {sum(lengths):,} bytes was announced, which is refused")
            body = self._read(sum(lengths))
            if len(body) == sum(lengths):
                return body[: lengths[0]], body[lengths[0] :]
        raise ChannelError("the other side closed in the middle of a message")

    def _read(self, count: int) -> bytes:
        try:
            found = self._in.read(count)
        except (OSError, ValueError) as error:  # ValueError: it was closed here
            raise ChannelError(f"the other side does not answer: {error}") from error
        self.received += len(found)
        return found

    def _write(self, data: bytes) -> None:
        try:
            with self._lock:
                view = memoryview(data)
                while view:
                    view = view[self._out.write(view) :]
        except (OSError, ValueError) as error:
            raise ChannelError(f"the other side does not answer: {error}") from error

    def close_sending(self) -> None:
        """The other side sees the end; what it still says can be received."""
        try:
            self._out.close()
        except OSError:
            return  # it has gone

    def close(self) -> None:
        """Not while another thread receives: it would wait for that."""
        self.close_sending()
        self._in.close()
