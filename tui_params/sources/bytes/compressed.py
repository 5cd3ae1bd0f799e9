"""Pickles that were compressed whole, as joblib does with ``compress``: recognised, and unpacked within a limit."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from tui_params.core.text import size
from tui_params.errors import OpenError
from tui_params.sources.bytes.local import Descriptor, read_bytes


def _lz4() -> Any:
    return import_module("lz4.frame").LZ4FrameDecompressor()


# joblib/compressor.py
_OPENERS: tuple[tuple[tuple[bytes, ...], str, Callable[[], Any]], ...] = (
    ((b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), "zlib", zlib.decompressobj),
    ((b"\x1f\x8b",), "gzip", lambda: zlib.decompressobj(31)),
    ((b"BZh",), "bzip2", bz2.BZ2Decompressor),
    ((b"\xfd7zXZ\x00",), "xz", lambda: lzma.LZMADecompressor(memlimit=_MAX_TABLES)),
    # Python has no lz4: where its package is not installed, nothing is recognised, and the file is named.
    ((b"\x04\x22\x4d\x18",), "lz4", _lz4),
    ((b"\x5d\x00\x00",), "lzma", lambda: lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=_MAX_TABLES)),
)
_MAX_TABLES = 256 << 20
_STEP = 1 << 20
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def compression_of(head: bytes) -> str | None:
    """How the pickle was compressed whose file begins with ``head``; None if it is no compressed pickle."""
    for starts, name, opener in _OPENERS:
        if head.startswith(starts):
            try:
                begin = opener().decompress(head, 2)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, MemoryError, ImportError, RuntimeError):
                return None
            return name if begin in _PICKLES else None
    return None


def packing_of(head: bytes) -> str | None:
    """By what a file seems to be compressed that begins with ``head``, whatever it holds."""
    return next((name for starts, name, _ in _OPENERS if head.startswith(starts)), None)


def unpack(descriptor: Descriptor, nbytes: int, most: int) -> bytes:
    """All that a compressed file of ``nbytes`` bytes holds. Raises OpenError if it is damaged, or holds too much."""
    head = read_bytes(descriptor, 0, 8)
    _, name, opener = next(entry for entry in _OPENERS if head.startswith(entry[0]))
    unpacker = opener()
    pieces: list[bytes] = []
    have = 0
    try:
        for piece in _pieces(descriptor, nbytes, unpacker):
            have += len(piece)
            if have > most:
                raise OpenError(f"it is compressed with {name} and unpacks to more than {size(most)}: it is refused")
            pieces.append(piece)
    except (zlib.error, lzma.LZMAError, EOFError, ValueError, MemoryError, RuntimeError):
        raise OpenError(f"it is compressed with {name} and cannot be unpacked: it is damaged") from None
    except OSError as error:
        if error.errno is not None:
            raise
        # bz2 has no error of its own.
        raise OpenError(f"it is compressed with {name} and cannot be unpacked: it is damaged") from None
    if not unpacker.eof:
        raise OpenError(f"it is compressed with {name} and ends too early: it is truncated")
    return b"".join(pieces)


def _pieces(descriptor: Descriptor, nbytes: int, unpacker: Any) -> Iterator[bytes]:
    for begin in range(0, nbytes, _STEP):
        yield unpacker.decompress(read_bytes(descriptor, begin, _STEP), _STEP)
        while not unpacker.eof and _has_more(unpacker):
            yield unpacker.decompress(getattr(unpacker, "unconsumed_tail", b""), _STEP)
        if unpacker.eof:
            return
    while not unpacker.eof and (piece := unpacker.decompress(b"", _STEP)):
        yield piece


def _has_more(unpacker: Any) -> bool:
    """Whether more comes of what was put in: zlib gives the rest back, the others keep it."""
    return bool(unpacker.unconsumed_tail) if hasattr(unpacker, "unconsumed_tail") else not unpacker.needs_input
