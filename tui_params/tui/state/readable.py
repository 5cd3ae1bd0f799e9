"""Metadata for the eye: JSON with a line for each entry, and times as dates."""

from __future__ import annotations

from datetime import datetime, timezone

_DEEPEST = 20
"""Levels that are indented; a hostile text may have thousands."""

_FIRST, _LAST = 1e9, 4e9
"""Seconds since 1970 of a plausible time: from 2001 to 2096."""


def readable_lines(name: str, value: str) -> list[str]:
    """The text of an entry as lines, of which JSON has one for each of its own; also where its middle is left out."""
    if value[:1] in ("{", "[") and value[-1:] in ("}", "]"):
        return _indented(value)
    if name.endswith("_at"):
        # kohya's scripts keep the seconds since 1970: ss_training_started_at.
        try:
            seconds = float(value)
        except ValueError:
            return [value]
        if _FIRST < seconds < _LAST:
            return [value, f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"]
    return [value]


def _indented(value: str) -> list[str]:
    lines: list[str] = []
    line, depth, is_text, is_escaped = "", 0, False, False
    for character in value:
        if is_text:
            line += character
            is_text = is_escaped or character != '"'
            is_escaped = character == "\\" and not is_escaped
            continue
        if character in "}]":
            lines.append(line)
            depth = max(depth - 1, 0)
            line = "  " * min(depth, _DEEPEST) + character
        elif character in "{[,":
            lines.append(line + character)
            depth += character != ","
            line = "  " * min(depth, _DEEPEST)
        elif character not in " \t\r\n":
            line += f"{character} " if character == ":" else character
            is_text = character == '"'
    return [shown for shown in (*lines, line) if shown.strip()]
