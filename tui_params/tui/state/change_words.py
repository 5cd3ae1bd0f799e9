"""How a change since an earlier look is written: in a cell of the tree, and in the sentences of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_params.core import text
from tui_params.tui.terminal.glyphs import Glyphs

if TYPE_CHECKING:
    from tui_params.core.compare.moved import Change

WORDS = {"same": "same", "new": "new", "shape": "reshaped", "dtype": "retyped", "stride": "strides", "unread": "\u2013"}
"""What stands for a state that is not ``moved``."""


def cell_of(change: Change | None, room: int, glyphs: Glyphs) -> tuple[str, str]:
    """A change in at most ``room`` cells (6 or more), and its style; a dot where it is not known yet.

    A number is ||now - before|| / ||before||; with a sign before it, it is a lower bound.
    """
    if change is None:
        return glyphs.unknown, "dim"
    if change.state != "moved":
        return WORDS[change.state], "dim" if change.state in ("same", "unread") else "accent"
    if change.more_nan or change.more_inf:
        return ("+NaN" if change.more_nan else "+Inf"), "error"
    if change.is_from_zero:
        return "from 0", "accent"
    if change.relative:
        return text.number_within(change.relative, room), "text"
    if change.difference is not None and not change.difference.changed:
        return "bits", "dim"  # a zero has another sign, or a NaN other bits
    if change.relative is None and change.at_least:
        sign = ">=" if glyphs.is_ascii else "\u2265"
        return f"{sign}{text.number_within(rounded_down(change.at_least), room - len(sign))}", "text"
    return "moved", "text"


def rounded_down(value: float) -> float:
    """A number with two significant digits that is not greater."""
    mantissa, exponent = f"{value:.1e}".split("e")
    shown = float(f"{mantissa}e{exponent}")
    return shown if shown <= value else float(f"{round(float(mantissa) * 10) - 1}e{int(exponent) - 1}")


def sentence_of(change: Change, glyphs: Glyphs, *, is_brief: bool = False) -> str:
    """A change in one sentence, without since when; ``is_brief``: without how many values it is."""
    if change.state == "same":
        return "bit-identical"
    if change.state != "moved":
        return text.clean(change.about, 300)
    parts = []
    found = change.difference
    change_of_norm = f"{_bars('change', glyphs)} / {_bars('before', glyphs)}"
    if change.is_from_zero:
        parts.append("all elements were zero before")
    elif change.relative is not None:
        parts.append(f"{change_of_norm} = {text.number(change.relative)}")
    elif change.at_least:
        parts.append(f"{change_of_norm} is at least {text.number(rounded_down(change.at_least))} by the figures")
    else:
        parts.append("the bytes differ, the figures do not say how much")
    if found is not None:
        if not found.changed:
            parts = ["the values are equal, the bits are not (a sign of zero, a NaN)"]
        elif not is_brief:
            parts.append(f"{found.changed:,} of {text.plural(found.count, 'value')} changed")
            parts.append(f"by at most {text.number(found.max_abs)}")
        for count, words in (
            (found.became_nan, "became NaN"),
            (found.was_nan, "were NaN"),
            (found.became_inf, "became infinite"),
            (found.was_inf, "were infinite"),
        ):
            if count:
                parts.append(f"{count:,} {words}")
    return ", ".join(parts)


def _bars(words: str, glyphs: Glyphs) -> str:
    return f"||{words}||" if glyphs.is_ascii else f"\u2016{words}\u2016"
