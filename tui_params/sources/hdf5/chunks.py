"""Puts a chunked dataset together of the chunks in the file.

Chunks lie anywhere, each passed through the filters of the dataset (shuffle, deflate, Fletcher-32): HDF5 File Format
Specification 3.0, sections III.A.1 and IV.A.2.l. Parts that were never written have the fill value.
"""

from __future__ import annotations

import zlib
from math import prod
from typing import TYPE_CHECKING

import msgspec

from tui_params.errors import ReadError
from tui_params.sources.bytes.local import DataFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
KNOWN = frozenset({DEFLATE, SHUFFLE, FLETCHER32})
MAX_NBYTES = 256 << 20
"""Bytes of the largest dataset that is put together: it is held in memory while it is read."""


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Where a chunk stands in the dataset, which filters it was not passed through, and where it lies in the file."""

    place: tuple[int, ...]
    mask: int
    offset: int
    size: int


class Chunked(msgspec.Struct, frozen=True):
    """A dataset in chunks; ``offset`` is added to those of the chunks. ``filters`` are numbers, in order of writing."""

    shape: tuple[int, ...]
    itemsize: int
    chunk: tuple[int, ...]
    chunks: tuple[Chunk, ...]
    filters: tuple[int, ...]
    fill: bytes
    offset: int


def assemble(file: DataFile, what: Chunked) -> bytearray:
    """The bytes of all elements, row-major. Raises ReadError."""
    import numpy as np

    item = np.dtype((np.void, what.itemsize))
    whole = bytearray((what.fill or bytes(what.itemsize)) * prod(what.shape))
    values = np.frombuffer(whole, item).reshape(what.shape)
    nbytes = prod(what.chunk) * what.itemsize
    with file.reading() as fill:
        for chunk in what.chunks:
            if len(chunk.place) != len(what.shape) or any(
                at >= size for at, size in zip(chunk.place, what.shape, strict=True)
            ):
                raise ReadError("one of its chunks lies outside it: the file is damaged")
            if chunk.size > 2 * nbytes + 1024:
                raise ReadError("one of its chunks is larger than it can be: the file is damaged")
            raw = bytearray(chunk.size)
            fill(what.offset + chunk.offset, memoryview(raw))
            part = np.frombuffer(_unfilter(raw, what, chunk.mask, nbytes), item).reshape(what.chunk)
            _put(values, part, chunk.place)
    return whole


def _put(values: NDArray[np.void], part: NDArray[np.void], place: tuple[int, ...]) -> None:
    """A chunk at the edge goes beyond the dataset."""
    ends = [min(at + size, most) for at, size, most in zip(place, part.shape, values.shape, strict=True)]
    inside = tuple([slice(end - at) for at, end in zip(place, ends, strict=True)])
    values[tuple([slice(at, end) for at, end in zip(place, ends, strict=True)])] = part[inside]


def _unfilter(raw: bytearray, what: Chunked, mask: int, nbytes: int) -> bytes | bytearray:
    """The bytes of a chunk before its filters. Raises ReadError."""
    found: bytes | bytearray = raw
    for number, kind in reversed(list(enumerate(what.filters))):
        if mask >> number & 1:
            continue
        if kind == FLETCHER32:
            found = _checked(found)
        elif kind == DEFLATE:
            found = _inflated(found, nbytes)
        else:
            found = _unshuffled(found, what.itemsize)
    if len(found) != nbytes:
        raise ReadError(f"one of its chunks has {len(found):,} of {nbytes:,} bytes: the file is damaged")
    return found


def _inflated(packed: bytes | bytearray, nbytes: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(packed, nbytes + 1)
    except zlib.error:
        raise ReadError("one of its chunks cannot be unpacked: the file is damaged") from None
    if not unpacker.eof and len(found) <= nbytes:
        raise ReadError("one of its chunks ends before its compressed data do: the file is damaged")
    return found


def _unshuffled(found: bytes | bytearray, itemsize: int) -> bytes:
    """HDF5 puts the first bytes of all elements first, then the second ones; what is left over stays behind them."""
    import numpy as np

    count = len(found) // itemsize
    body = np.frombuffer(found, np.uint8, count * itemsize).reshape(itemsize, count)
    return body.T.tobytes() + bytes(found[count * itemsize :])


def _checked(found: bytes | bytearray) -> bytes | bytearray:
    """The bytes before the checksum at their end. Raises ReadError if they do not match it."""
    if len(found) < 4:
        raise ReadError("one of its chunks has no checksum: the file is damaged")
    body, stored = found[:-4], int.from_bytes(found[-4:], "little")
    if fletcher32(body) != stored:
        raise ReadError("one of its chunks does not match its checksum (Fletcher-32): the file is damaged")
    return body


def fletcher32(data: bytes | bytearray) -> int:
    """The checksum of HDF5 (H5checksum.c): of big-endian words of 16 bits, an odd last byte being the upper half."""
    import numpy as np

    even = data if len(data) % 2 == 0 else bytes(data) + b"\0"
    words = np.frombuffer(even, ">u2").astype(np.uint64)
    # The second sum counts each word as often as there are words from it on.
    count = words.size
    low = int(words.sum()) if count else 0
    step = 1 << 20
    high = 0
    for start in range(0, count, step):
        part = words[start : start + step]
        weights = np.arange(count - start, count - start - part.size, -1, dtype=np.uint64) % np.uint64(65535)
        high += int((part * weights).sum())
    return _folded(high) << 16 | _folded(low)


def _folded(total: int) -> int:
    """The sum in ones' complement of 16 bits; only a sum of nothing is 0."""
    rest = total % 65535
    return 65535 if total and not rest else rest
