"""The colours of the heat map: a table for each depth of colour, since the nearest colours are no picture any more.

Blue and orange differ for every kind of colour blindness, and lightness alone tells sizes apart. Magenta, which is NaN
and Inf, is in no other table.
"""

from __future__ import annotations

from functools import cache

from rich.color import Color
from rich.style import Style

from tui_params.core.numbers.levels import BAD, MIDDLE, TOP
from tui_params.tui.terminal.colour_depth import Depth

RAMP = " .:-=+*#%@"
"""From the lowest level to the highest, where there is no colour."""

_BEYOND = 250
"""From this level on the five shades are too few: what stands out has a colour of its own."""

SHADES = " ░▒▓█"
"""From zero to the highest level, in one of two colours, where there are 16."""

_ANCHORS = {
    ("signed", True): ("#8fd0ff", "#2f80e4", "#14336e", "#101216", "#5c2f0a", "#e0811a", "#ffdc98"),
    ("signed", False): ("#08468f", "#3f86d0", "#a9cdee", "#fbfaf8", "#f6cf9c", "#d97a1c", "#7d3600"),
    ("sequential", True): ("#101216", "#15305a", "#1b6a8a", "#3fa58a", "#a3d46f", "#fbf4a8"),
    ("sequential", False): ("#fbfaf8", "#bfe3cf", "#66b9ad", "#2b83a0", "#1b4f80", "#0b1f45"),
    ("share", True): ("#5c1050", "#c01aa0", "#ff6ae0"),
    ("share", False): ("#f3b8e6", "#d83fb8", "#8a0070"),
}
_INDEXED = {
    ("signed", True): (117, 75, 39, 33, 26, 25, 18, 17, 233, 94, 130, 172, 208, 214, 215, 222, 223),
    ("signed", False): (18, 19, 26, 32, 75, 117, 153, 189, 231, 230, 223, 222, 215, 208, 166, 130, 94),
    ("sequential", True): (233, 17, 23, 24, 30, 36, 72, 78, 114, 150, 186, 229),
    ("sequential", False): (231, 195, 152, 116, 80, 73, 37, 31, 25, 24, 18, 17),
    ("share", True): (90, 127, 164, 201, 207, 213),
    ("share", False): (225, 219, 213, 206, 163, 126),
}
_BAD = {
    ("24 bit", True): "#ff00d0",
    ("24 bit", False): "#e000b4",
    ("256", True): "color(201)",
    ("256", False): "color(199)",
}
_SIXTEEN = {
    ("negative", True): "bright_blue",
    ("negative", False): "blue",
    ("positive", True): "yellow",
    ("positive", False): "red",
    ("sequential", True): "bright_cyan",
    ("sequential", False): "blue",
    ("beyond", True): "bright_yellow",
    ("beyond", False): "red",
    ("share", True): "magenta",
    ("share", False): "magenta",
}


def prefix_of(statistic: str) -> str:
    """The table that shows a statistic."""
    return "signed" if statistic == "mean" else "share" if statistic == "share" else "sequential"


def is_half(depth: Depth) -> bool:
    """Whether a character shows two cells, one above the other."""
    return depth in ("24 bit", "256")


@cache
def color_of(table: str, level: int, depth: Depth, is_dark: bool) -> Color:
    """The colour of a level where cells are filled with colour."""
    if level == BAD:
        return Color.parse(_BAD[depth, is_dark])
    if table == "share":
        if level == 0:
            table = "sequential"
        else:
            level = round((level - 90) * TOP / (TOP - 90))
    if depth == "256":
        indices = _INDEXED[table, is_dark]
        return Color.from_ansi(indices[round(level * (len(indices) - 1) / TOP)])
    anchors = _ANCHORS[table, is_dark]
    place = level * (len(anchors) - 1) / TOP
    first = min(int(place), len(anchors) - 2)
    low, high = Color.parse(anchors[first]).get_truecolor(), Color.parse(anchors[first + 1]).get_truecolor()
    share = place - first
    return Color.from_rgb(*(a + (b - a) * share for a, b in zip(low, high, strict=True)))


def _shade(table: str, level: int, depth: Depth, is_dark: bool) -> tuple[str, Style]:
    """The character of a level, and its style, where there are few colours or none."""
    if level == BAD:
        bad = Style(bold=True, reverse=True) if depth == "none" else Style(color="bright_white", bgcolor="magenta")
        return "N", bad
    if depth == "none":
        return RAMP[min(level * len(RAMP) // (TOP + 1), len(RAMP) - 1)], Style.null()
    kind, size = table, level / TOP
    if table == "signed":
        kind, size = ("negative" if level < MIDDLE else "positive"), abs(level - MIDDLE) / MIDDLE
    if kind == "sequential" and level >= _BEYOND:
        kind = "beyond"
    return SHADES[min(len(SHADES) - 1, round(size * 4.4))], Style(color=_SIXTEEN[kind, is_dark])


@cache
def glyph_of(name: str, depth: Depth) -> str:
    """The character of a cell where there are few colours or none; its name is as in ``heat_style``."""
    table, level = name.split()[1:3]
    return _shade(table, int(level), depth, True)[0]


@cache
def heat_style(name: str, depth: Depth, is_dark: bool, over: Style) -> Style:
    """The style of a cell by its name.

    ``heat TABLE LEVEL`` is a cell, or a value on one; ``heat TABLE UPPER LOWER`` two in one character, the upper one
    in its letters, the lower in its background. The level ``o`` is the place's, and ``x`` none. Where there are few
    colours it is ``heat TABLE LEVEL`` or ``heat TABLE LEVEL o``. ``heat-edge``, ``heat-dead`` and ``heat-spoilt`` are
    marks at the edge.
    """
    if name == "heat-edge":
        return over + (Style.null() if not is_half(depth) else Style(color="#525c66" if is_dark else "#b3ada2"))
    if name == "heat-dead":
        return over + (_dead(is_dark) if is_half(depth) else Style(bold=True, reverse=True))
    if name == "heat-spoilt":
        is_filled = is_half(depth)
        bad = Style(color=color_of("signed", BAD, depth, is_dark), bold=True) if is_filled else None
        return over + (bad if bad is not None else _shade("signed", BAD, depth, is_dark)[1])
    table, *levels = name.split()[1:]
    if not is_half(depth):
        style = over + _shade(table, int(levels[0]), depth, is_dark)[1]
        return style + Style(reverse=True, bold=True) if len(levels) > 1 else style
    if len(levels) == 2:
        upper, lower = (_color(table, level, depth, is_dark) for level in levels)
        return Style(color=upper, bgcolor=over.bgcolor if lower is None else lower)
    ground = _color(table, levels[0], depth, is_dark)
    assert ground is not None
    red, green, blue = ground.get_truecolor()
    is_light = red * 299 + green * 587 + blue * 114 > 128_000
    return Style(color=Color.parse("#101216" if is_light else "#f2f5f7"), bgcolor=ground, bold=levels[0] == "o")


def _color(table: str, level: str, depth: Depth, is_dark: bool) -> Color | None:
    """None for the level of no cell."""
    if level == "o":
        return Color.parse("#ffffff" if is_dark else "#000000")
    return None if level == "x" else color_of(table, int(level), depth, is_dark)


def _dead(is_dark: bool) -> Style:
    ground = "#b6e06a" if is_dark else "#3f7a1c"
    return Style(color="black" if is_dark else "white", bgcolor=ground, bold=True)
