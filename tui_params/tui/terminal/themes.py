"""The themes: a calm dark and a calm light one of our own, and the choice of the first."""

from __future__ import annotations

import os
from collections.abc import Mapping

from rich.style import Style
from textual.color import Color
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
        "positive": "#dca561",
        "negative": "#7fb0e0",
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
        "positive": "#8f4f00",
        "negative": "#1d5f9c",
    },
)

# Our own variables, which app.tcss and the inks use, for themes that do not set them: the name of one of Textual's
# variables, or a value.
DEFAULTS = {
    "cursor-bar": "block-cursor-background",
    "cursor-bar-text": "block-cursor-foreground",
    "cursor-bar-blurred": "block-cursor-blurred-background",
    "quiet": "foreground-muted",
    "rule": "panel-lighten-2",
    "spark": "primary",
    "positive": "warning",
    "negative": "primary",
}
ANSI_DEFAULTS = {
    "cursor-bar": "ansi_blue",
    "cursor-bar-text": "ansi_bright_white",
    "cursor-bar-blurred": "ansi_bright_black",
    "quiet": "ansi_default",
    "rule": "ansi_bright_black",
    "spark": "ansi_cyan",
    "positive": "foreground",
    "negative": "foreground",
}

_SHARES = {1: 0.3, 2: 0.65, 3: 1.0}
"""How much of the colour of its sign a value has, by its size (``Grid.sizes``); the rest is the quiet colour."""


def tint_of(size: int) -> str:
    """The name of the ink of a value of that size and sign."""
    return f"{'positive' if size > 0 else 'negative'}-{abs(size)}" if size else "number"


# The styles of painted text, by name: a variable of the theme, and other attributes. See widgets/canvas.py.
INKS: dict[str, tuple[str, str]] = {
    "text": ("foreground", ""),
    "title": ("foreground", "bold"),
    "label": ("secondary", ""),
    "dim": ("quiet", ""),
    "accent": ("accent", ""),
    "error": ("error", "bold"),
    "warning": ("warning", ""),
    "success": ("success", ""),
    "spark": ("spark", ""),
    "hit": ("accent", "underline"),
    "tab": ("foreground", "bold underline"),
    "number": ("foreground", ""),
    "on-spark": ("spark", "reverse"),
    "on-accent": ("accent", "reverse"),
    "here": ("foreground", "bold reverse"),
    "here-error": ("error", "bold reverse"),
}


def variables_of(theme: Theme, variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of a theme, with our own filled in."""
    defaults = ANSI_DEFAULTS if theme.ansi else DEFAULTS
    return {name: variables.get(value, value) for name, value in defaults.items()} | dict(variables)


def inks_of(theme: Theme, variables: Mapping[str, str], *, is_tinted: bool = True) -> dict[str, Style]:
    """The styles of painted text under a theme, without a background; and ``cursor``, ``cursor-blurred`` with one.

    Where there are few colours, or ``is_tinted`` is False, numbers have none by their sign and size.

    They are made here once: as component classes, Textual would compute them for every widget.
    """
    background = Color.parse(variables["background"])

    def color(name: str, behind: Color = background) -> Color:
        value = variables[name]
        if value.startswith("auto"):
            # "auto 87%": black or white, whichever has more contrast, mixed into the background with that share.
            share = float(value.removeprefix("auto").strip().rstrip("%") or 100) / 100
            return behind.blend(behind.get_contrast_text(1.0), share, 1)
        parsed = Color.parse(value)
        return parsed if parsed.ansi is not None or parsed.a == 1 else behind.blend(parsed, parsed.a, 1)

    inks = {
        name: Style.parse(more) + Style(color=color(variable).rich_color, dim=theme.ansi and variable == "quiet")
        for name, (variable, more) in INKS.items()
    }
    for sign in (1, -1):
        for size, share in _SHARES.items():
            name = tint_of(sign * size)
            full = color(name.partition("-")[0])
            tinted = Style(color=color("quiet").blend(full, share).rich_color)
            inks[name] = tinted if is_tinted and not theme.ansi else inks["number"]
    for name, ground, letters in (
        ("cursor", "cursor-bar", "cursor-bar-text"),
        ("cursor-blurred", "cursor-bar-blurred", "foreground"),
    ):
        bar = color(ground)
        inks[name] = Style(color=color(letters, bar).rich_color, bgcolor=bar.rich_color)
    return inks


def first_theme(environ: Mapping[str, str] = os.environ) -> str:
    """Our dark theme if the terminal announces true colour, else the terminal's own sixteen colours.

    Without COLORTERM, dark themes collapse into a few of 256 colours and can lose all contrast.
    """
    wanted = environ.get("TUI_PARAMS_THEME", "")
    if wanted:
        return wanted
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return DARK.name
    return "ansi-dark"
