"""Frames: how a viewer and the process of a model talk over a Unix socket.

A frame is two lengths of 4 bytes (little-endian), a JSON object of the first length, and raw bytes of the second. Both
lengths are bounded before anything is read, nothing is unpickled, and descriptors travel beside the first byte.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

MAX_TEXT = 16 << 20
MAX_RAW = 64 << 20
MAX_DESCRIPTORS = 4
_HEADER = struct.Struct("<II")


class FrameError(Exception):
    """What came is no frame, or the other side has gone; one sentence."""


class Frame(NamedTuple):
    """What came: a message, raw bytes, descriptors for the caller to close, and how many bytes it was in all."""

    message: dict[str, Any]
    raw: bytes
    descriptors: list[int]
    nbytes: int


def send_frame(to: socket.socket, message: Any, raw: bytes = b"", descriptors: Sequence[int] = ()) -> None:
    """Send one frame. Raises FrameError if it cannot be sent within the socket's timeout, or is too long."""
    text = json.dumps(message, ensure_ascii=True, allow_nan=True, separators=(",", ":")).encode("ascii")
    if len(text) > MAX_TEXT or len(raw) > MAX_RAW:
        raise FrameError("the message is too long to be sent")
    data = _HEADER.pack(len(text), len(raw)) + text + raw
    try:
        sent = 0
        if descriptors:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
            sent = to.sendmsg([data], rights)
        to.sendall(memoryview(data)[sent:])
    except OSError as error:
        raise FrameError(f"the other side does not answer: {error}") from error


def receive_frame(of: socket.socket) -> Frame | None:
    """The next frame; None if the other side has closed.

    The caller closes the descriptors. Raises FrameError, and then no descriptor stays open.
    """
    descriptors: list[int] = []
    try:
        head = _receive(of, _HEADER.size, descriptors)
        if not head:
            return None
        if len(head) < _HEADER.size:
            raise FrameError("the other side closed in the middle of a message")
        lengths = _HEADER.unpack(head)
        if lengths[0] > MAX_TEXT or lengths[1] > MAX_RAW:
            raise FrameError(f"a message of {lengths[0] + lengths[1]} bytes was announced, which is refused")
        body = _receive(of, sum(lengths), descriptors)
        if len(body) < sum(lengths):
            raise FrameError("the other side closed in the middle of a message")
        message = _parse(body[: lengths[0]])
    except FrameError:
        close_all(descriptors)
        raise
    except OSError as error:
        close_all(descriptors)
        raise FrameError(f"the other side does not answer: {error}") from error
    return Frame(message, body[lengths[0] :], descriptors, len(head) + len(body))


def _parse(text: bytes) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"what came is not JSON: {error}") from error
    if type(message) is not dict:
        raise FrameError("what came is no JSON object")
    return message


def _receive(of: socket.socket, count: int, descriptors: list[int]) -> bytes:
    """``count`` bytes, fewer only if the other side closes; descriptors that come along are added to the list."""
    parts = bytearray()
    space = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
    while len(parts) < count:
        data, ancillary, flags, _ = of.recvmsg(min(count - len(parts), 1 << 20), space)
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
                descriptors += numbers
        if len(descriptors) > MAX_DESCRIPTORS or flags & socket.MSG_CTRUNC:
            raise FrameError("more descriptors came than are allowed")
        if not data:
            break
        parts += data
    return bytes(parts)


def close_all(descriptors: list[int]) -> None:
    """Close descriptors that came with a frame."""
    while descriptors:
        with suppress(OSError):
            os.close(descriptors.pop())
