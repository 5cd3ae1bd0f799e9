"""GGUF files byte by byte, with whatever is wrong in them on purpose."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = tuple[str, Sequence[int], int, bytes]
"""Name, shape as torch has it, number of the type, bytes."""

_LETTERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind: int, content: Any) -> bytes:
    """One value of the metadata without its type; that of an array is (type of its entries, list)."""
    if kind == 8:
        return text(content)
    if kind == 9:
        inner, items = content
        return struct.pack("<IQ", inner, len(items)) + b"".join(value(inner, item) for item in items)
    return struct.pack("<" + _LETTERS[kind], content)


def gguf_bytes(
    tensors: Sequence[Tensor],
    metadata: Mapping[str, tuple[int, Any]] | None = None,
    *,
    version: int = 3,
    alignment: int = 32,
    offsets: Sequence[int] | None = None,
    counts: tuple[int, int] | None = None,
) -> bytes:
    """A file; ``offsets`` and ``counts`` (tensors, metadata) are written instead of the true ones."""
    pairs = dict(metadata or {})
    if alignment != 32:
        pairs["general.alignment"] = (4, alignment)
    head = b"GGUF" + struct.pack("<IQQ", version, *(counts or (len(tensors), len(pairs))))
    for key, (kind, content) in pairs.items():
        head += text(key) + struct.pack("<I", kind) + value(kind, content)
    data = b""
    for number, (name, shape, kind, raw) in enumerate(tensors):
        offset = len(data) if offsets is None else offsets[number]
        head += text(name) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}QIQ", *reversed(shape), kind, offset)
        data += raw + bytes(-len(raw) % alignment)
    return head + bytes(-len(head) % alignment) + data


def plain(name: str, array: NDArray[Any]) -> Tensor:
    """A float32, float16 or integer array."""
    kinds = {"f4": 0, "f2": 1, "i1": 24, "i2": 25, "i4": 26, "i8": 27, "f8": 28}
    return name, array.shape, kinds[array.dtype.str[1:]], array.tobytes()


def blocks(name: str, shape: Sequence[int], kind: int, sizes: tuple[int, int], seed: int = 0) -> Tensor:
    """Random blocks of ``sizes`` (elements, bytes), whose float16 scales are small."""
    elements, nbytes = sizes
    raw = np.random.default_rng(seed).integers(0, 256, (prod(shape) // elements, nbytes), np.uint8)
    raw[:, 1:4:2] &= 0xBB
    return name, shape, kind, raw.tobytes()
