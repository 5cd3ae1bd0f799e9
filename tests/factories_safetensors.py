"""Builders of safetensors files: honest ones by hand, so that no field is out of reach, and broken ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Bits of one element of every type of the format, from its specification and not from our table."""


def entry(code: str, shape: tuple[int, ...], begin: int, end: int | None = None) -> dict[str, Any]:
    """One entry of a header; ``end`` follows from the shape unless it is to be wrong."""
    if end is None:
        end = begin + prod(shape) * BITS[code] // 8
    return {"dtype": code, "shape": list(shape), "data_offsets": [begin, end]}


def file_bytes(header: Mapping[str, Any] | bytes, data: bytes, *, announced: int | None = None) -> bytes:
    """A file of this header (JSON text, or what becomes it) and these data."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return (len(text) if announced is None else announced).to_bytes(8, "little") + text + data


def small_file(names: tuple[str, ...] = ("a", "b", "c")) -> bytes:
    """Three tensors of 24, 16 and 8 bytes, back to back, with the bytes 0, 1, 2, ... for data."""
    a, b, c = names
    header = {
        "__metadata__": {"format": "pt"},
        a: entry("F32", (2, 3), 0),
        b: entry("BF16", (8,), 24),
        c: entry("I64", (), 40),
    }
    return file_bytes(header, bytes(range(48)))


def write_index(
    folder: Path, weight_map: Mapping[str, str], name: str = "model.safetensors.index.json", **more: Any
) -> Path:
    """An index of shards; ``more`` becomes its metadata."""
    path = folder / name
    path.write_text(json.dumps({"metadata": more, "weight_map": dict(weight_map)}))
    return path
