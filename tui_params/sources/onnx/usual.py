"""Initialisers of the usual kind, read one behind the other: models have thousands of them.

Usual are shape, type, name and raw bytes in this order, as protobuf writes them, and nothing else. What is said of them
is what ``read_tensor`` and the lister would say, which take several times as long.
"""

from __future__ import annotations

import re
from array import array
from functools import lru_cache
from math import prod

import msgspec

from tui_params.core.tensor_columns import Form
from tui_params.sources.bytes.protobuf import Bytes
from tui_params.sources.onnx.tensor import type_of

_NBYTES = 256
"""Bytes in which the description lies, with a name of up to 127 bytes."""

_MOST_NDIM = 8

_TOLD_APART = 10
"""Bytes at the start that differ between nearly all descriptions which differ: sizes, and the first dimensions."""

_VARINT = rb"[\x80-\xff]{0,8}[\0-\x7f]"
_DIMS = rb"(?:\x08[\x80-\xff]{0,7}[\0-\x7f]){0,8}"
_SPLIT = re.compile(rb"\x2a(" + _VARINT + rb")(" + _DIMS + rb")\x10([\0-\x7f])", re.DOTALL)
"""An initialiser of a graph (field 5), its bytes; dims (1), data_type (2). A key of one byte is before each."""


def _pattern(name: bytes) -> re.Pattern[bytes]:
    """All of that, and name (8) and raw_data (9) behind it."""
    head = rb"\x2a" + _VARINT + _DIMS + rb"\x10[\0-\x7f]"
    return re.compile(rb"(" + head + rb")\x42([\0-\x7f])(" + name + rb")\x4a(" + _VARINT + rb")", re.DOTALL)


_USUAL = _pattern(rb".{0,127}?")
"""The name goes up to the first J, which is the key of raw_data: nearly always that one."""


@lru_cache(128)
def _with_name_of(nbytes: int) -> re.Pattern[bytes]:
    return _pattern(rb".{%d}" % nbytes)


_DIM = re.compile(rb"\x08([\x80-\xff]*[\0-\x7f])", re.DOTALL)


class Run(msgspec.Struct):
    """Tensors that follow one another: their names, their places in ``Usual.forms``, and their first bytes."""

    names: list[str]
    rows: array[int]
    offsets: array[int]


class _Likeness(msgspec.Struct, frozen=True):
    """A description that many share: the bytes before the name, how many there are up to its end, those behind it.

    ``row`` is the place of the form, ``first`` are the bytes before the values, ``nbytes`` those of the whole.
    """

    before: bytes
    name_end: int
    behind: bytes
    row: int
    first: int
    nbytes: int


class Usual:
    """A reader of such runs in one file."""

    def __init__(self, data: Bytes, file: str) -> None:
        self.forms: list[Form] = []
        self._data = data
        self._file = file
        self._known: dict[tuple[bytes, bytes, bytes], _Likeness | None] = {}
        self._expected: dict[bytes, _Likeness] = {}

    def run(self, start: int, stop: int, most: int) -> tuple[Run, int]:
        """The initialisers from ``start`` on, up to one that is not usual or not whole, and where they end."""
        names: list[str] = []
        rows, offsets = array("i"), array("q")
        data, place, expected = self._data, self._data.place, self._expected
        while start < stop and len(names) < most:
            count = min(_NBYTES, stop - start)
            at = place(start, count)
            chunk = data.chunk
            # Comparing with one that was seen takes a fifth of the time of the pattern.
            like = expected.get(chunk[at : at + _TOLD_APART])
            if (
                like is None
                or not chunk.startswith(like.before, at)
                or not chunk.startswith(like.behind, at + like.name_end)
            ):
                like = self._matched(chunk, at, at + count)
                if like is None:
                    break
            if start + like.nbytes > stop:
                break
            try:
                names.append(chunk[at + len(like.before) : at + like.name_end].decode())
            except UnicodeDecodeError:
                break
            rows.append(like.row)
            offsets.append(start + like.first)
            start += like.nbytes
        return Run(names, rows, offsets), start

    def _matched(self, chunk: bytes, at: int, end: int) -> _Likeness | None:
        """What is told from the bytes ``at:end`` alone; None if that is not usual."""
        found = _USUAL.match(chunk, at, end)
        if found is not None and len(found[3]) != found[2][0]:
            found = _with_name_of(found[2][0]).match(chunk, at, end)
        if found is None:
            return None
        head, width, _, length = found.groups()
        key = head, width, length
        if key not in self._known:
            self._known[key] = self._told(head, width, length)
        like = self._known[key]
        if like is not None:
            self._expected[chunk[at : at + _TOLD_APART]] = like
        return like

    def _told(self, head: bytes, width: bytes, length: bytes) -> _Likeness | None:
        match = _SPLIT.fullmatch(head)
        if match is None:
            return None
        size, shape, code = match.groups()
        before, behind, nbytes = head + b"\x42" + width, b"\x4a" + length, _number(length)
        name_end = len(before) + width[0]
        first = name_end + len(behind)
        if 1 + len(size) + _number(size) != first + nbytes:
            return None
        dtype, dims = type_of(code[0]), tuple([_number(dim) for dim in _DIM.findall(shape)])
        numel = prod(dims)
        if not dtype.is_sized or not numel or dtype.nbytes(numel) != nbytes or len(dims) > _MOST_NDIM:
            return None
        form = Form(dims, dtype, numel, nbytes, self._file)
        if form not in self.forms[-1:]:
            self.forms.append(form)
        return _Likeness(before, name_end, behind, len(self.forms) - 1, first, first + nbytes)


def _number(raw: bytes) -> int:
    """The number of a varint whose bytes are known."""
    value = 0
    for byte in reversed(raw):
        value = value << 7 | byte & 0x7F
    return value
