"""Names, sentences and marks as lines of a page. Pure functions."""

from __future__ import annotations

from tui_params.core import text
from tui_params.tui.state.places import KEPT_BLANK
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import cut_line, line_width


def within(lines: list[Line], width: int) -> list[Line]:
    """The lines, cut where they are too long for a very narrow pane."""
    return [line if line_width(line) <= width else cut_line(line, width) for line in lines]


def name_lines(name: str, width: int) -> list[Line]:
    """A full name in the title style, broken after dots, at most three lines."""
    shown = text.name(name, 3 * width)
    lines: list[Line] = []
    while len(shown) > width:
        cut = shown.rfind(".", 0, width) + 1
        cut = cut if cut > width // 3 else width
        lines.append([(shown[:cut], "title")])
        shown = shown[cut:]
    return [*lines, [(shown, "title")]]


def wrapped(words: str, width: int, style: str, hang: int = 0, limit: int = 4) -> list[Line]:
    """A sentence broken at blanks, not at kept ones, into at most ``limit`` lines; later ones are indented by ``hang``.

    Findings and reasons contain names out of files, so control characters are written out as escapes.
    """
    words = text.clean(words)
    width = max(width, hang + 8)
    lines: list[str] = []
    line = ""
    for word in words.split(" "):
        while len(word) > width - hang:
            room = width - len(line) - (1 if line else 0)
            if room < 8:
                lines.append(line)
                line = " " * hang
                room = width - hang
            cut = word.rfind(".", 0, room - 1) + 1 or room  # a dotted name breaks after a dot
            line = f"{line} {word[:cut]}" if line.strip() else line + word[:cut]
            word = word[cut:]
            lines.append(line)
            line = " " * hang
        if line.strip() and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = " " * hang + word
        else:
            line = f"{line} {word}" if line.strip() else line + word
    if line.strip():
        lines.append(line)
    if len(lines) > limit:
        lines = [*lines[: limit - 1], text.shorten(lines[limit - 1] + "…", width)]
    return [[(line.replace(KEPT_BLANK, " "), style)] for line in lines]


def mark_of(severity: str, glyphs: Glyphs) -> tuple[str, str]:
    """The mark of a severity, and its style."""
    if severity == "error":
        return glyphs.error, "error"
    if severity == "unreadable":
        return glyphs.unreadable, "warning"
    return (glyphs.warning, "warning") if severity == "warning" else (glyphs.unknown, "dim")
