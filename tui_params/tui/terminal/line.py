"""A line of text for the terminal: pieces of text, each with the name of its style (``themes.INKS``)."""

from __future__ import annotations

Line = list[tuple[str, str]]
