"""How many colours pictures may use: as many as the terminal has, and none where the user wants none."""

from __future__ import annotations

from typing import Literal, TypeAlias

Depth: TypeAlias = Literal["24 bit", "256", "16", "none"]


def depth_of(color_system: str | None, *, no_color: bool, is_ascii: bool) -> Depth:
    """The colours for a picture; ``color_system`` is what rich found out about the terminal."""
    if no_color or is_ascii or color_system is None:
        return "none"
    return "24 bit" if color_system == "truecolor" else "256" if color_system == "256" else "16"
