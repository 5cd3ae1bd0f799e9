"""A strip: one figure of a kind over its layers, a bar each."""

from __future__ import annotations

from tui_params.core.layers.strip import BAD, LOST_CELL, ODD, TOP_LEVEL, VALUE, Strip
from tui_params.reports.html import Html, element
from tui_params.reports.pictures.svg import Box, boxes, picture

_WIDTH, _GAP, _HEIGHT = 4, 1, 18
_CLASSES = {VALUE: "bar", ODD: "odd", BAD: "bad", LOST_CELL: "lost"}


def strip_picture(strip: Strip, label: str) -> Html:
    """The bars; what stands out, what has a NaN and what could not be read have colours and forms of their own."""
    found: dict[str, list[Box]] = {}
    for at, (kind, level) in enumerate(zip(strip.kinds, strip.levels, strict=True)):
        name = _CLASSES.get(kind)
        if name is None:
            continue
        height = 2 + (_HEIGHT - 2) * level / TOP_LEVEL if kind in (VALUE, ODD) else _HEIGHT
        found.setdefault(name, []).append((at * (_WIDTH + _GAP), _HEIGHT - height, _WIDTH, height))
    paths = [element("path", d=boxes(places), class_=name) for name, places in found.items()]
    width = max(len(strip.kinds) * (_WIDTH + _GAP) - _GAP, _WIDTH)
    return picture(width, _HEIGHT, element("title", label), *paths, label=label, class_="strip")
