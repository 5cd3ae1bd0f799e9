"""Recognises a pickle of protocol 0 or 1, which has no magic number, by its first bytes.

The instructions are followed as far as they are there: only how many values are on the stack is counted. Prose, source
code and tables break the rules of the language within a few characters.
"""

from __future__ import annotations

import re

_LEGACY = b"L119547037146038801333356L\n."
"""The first pickle of ``torch.save(..., _use_new_zipfile_serialization=False, pickle_protocol=0)``, or 1."""

_STARTS = (b"(", b"]", b"}", b")", b"c")
"""How the pickle of a tuple, a list, a dict or any other object begins. A number or a text alone is no checkpoint."""

_TEXT_STARTS = (b"S", b"V", b"I", b"X", b"U", b"N", b"K")
"""How a pickle by hand may begin, which puts names on the stack before it calls them: only one that calls is taken."""

_LEAST = 32
"""Bytes of a pickle that more bytes may follow. A shorter one is chance: ``).`` is a pickle of an empty tuple."""

_DIGITS = re.compile(rb"-?[0-9]+")
_LINES = {
    "I": _DIGITS,
    "L": re.compile(rb"-?[0-9]+L?"),
    "F": re.compile(rb"[-+0-9.einfa]+"),
    "S": re.compile(rb"(['\"]).*\1", re.DOTALL),
    "V": re.compile(rb".*", re.DOTALL),
    "P": re.compile(rb".+", re.DOTALL),
    "g": _DIGITS,
    "p": _DIGITS,
}
"""What the line after each instruction must be."""

_NAME = re.compile(rb"[A-Za-z_][\w.]*")
_FIXED = {"K": 1, "M": 2, "J": 4, "G": 8, "h": 1, "j": 4, "q": 1, "r": 4}
"""Bytes after each instruction."""

_SIZED = {"U": 1, "T": 4, "X": 4}
"""Bytes of the length that precedes a text."""

_PUSHES = frozenset("ILFSVKMJGUTXghj" + "N)]}2cP")
_NEEDS = {
    "0": 1,
    "2": 1,
    "R": 2,
    "b": 2,
    "a": 2,
    "s": 3,
    "p": 1,
    "q": 1,
    "r": 1,
    "Q": 1,
    "\x93": 2,
    "\x94": 1,
    "\x85": 1,
    "\x86": 2,
    "\x87": 3,
}
"""Values that must be on the stack, above the last mark."""

_POPS = {"0": 1, "R": 1, "b": 1, "a": 1, "s": 2, "\x93": 1, "\x86": 1, "\x87": 2}
_UP_TO_MARK = {"t": 1, "d": 1, "l": 1, "o": 1, "i": 1, "e": 0, "u": 0, "1": 0}
"""Instructions that take everything from the last mark on, and the values that they leave instead."""


class _EndsError(Exception):
    """The bytes end inside an instruction."""


def is_old_pickle(head: bytes, size: int) -> bool:
    """Whether a file of ``size`` bytes that starts with ``head`` starts with a pickle of protocol 0 or 1."""
    if head.startswith(_LEGACY):
        return True
    must_call = head.startswith(_TEXT_STARTS)
    if not must_call and not head.startswith(_STARTS):
        return False
    pos = depth = 0
    calls = False
    marks: list[int] = []
    try:
        while pos < len(head):
            op = chr(head[pos])
            pos += 1
            if op == ".":
                is_whole = depth == 1 and not marks and (pos == size or pos >= _LEAST)
                return is_whole and (calls or not must_call)
            calls = calls or op in "Rio"
            if op == "(":
                marks.append(depth)
                continue
            after = _skip(head, pos, op, size)
            if after is None or depth - (marks[-1] if marks else 0) < _NEEDS.get(op, 0):
                return False
            pos = after
            if op in _UP_TO_MARK:
                if not marks:
                    return False
                depth = marks.pop() + _UP_TO_MARK[op]
                if not _UP_TO_MARK[op] and op != "1" and not depth:
                    return False
            else:
                depth += (op in _PUSHES) - _POPS.get(op, 0)
    except _EndsError:
        pass
    # Everything that was looked at fits; it goes on after that.
    return size > len(head) and (calls or not must_call)


def _skip(head: bytes, pos: int, op: str, size: int) -> int | None:
    """Where the next instruction starts; None if there is none called ``op``, or if what follows does not fit it."""
    if op in _LINES:
        line, pos = _line(head, pos)
        return pos if _LINES[op].fullmatch(line) else None
    if op in ("c", "i"):
        for _ in range(2):
            line, pos = _line(head, pos)
            if not _NAME.fullmatch(line):
                return None
        return pos
    if op in _FIXED:
        return pos + _FIXED[op]
    if op in _SIZED:
        width = _SIZED[op]
        if pos + width > len(head):
            raise _EndsError
        after = pos + width + int.from_bytes(head[pos : pos + width], "little")
        return after if after <= size else None
    return pos if op in _NEEDS or op in _UP_TO_MARK or op in _PUSHES else None


def _line(head: bytes, pos: int) -> tuple[bytes, int]:
    end = head.find(b"\n", pos)
    if end < 0:
        raise _EndsError
    return head[pos:end], end + 1
