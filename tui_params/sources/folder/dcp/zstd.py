"""Streams of zstd (RFC 8878), unpacked by a library that need not be there: Python's own from 3.14 on, or zstandard."""

from __future__ import annotations

from importlib import import_module
from io import BytesIO
from typing import Any

from tui_params.errors import ReadError

NEEDED = "it is compressed with zstd: pip install 'tui-params[zstd]' to read it"


def unpack(raw: bytes, most: int, what: str) -> bytes:
    """What ``raw`` unpacks to, of at most ``most`` bytes. ``what`` is what messages call it. Raises ReadError.

    The frames that torch writes do not say how long their content is, so no more than asked for is ever unpacked.
    """
    reader, failures = _open(raw)
    if reader is None:
        raise ReadError(f"{what} cannot be read: {NEEDED}")
    pieces = []
    left = most + 1
    try:
        while left > 0 and (piece := reader.read(left)):
            pieces.append(piece)
            left -= len(piece)
    except failures:
        raise ReadError(f"{what} cannot be unpacked: its compressed bytes are damaged or cut off") from None
    if left <= 0:
        raise ReadError(f"{what} unpacks to more than {most:,} bytes, more than it can have: it is refused")
    return b"".join(pieces)


def _open(raw: bytes) -> tuple[Any, tuple[type[BaseException], ...]]:
    """A stream of what ``raw`` unpacks to, or None; and the errors that reading it raises for bad bytes."""
    for name in ("compression.zstd", "zstandard"):
        try:
            module: Any = import_module(name)
        except ImportError:
            continue
        failures = (module.ZstdError, EOFError, MemoryError, OSError, ValueError)
        if name == "zstandard":
            return module.ZstdDecompressor().stream_reader(raw), failures
        return module.ZstdFile(BytesIO(raw)), failures
    return None, ()
