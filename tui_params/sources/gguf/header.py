"""The header of a GGUF file: metadata, and the list of tensors.

ggml/include/gguf.h and docs/gguf.md of ggml: the letters GGUF, a version (uint32), the numbers of tensors and of
metadata (uint64 each), the metadata, the tensors; then, from the next multiple of the alignment on, the values. Of
arrays only the first entries are kept: a tokenizer has 150,000 texts, and twice as many numbers.
"""

from __future__ import annotations

from struct import Struct, unpack_from
from typing import Any

import msgspec

from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.sources.bytes.local import Descriptor, read_bytes

MAX_TEXT = 20_000
"""Characters of a text that are kept: chat templates are long."""

MAX_NAME_NBYTES = 1 << 16
"""The longest name that the format allows."""

MAX_DEPTH = 4
"""Arrays in arrays; llama.cpp takes none."""

_ENTRIES = 8
"""Entries of an array that are shown."""

_ENTRY_TEXT = 40
_MAX_NDIM = 1000
_CHUNK = 1 << 20

_NUMBERS = {
    0: Struct("<B"), 1: Struct("<b"), 2: Struct("<H"), 3: Struct("<h"), 4: Struct("<I"), 5: Struct("<i"),
    6: Struct("<f"), 7: Struct("<?"), 10: Struct("<Q"), 11: Struct("<q"), 12: Struct("<d"),
}  # fmt: skip
_NAMES = {
    0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 6: "f32", 7: "bool", 8: "text", 9: "array", 10: "u64",
    11: "i64", 12: "f64",
}  # fmt: skip
_TEXT, _ARRAY = 8, 9


class EndsEarlyError(OpenError):
    """The file ends inside its header."""


