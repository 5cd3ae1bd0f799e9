"""Dotted names of what is inside a pickle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tui_params.core.findings import Finding
from tui_params.core.text import clean, plural, shorten
from tui_params.sources.inert_pickle.values import render

MAX_NAME = 1_000
MAX_SEGMENT = 300


def join(prefix: str, key: Any) -> str:
    """The dotted name of the value under ``key``. The key is used as it is, whatever its characters.

    Below the top level the middle of a long name is left out; otherwise a deep file with long keys would take
    quadratic memory.
    """
    segment = key if type(key) is str else render(key)
    if not prefix:
        return segment
    return shorten(f"{shorten(prefix, MAX_NAME)}.{shorten(segment, MAX_SEGMENT)}", MAX_NAME)


def duplicate_names(names: Sequence[str]) -> list[Finding]:
    """The finding that several values have one name, if they do."""
    if not names:
        return []
    evidence = (
        f"several values have one name, and all but the first of them got a suffix ({plural(len(names), 'name')}): "
    )
    evidence += ", ".join(clean(name, MAX_SEGMENT) or "(empty)" for name in names[:10])
    return [Finding("warning", "duplicate-names", None, evidence)]
