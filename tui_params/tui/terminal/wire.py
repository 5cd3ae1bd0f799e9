"""Writes an update of a part of the screen with fewer bytes than Textual does; the picture is the same.

Textual writes a changed region from the left edge of its widget, and repeats all colours for every piece of text. Over
SSH that is most of what is sent. Here a region is written from its own left edge, and of the colours only what differs
from the piece before: only the text colour where the background stays the same.

This relies on two private things of Textual 8 (``App._display``, ``ChopsUpdate``). ``tests/tui/terminal/test_wire.py``
checks that they exist, and that the same cells reach the screen as when Textual itself writes.
"""

from __future__ import annotations

from functools import lru_cache

from rich.color import ColorSystem
from rich.console import Console
from textual._compositor import ChopsUpdate
from textual.strip import Strip

Pen = tuple[tuple[str, ...], str, str]
"""How a terminal draws text: attributes, text colour, background, each as parameters of SGR (ECMA-48 8.3.117)."""

PLAIN: Pen = ((), "", "")

# Underline, reverse, strike, double underline, frame, encircle, overline.
_SHOW_ON_BLANKS = frozenset(("4", "7", "9", "21", "51", "52", "53"))


class TightUpdate(ChopsUpdate):
    """An update of some spans of the screen, written tightly."""

    def render_segments(self, console: Console) -> str:
        system = console._color_system or ColorSystem.TRUECOLOR
        written: list[str] = []
        pen = PLAIN
        at = (-1, -1)
        for y, x1, x2 in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= x2 or end <= x1:
                    continue
                start = max(x, x1)
                if at != (start, y):
                    written.append(f"\x1b[{y + 1};{start + 1}H")
                strip = strip.crop(start - x, min(end, x2) - x)
                for text, style, control in strip:
                    if control:
                        continue
                    if style is not None and style.link:
                        # A link has an opening and a closing sequence of its own.
                        written.append(f"{_change(pen, PLAIN)}{Strip.render_style(style, text, system)}")
                        pen = PLAIN
                        continue
                    wanted = PLAIN if style is None else pen_of(Strip.render_ansi(style, system))
                    if text.isspace() and _draws_blanks_alike(pen, wanted):
                        wanted = pen
                    written.append(_change(pen, wanted) + text)
                    pen = wanted
                at = (start + strip.cell_length, y)
        written.append(_change(pen, PLAIN))
        return "".join(written)


def tightened(update: ChopsUpdate) -> TightUpdate:
    """The same update, to be written tightly."""
    return TightUpdate(update.chops, update.spans, update.chop_ends)


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
def _draws_blanks_alike(old: Pen, new: Pen) -> bool:
    """Whether a blank looks the same with both pens: no line through or below it, not reversed, the same background."""
    return old[2] == new[2] and not _SHOW_ON_BLANKS & {*old[0], *new[0]}


@lru_cache(maxsize=4096)
def _change(old: Pen, new: Pen) -> str:
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
