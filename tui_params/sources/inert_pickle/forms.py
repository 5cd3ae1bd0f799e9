"""Forms: what Python's own codecs and containers take besides what pickle itself writes.

Nobody pickles so, but a plain unpickler makes a value of it: it is a call that was not imitated, and no damage.
"""

from __future__ import annotations

import re
from encodings.aliases import aliases
from typing import Any

from tui_params.sources.inert_pickle.values import ByteArray, Encoded, Obj, SetValue, Text

_WITHOUT_ALIAS = """
    charmap cp1006 cp720 cp737 cp856 cp874 cp875 idna koi8_t koi8_u mac_arabic mac_croatian mac_farsi mac_romanian
    palmos punycode raw_unicode_escape unicode_escape utf_8_sig
"""
_CODECS = frozenset([*aliases, *aliases.values(), *_WITHOUT_ALIAS.split()])
"""The codecs of the standard library: docs.python.org/3/library/codecs.html, "Standard Encodings"."""

_PLAIN_LIST = "latin_1 latin1 iso_8859_1 utf8 utf_8 ascii utf_16 utf_16_le utf_32 raw_unicode_escape"
_PLAIN = frozenset(_PLAIN_LIST.split())
_OF_BYTES = frozenset({"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "uu_codec", "zlib_codec"})
_NO_WORD = re.compile(r"[^a-z0-9.]+")

_ITERABLE = frozenset({str, bytes, Encoded, list, tuple, dict, SetValue, ByteArray, Obj, Text})
_OF_PAIRS = frozenset({list, tuple, dict, Obj})
_OF_NUMBERS = frozenset({int, list, tuple, dict, SetValue, ByteArray, Obj, Text})
_MOST_BYTES = 1 << 31
_CONTAINERS: dict[str, tuple[frozenset[type], int]] = {
    "builtins.set": (_ITERABLE, 1),
    "builtins.frozenset": (_ITERABLE, 1),
    "builtins.list": (_ITERABLE, 1),
    "builtins.tuple": (_ITERABLE, 1),
    "builtins.dict": (_OF_PAIRS, 1),
    "builtins.bytes": (_OF_NUMBERS, 1),
    "collections.OrderedDict": (_OF_PAIRS, 1),
    "collections.Counter": (_ITERABLE, 1),
    "collections.deque": (_ITERABLE, 2),
}
"""The types of the first argument that each may take, as the machine holds them, and the most arguments."""


_NO_ITERABLE = frozenset({type(None), bool, int, float})


def _may_be_pair(item: Any) -> bool:
    """Whether a dict may take a key and a value from it."""
    kind = type(item)
    return kind not in _NO_ITERABLE and (kind not in (str, bytes, list, tuple) or len(item) == 2)


def _codec(args: Any) -> str | None:
    """The codec of a call of ``_codecs.encode`` that Python can carry out; None if it cannot."""
    if type(args) is not tuple or not 1 <= len(args) <= 3 or any(type(arg) is not str for arg in args[1:]):
        return None
    name = _NO_WORD.sub("_", args[1].lower()).strip("_") if len(args) > 1 else "utf_8"
    codec = aliases.get(name, name)
    if name not in _CODECS:
        return None
    takes = (bytes, Encoded, ByteArray, Obj) if codec in _OF_BYTES else (str, Obj)
    return codec if type(args[0]) in takes else None


def transforms(args: Any) -> bool:
    """Whether a call of ``_codecs.encode`` runs a codec that no pickler writes: rot13, hex, zlib."""
    codec = _codec(args)
    return codec is not None and codec not in _PLAIN


def may_take(name: str, args: tuple[Any, ...]) -> bool:
    """Whether the constructor of that full name may make something of these arguments, which are not imitated."""
    if name == "_codecs.encode":
        return _codec(args) is not None
    if name == "builtins.bytes" and len(args) == 2:
        return type(args[0]) is str and _codec(args) is not None
    types, most = _CONTAINERS.get(name, (frozenset(), 0))
    if not 1 <= len(args) <= most or type(args[0]) not in types:
        return False
    if type(args[0]) is int:
        return 0 <= args[0] < _MOST_BYTES
    if types is _OF_PAIRS and type(args[0]) in (list, tuple) and not all(map(_may_be_pair, args[0])):
        return False
    return len(args) == 1 or args[1] is None or (type(args[1]) is int and args[1] >= 0)
