"""Pens: how a terminal draws text, and the sequences that change from one to another."""

from __future__ import annotations

from functools import lru_cache

Pen = tuple[tuple[str, ...], str, str]
"""How a terminal draws text: attributes, text colour, background, each as parameters of SGR (ECMA-48 8.3.117)."""

PLAIN: Pen = ((), "", "")

# Underline, reverse, strike, double underline, frame, encircle, overline.
SHOW_ON_BLANKS = frozenset(("4", "7", "9", "21", "51", "52", "53"))


@lru_cache(maxsize=4096)
def pen_of(codes: str) -> Pen:
    """The pen of SGR parameters such as ``1;38;2;201;206;212;48;5;17``."""
    attributes, color, background = [], "", ""
    parts = iter(codes.split(";") if codes else ())
    for part in parts:
        number = int(part)
        if number in (38, 48):
            kind = next(parts)
            rest = [next(parts) for _ in range(3 if kind == "2" else 1)]
            extended = ";".join([part, kind, *rest])
            if number == 38:
                color = extended
            else:
                background = extended
        elif 30 <= number <= 39 or 90 <= number <= 97:
            color = part
        elif 40 <= number <= 49 or 100 <= number <= 107:
            background = part
        else:
            attributes.append(part)
    return tuple(attributes), color, background


@lru_cache(maxsize=4096)
def draws_blanks_alike(old: Pen, new: Pen) -> bool:
    """Whether a blank looks the same with both pens: no line through or below it, not reversed, the same background."""
    return old[2] == new[2] and not SHOW_ON_BLANKS & {*old[0], *new[0]}


@lru_cache(maxsize=4096)
def of_blank(pen: Pen) -> Pen:
    """The pen without what cannot be seen of a blank."""
    return pen if SHOW_ON_BLANKS & {*pen[0]} else ((), "", pen[2])


@lru_cache(maxsize=4096)
def change(old: Pen, new: Pen) -> str:
    """The sequence that turns one pen into another; single attributes cannot be switched off, only all of them."""
    if old == new:
        return ""
    if new == PLAIN:
        return "\x1b[0m"
    parts = []
    if not set(old[0]) <= set(new[0]) or (old[1] and not new[1]) or (old[2] and not new[2]):
        parts.append("0")
        old = PLAIN
    parts += [attribute for attribute in new[0] if attribute not in old[0]]
    parts += [now for before, now in zip(old[1:], new[1:], strict=True) if now != before]
    return f"\x1b[{';'.join(parts)}m"
