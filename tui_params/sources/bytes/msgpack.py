"""The beginning of a msgpack document, as far as it takes to see whether it is a tree of arrays of flax.

Specification: github.com/msgpack/msgpack (spec.md). flax/serialization.py writes maps of names, and an array as an
extension of type 1.
"""

from __future__ import annotations

_MAPS = {0xDE: 2, 0xDF: 4}
_TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAYS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_ARRAYS = {0xD4, 0xD5, 0xD6, 0xD7, 0xD8}
_SCALARS = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
}  # fmt: skip
_ARRAY = 1


def has_array(head: bytes) -> bool:
    """Whether ``head`` begins with maps of names whose first value, apart from numbers, is an array of flax."""
    at = 0
    # A map, and then by turns a name and a value, which may be a map again.
    is_name = False
    while at < len(head):
        byte = head[at]
        if is_name:
            stop = _after_text(head, at)
            if stop is None:
                return False
            at = stop
        elif 0x80 < byte < 0x90 or byte in _MAPS:
            at += 1 + _MAPS.get(byte, 0)
        elif byte in _ARRAYS or byte in _FIXED_ARRAYS:
            return at > 0 and head[at + 1 + _ARRAYS.get(byte, 0) :][:1] == bytes([_ARRAY])
        elif at and (byte < 0x80 or byte >= 0xE0 or byte in _SCALARS):
            at += 1 + _SCALARS.get(byte, 0)
        else:
            return False
        is_name = not is_name
    return False


def _after_text(head: bytes, at: int) -> int | None:
    """The place after the text at ``at``; None if there is none that is a name."""
    byte = head[at]
    width = _TEXTS.get(byte, 0)
    if not width and not 0xA0 <= byte < 0xC0:
        return None
    length = int.from_bytes(head[at + 1 : at + 1 + width], "big") if width else byte - 0xA0
    raw = head[at + 1 + width : at + 1 + width + length]
    try:
        return at + 1 + width + length if raw.decode().isprintable() else None
    except UnicodeDecodeError:
        return None
