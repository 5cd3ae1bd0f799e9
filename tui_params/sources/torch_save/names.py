"""Dotted names of what is inside a pickle."""

from __future__ import annotations

from typing import Any

from tui_params.core.text import shorten
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
