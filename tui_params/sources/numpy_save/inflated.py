"""A deflated member of a zip: unpacked whole into memory when it is needed, and checked."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import msgspec

from tui_params.core.crc32 import crc32
from tui_params.core.text import clean
from tui_params.errors import ReadError
from tui_params.sources.bytes.local import DataFile, read_blocks

MAX_INFLATED_NBYTES = 256 << 20
"""Bytes of the largest member that is unpacked: it is held in memory while it is read."""

_STEP = 1 << 20


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A deflated member: where its compressed bytes lie in the file, and how long and of what CRC-32 it is unpacked."""

    name: str
    begin: int
    end: int
    size: int
    crc: int


def inflate(file: DataFile, packed: Packed, most: int | None = None) -> bytearray:
    """The first ``most`` bytes of a member, or all of them, compared with its length and CRC-32. Raises ReadError."""
    wanted = packed.size if most is None else min(most, packed.size)
    name = clean(packed.name, 120)
    found = bytearray()
    crc = 0
    for piece in _unpack(file, packed, name):
        # One byte more than announced is noticed and never kept.
        if len(found) + len(piece) > packed.size:
            raise ReadError(f"{name} unpacks to more than the {packed.size:,} bytes that it claims: the zip is damaged")
        found += piece
        crc = crc32(piece, crc)
        if most is not None and len(found) >= wanted:
            return found[:wanted]
    if len(found) != packed.size:
        raise ReadError(
            f"{name} unpacks to {len(found):,} of the {packed.size:,} bytes that it claims: the zip is damaged"
        )
    if crc != packed.crc:
        raise ReadError(f"{name} does not match its checksum (CRC-32): the zip is damaged")
    return found


def _unpack(file: DataFile, packed: Packed, name: str) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(-15)
    try:
        for block in read_blocks(file, packed.begin, packed.end):
            left: bytes | memoryview = block
            while left and not unpacker.eof:
                piece = unpacker.decompress(left, _STEP)
                left = unpacker.unconsumed_tail
                yield piece
        while not unpacker.eof and (piece := unpacker.decompress(b"", _STEP)):
            yield piece
    except zlib.error:
        raise ReadError(f"{name} cannot be unpacked: its compressed data are damaged") from None
