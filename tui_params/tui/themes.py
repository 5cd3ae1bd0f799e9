"""The themes: a calm dark and a calm light one of our own, and which to start with."""

from __future__ import annotations

import os
from collections.abc import Mapping

from textual.theme import Theme

DARK = Theme(
    name="quiet-dark",
    primary="#7aa2c4",
    secondary="#8fa7b8",
    accent="#d6a85f",
    foreground="#c9ced4",
    background="#15181c",
    surface="#15181c",
    panel="#1d2127",
    success="#8fb573",
    warning="#d6a85f",
    error="#e0706c",
    dark=True,
    variables={
        "cursor-bar": "#2b3f52",
        "cursor-bar-text": "#f2f5f7",
        "cursor-bar-blurred": "#22272e",
        "quiet": "#7d8791",
        "rule": "#2c323a",
        "spark": "#7aa2c4",
    },
)

LIGHT = Theme(
    name="quiet-light",
    primary="#2f6690",
    secondary="#4f6b80",
    accent="#96620f",
    foreground="#24292e",
    background="#fbfaf8",
    surface="#fbfaf8",
    panel="#f0eee9",
    success="#457a2c",
    warning="#96620f",
    error="#b3362f",
    dark=False,
    variables={
        "cursor-bar": "#cfe0ee",
        "cursor-bar-text": "#10151a",
        "cursor-bar-blurred": "#e8e6e1",
        "quiet": "#6c737a",
        "rule": "#d9d5cd",
        "spark": "#2f6690",
    },
)

# What app.tcss uses beyond Textual's own variables, for every theme that does not set it: a variable or a value.
DEFAULTS = {
    "cursor-bar": "block-cursor-background",
    "cursor-bar-text": "block-cursor-foreground",
    "cursor-bar-blurred": "block-cursor-blurred-background",
    "quiet": "text-muted",
    "rule": "panel-lighten-2",
    "spark": "primary",
}
ANSI_DEFAULTS = {
    "cursor-bar": "ansi_blue",
    "cursor-bar-text": "ansi_bright_white",
    "cursor-bar-blurred": "ansi_bright_black",
    "quiet": "ansi_default 60%",
    "rule": "ansi_bright_black",
    "spark": "ansi_cyan",
}


def first_theme(environ: Mapping[str, str] = os.environ) -> str:
    """Our dark theme where the terminal says it has true colour, else the terminal's own sixteen colours.

    Without COLORTERM, dark themes collapse into a few of 256 colours and can lose all contrast.
    """
    wanted = environ.get("TUI_PARAMS_THEME", "")
    if wanted:
        return wanted
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return DARK.name
    return "ansi-dark"
