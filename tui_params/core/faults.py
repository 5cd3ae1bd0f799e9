"""Faults: errors of ours that nobody foresaw, in the words that a report of them needs."""

from __future__ import annotations

import traceback
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def named(error: BaseException) -> str:
    """The error as in the last line of a traceback, but in one line of bounded length."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message[:300]}" if message else type(error).__name__


def place_of(error: BaseException) -> str:
    """The innermost line of this package in the traceback, in brackets behind a blank; empty if there is none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(_PACKAGE):
            return f" ({path.relative_to(_PACKAGE.parent).as_posix()}, line {frame.lineno})"
    return ""
