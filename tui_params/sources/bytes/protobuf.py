"""The fields of a protobuf message, read by hand: numbers, kinds and places, and nothing of what they hold.

Specification: protobuf.dev/programming-guides/encoding. A field is a varint of (number << 3 | kind) and its value: a
varint (kind 0), 8 bytes (1), a length and so many bytes (2), 4 bytes (5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

VARINT, WIDE, BYTES, NARROW = 0, 1, 2, 5

_LEAST_CHUNK, _MOST_CHUNK = 1 << 10, 1 << 16


class BadMessageError(Exception):
    """These bytes are no message."""


class Field(msgspec.Struct, frozen=True, gc=False):
    """One field: its number and kind, its value (of a varint), and the bytes ``start:stop`` of a longer value."""

    number: int
    kind: int
    value: int
    start: int
    stop: int


class Bytes:
    """Bytes at offsets, of which a chunk is kept: messages are read forwards, a few bytes at a time.

    A chunk behind the one before is larger than that; one behind a jump, over the values of a tensor, is small.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read = read
        self._start = 0
        self.chunk = b""
        self._wanted = _LEAST_CHUNK
        self.size = size

    def at(self, offset: int, count: int) -> bytes:
        """The bytes at an offset, fewer only at the end."""
        begin = self.place(offset, count)
        return self.chunk[begin : begin + count]

    def place(self, offset: int, count: int) -> int:
        """Where in ``chunk`` those bytes are, until the next call."""
        begin = offset - self._start
        if begin < 0 or begin + count > len(self.chunk):
            is_near = 0 <= begin <= len(self.chunk)
            self._wanted = min(4 * self._wanted, _MOST_CHUNK) if is_near else _LEAST_CHUNK
            self._start, begin = offset, 0
            self.chunk = self._read(offset, max(count, self._wanted))
        return begin


def varint(data: Bytes, at: int, stop: int) -> tuple[int, int]:
    """The number at a place, and the place after it. Raises BadMessageError."""
    first = at - data._start
    if at < stop and 0 <= first < len(data.chunk) and data.chunk[first] < 0x80:
        return data.chunk[first], at + 1
    raw = data.at(at, min(10, stop - at))
    value = 0
    for index, byte in enumerate(raw):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + index + 1
    raise BadMessageError


def fields(data: Bytes, start: int, stop: int) -> Iterator[Field]:
    """The fields of the message in the bytes ``start:stop``. Raises BadMessageError, at any step.

    One that claims more bytes than there are is the last: its ``stop`` is then beyond that of the message, and the
    error follows it.
    """
    while start < stop:
        key, at = varint(data, start, stop)
        number, kind = key >> 3, key & 7
        value, begin = 0, at
        if number == 0 or number >= 1 << 29:
            raise BadMessageError
        if kind == VARINT:
            value, end = varint(data, at, stop)
        elif kind == BYTES:
            value, begin = varint(data, at, stop)
            end = begin + value
        elif kind in (WIDE, NARROW):
            end = at + (8 if kind == WIDE else 4)
        else:
            raise BadMessageError
        yield Field(number, kind, value, begin, end)
        if end > stop:
            raise BadMessageError
        start = end
