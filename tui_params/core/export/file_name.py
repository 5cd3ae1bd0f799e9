"""Names of files that are suggested for what comes out of a source, whose own names may hold anything."""

from __future__ import annotations

import os
import re

_UNSAFE = re.compile(r"[^\w.-]+")
_DOTS = re.compile(r"\.{2,}")
_LONGEST_LABEL, _LONGEST_NAME = 60, 120
"""Bytes; both together, with a suffix and the mark of a slice, stay below the 255 that file systems allow."""


def suggest_stem(label: str, name: str | None = None) -> str:
    """A name for a file, without a suffix, from the label of a source and the name of a tensor or a module in it.

    It is one name in the current folder: no separator, no ``..``, no control character, nothing hidden, no dash at
    the start that a command would take for an option.
    """
    stem, suffix = os.path.splitext(label)
    parts = [_within(_safe(stem if suffix[1:].isalnum() else label), _LONGEST_LABEL)]
    if name is not None:
        parts.append(_within(_safe(name), _LONGEST_NAME))
    return "-".join(part for part in parts if part) or "export"


def _safe(words: str) -> str:
    return _DOTS.sub(".", _UNSAFE.sub("_", words)).strip("._-")


def _within(words: str, limit: int) -> str:
    """At most ``limit`` bytes; of a longer name the end stays, where names differ."""
    raw = words.encode()
    return words if len(raw) <= limit else raw[-limit:].decode(errors="ignore").lstrip("._-")