class Entry(msgspec.Struct, frozen=True):
    """A tensor as the header describes it; ``shape`` is in the order of torch, ``offset`` counts from the values."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


class Header(msgspec.Struct):
    """What has been read of a header. ``end`` is its length in bytes; None if the file or the sense ends in it.

    ``repeated`` are keys of the metadata that occur twice, ``odd`` names and metadata that are no UTF-8 text;
    ``alignment`` is the type of the metadata ``general.alignment``; ``fault`` says why there is no more.
    """

    version: int
    tensors: list[Entry]
    metadata: dict[str, Any]
    repeated: list[str]
    odd: list[str]
    alignment: str | None = None
    end: int | None = None
    fault: str | None = None


class _Cursor:
    """Reads a file forwards, a chunk at a time."""

    def __init__(self, descriptor: Descriptor, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._start = 0
        self._chunk = b""
        self.at = 0
        self.is_odd = False
        """Whether a text since this was last looked at is no UTF-8."""

    @property
    def left(self) -> int:
        return self._size - self.at

    def take(self, count: int) -> bytes:
        """The next bytes. Raises EndsEarlyError."""
        if count > self.left:
            raise EndsEarlyError(f"the file ends inside its header, at byte {self._size:,}: it is truncated")
        begin = self.at - self._start
        if begin < 0 or begin + count > len(self._chunk):
            self._start, begin = self.at, 0
            self._chunk = read_bytes(self._descriptor, self.at, max(count, _CHUNK))
            if len(self._chunk) < count:
                raise EndsEarlyError("the file became shorter while its header was read")
        self.at += count
        return self._chunk[begin : begin + count]

    def skip(self, count: int) -> None:
        if count > self.left:
            raise EndsEarlyError(f"the file ends inside its header, at byte {self._size:,}: it is truncated")
        self.at += count

    def number(self, kind: int) -> Any:
        form = _NUMBERS[kind]
        return form.unpack(self.take(form.size))[0]

    def text(self, most: int) -> str:
        """A text, of which at most so many bytes are kept."""
        count = self.number(10)
        kept = self.take(min(count, most))
        self.skip(count - len(kept))
        return self.decoded(kept, is_whole=len(kept) == count)

    def decoded(self, raw: bytes, *, is_whole: bool = True) -> str:
        """The bytes of a text; one that was cut may end inside a character."""
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            self.is_odd = self.is_odd or is_whole or error.start < len(raw) - 3
            return raw.decode("utf-8", "backslashreplace")

    def skip_texts(self, count: int) -> None:
        """Pass over so many texts: their lengths must be read one by one."""
        if count * 8 > self.left:
            raise EndsEarlyError(
                f"an array claims {count:,} texts, more than the file has room for: it is cut short or damaged"
            )
        while count:
            self.take(8)
            self.at -= 8
            chunk, place = self._chunk, self.at - self._start
            last = len(chunk) - 8
            # The loop that decides how long a file with a tokenizer takes.
            while count and place <= last:
                place += 8 + int.from_bytes(chunk[place : place + 8], "little")
                count -= 1
            self.skip(self._start + place - self.at)


def read_header(descriptor: Descriptor, size: int, head: bytes) -> Header:
    """The header of a file of ``size`` bytes that begins with ``head``. Raises OpenError, OSError.

    Of a damaged one, what comes before the damage.
    """
    if len(head) < 24:
        raise OpenError("it ends inside its header: it is truncated")
    version, tensors, pairs = unpack_from("<IQQ", head, 4)
    if version & 0xFFFF == 0:
        raise OpenError("it is in big-endian order, which is not read here: convert it on the machine that needs it")
    if version == 1:
        raise OpenError(
            "it has version 1 of the format, which llama.cpp no longer reads either: convert the model again"
        )
    if version not in (2, 3):
        raise OpenError(f"it has version {version:,} of the format, and 2 and 3 are known")
    cursor = _Cursor(descriptor, size)
    cursor.skip(24)
    header = Header(version, [], {}, [], [])
    try:
        # A key has 8 bytes of length, 4 of type and one of value; a tensor 8, 4, 4 and 8.
        if pairs * 13 > size or tensors * 24 > size:
            claims = f"{tensors:,} tensors and {pairs:,} metadata"
            raise OpenError(f"its header claims {claims}, more than its {size:,} bytes can hold: it is damaged")
        for _ in range(pairs):
            _read_pair(cursor, header)
        for _ in range(tensors):
            entry = _read_tensor(cursor)
            header.tensors.append(entry)
            if cursor.is_odd:
                cursor.is_odd = False
                header.odd.append(f"the name of tensor {clean(entry.name, 60)}")
        header.end = cursor.at
    except OpenError as error:
        header.fault = str(error)
    return header


def _read_pair(cursor: _Cursor, header: Header) -> None:
    key = _name(cursor)
    kind = cursor.number(4)
    value = _value(cursor, kind, 0)
    if cursor.is_odd:
        cursor.is_odd = False
        header.odd.append(f"{clean(key, 60)} in the metadata")
    if key == "general.alignment":
        header.alignment = _NAMES[kind]
    if key in header.metadata:
        header.repeated.append(key)
    header.metadata[key] = value


def _name(cursor: _Cursor) -> str:
    count = cursor.number(10)
    if count > MAX_NAME_NBYTES:
        raise OpenError(f"a name in its header claims {count:,} bytes, more than the format allows: it is damaged")
    return cursor.decoded(cursor.take(count))


def _value(cursor: _Cursor, kind: int, depth: int) -> Any:
    """A value of the metadata: a number, a text, or a text that describes an array."""
    if kind in _NUMBERS:
        return cursor.number(kind)
    if kind == _TEXT:
        return cursor.text(MAX_TEXT)
    if kind == _ARRAY and depth < MAX_DEPTH:
        return _array(cursor, depth)
    if kind == _ARRAY:
        raise OpenError(f"its header has arrays within arrays, more than {MAX_DEPTH} deep: it is damaged")
    raise OpenError(f"its header has metadata of the unknown type {kind:,}: it is damaged")


def _array(cursor: _Cursor, depth: int) -> str:
    kind, count = cursor.number(4), cursor.number(10)
    shown: list[str] = []
    if kind not in _NAMES:
        raise OpenError(f"its header has an array of the unknown type {kind:,}: it is damaged")
    if kind in _NUMBERS and count * _NUMBERS[kind].size > cursor.left:
        raise EndsEarlyError(
            f"an array claims {count:,} numbers, more than the file has room for: it is cut short or damaged"
        )
    first = min(count, _ENTRIES)
    for _ in range(first):
        entry = cursor.text(4 * _ENTRY_TEXT) if kind == _TEXT else _value(cursor, kind, depth + 1)
        shown.append(clean(repr(entry) if kind == _TEXT else show(entry), _ENTRY_TEXT))
    if kind in _NUMBERS:
        cursor.skip((count - first) * _NUMBERS[kind].size)
    elif kind == _TEXT:
        cursor.skip_texts(count - first)
    else:
        _skip_arrays(cursor, count - first, depth + 1)
    more = ", …" if count > first else ""
    return f"{count:,} x {_NAMES[kind]}: {', '.join(shown)}{more}" if count else f"0 x {_NAMES[kind]}"


def _skip_arrays(cursor: _Cursor, count: int, depth: int) -> None:
    if count * 12 > cursor.left:
        raise EndsEarlyError(
            f"an array claims {count:,} arrays, more than the file has room for: it is cut short or damaged"
        )
    for _ in range(count):
        _value(cursor, _ARRAY, depth)


def _read_tensor(cursor: _Cursor) -> Entry:
    name = _name(cursor)
    ndim = cursor.number(4)
    if ndim > _MAX_NDIM:
        raise OpenError(f"{clean(name, 60)} claims {ndim:,} dimensions: its header is damaged")
    raw = cursor.take(8 * ndim + 12)
    *dims, kind, offset = unpack_from(f"<{ndim}QIQ", raw)
    # The first is the one whose elements lie side by side.
    return Entry(name, tuple(reversed(dims)), kind, offset)


def show(value: Any) -> str:
    """A value of the metadata as text."""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is float:
        # Most are float32, whose digits beyond the seventh are those of the conversion.
        return f"{value:.7g}"
    return str(value)
