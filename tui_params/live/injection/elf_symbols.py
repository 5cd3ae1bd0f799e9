"""The addresses of a library's exported functions, read from its ELF file (System V ABI, "Object files", chapter 4)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

_DYNSYM, _SYMTAB = 11, 2
_MAX_SECTIONS = 10_000
_MAX_TABLE = 256 << 20
_FUNCTIONS = (2, 10)  # STT_FUNC, STT_GNU_IFUNC
_SHARED = 3  # ET_DYN: addresses count from where it is loaded


class SymbolsError(Exception):
    """Why a file has no addresses to offer, as the end of a sentence."""


def find_symbols(path: Path, names: Iterable[str]) -> tuple[dict[str, int], bool]:
    """The addresses of those functions that the file defines, and whether they count from where it is loaded.

    Raises SymbolsError.
    """
    wanted = {name.encode(): name for name in names}
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if head[:6] != b"\x7fELF\x02\x01":
                raise SymbolsError("is no 64-bit little-endian ELF file")
            kind = struct.unpack_from("<H", head, 16)[0]
            table, _, _, _, _, size, count, _ = struct.unpack_from("<QIHHHHHH", head, 40)
            if size != 64 or not 0 < count <= _MAX_SECTIONS:
                raise SymbolsError("has no table of sections")
            file.seek(table)
            raw = file.read(size * count)
            sections = [struct.unpack_from("<IIQQQQIIQQ", raw, number * size) for number in range(len(raw) // size)]
            found: dict[str, int] = {}
            for sort in (_DYNSYM, _SYMTAB):
                for section in sections:
                    if section[1] != sort or section[6] >= len(sections) or section[5] > _MAX_TABLE:
                        continue
                    strings = sections[section[6]]
                    file.seek(section[4])
                    symbols = file.read(section[5])
                    file.seek(strings[4])
                    found |= _in_table(symbols, file.read(min(strings[5], _MAX_TABLE)), wanted, found)
    except (OSError, struct.error) as error:
        raise SymbolsError(f"cannot be read: {error}") from error
    return found, kind == _SHARED


def _in_table(symbols: bytes, strings: bytes, wanted: dict[bytes, str], known: dict[str, int]) -> dict[str, int]:
    # Names share their ends: that of malloc may be the end of another one.
    places: dict[int, str] = {}
    for raw, name in wanted.items():
        at = -1 if name in known else strings.find(raw + b"\0")
        while at >= 0:
            places[at] = name
            at = strings.find(raw + b"\0", at + 1)
    found = {}
    if places:
        for name_at, info, _, section, value, _ in struct.iter_unpack("<IBBHQQ", symbols[: len(symbols) // 24 * 24]):
            if name_at in places and section and info & 0xF in _FUNCTIONS:
                found[places[name_at]] = value
    return found
