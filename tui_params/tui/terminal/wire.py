"""Writes an update of a part of the screen with fewer bytes than Textual does; the picture is the same.

Textual writes a changed region from the left edge of its widget, and repeats all colours for every piece of text. Over
SSH that is most of what is sent. Here only cells are written that differ from those shown; of the colours only what
differs from the piece before is sent; pieces of one colour are written together, because moving the cursor takes fewer
bytes than changing a colour; and long blanks are erased, where the terminal erases in the colour of the background.

This relies on private things of Textual 8 (``App._display``, ``ChopsUpdate``, ``LayoutUpdate``).
``tests/tui/terminal/test_wire.py`` checks that they exist, and that the same cells reach the screen as when Textual
itself writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.strip import Strip

from tui_params.tui.terminal.pens import PLAIN, SHOW_ON_BLANKS, Pen, change, draws_blanks_alike, pen_of
from tui_params.tui.terminal.shown import Run, Shown, is_sure

_ERASING = ("xterm", "tmux", "alacritty", "foot", "wezterm", "rxvt", "konsole", "vte", "iterm", "contour")
"""What the TERM of terminals begins with whose ECH (ECMA-48 8.3.38) leaves the background colour ("bce")."""

_FEWEST_BLANKS = 12
"""Blanks that are worth an erasure and a movement of the cursor behind it."""


_FEW_PENS = 48
"""Pens up to which the best order is looked for, which takes as many steps as there are pairs of them: 1 ms. A picture
has thousands."""


_NOWHERE = (-1, -1)
"""The place of a cursor that is not known."""


def erases_in_colour(environ: Mapping[str, str]) -> bool:
    """Whether the terminal is known to erase cells in the colour of the background; tmux does, whatever its TERM."""
    return bool(environ.get("TMUX")) or environ.get("TERM", "").startswith(_ERASING)


class TightUpdate(ChopsUpdate):
    """An update of some spans of the screen, written tightly."""

    can_erase = False
    shown: Shown

    def render_segments(self, console: Console) -> str:
        system = console._color_system or ColorSystem.TRUECOLOR
        runs: list[Run] = []
        links: list[str] = []
        for y, x1, x2 in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= x2 or end <= x1:
                    continue
                at = max(x, x1)
                for text, style, control in strip.crop(at - x, min(end, x2) - x):
                    if control:
                        continue
                    cells = cell_len(text)
                    if style is not None and style.link:
                        # A link has an opening and a closing sequence of its own.
                        self.shown.lose(y, at, cells)
                        links.append(f"\x1b[{y + 1};{at + 1}H{Strip.render_style(style, text, system)}")
                    else:
                        pen = PLAIN if style is None else pen_of(Strip.render_ansi(style, system))
                        _append(runs, Run(y, at, text, pen, cells))
                    at += cells
        edge = min(self.chop_ends[y][-1] for y, _, _ in self.spans) if self.spans else 0
        parts = _with_fewer_pens([part for run in runs for part in self.shown.take(run, can_erase=self.can_erase)])
        # First those that may take other cells than they should, which the others then write over.
        unsure = [part for part in parts if not is_sure(part.text)]
        sure = [part for part in parts if is_sure(part.text)] if unsure else parts
        before = _whole(unsure, self.can_erase)
        written = min((_written(order, self.can_erase, edge) for order in (sure, _by_pen(sure))), key=len)
        return before + written + "".join(links)


def _append(runs: list[Run], run: Run) -> None:
    """Add a run, or lengthen the last one: where the pen is the same, or where there are blanks that any pen draws."""
    last = runs[-1] if runs else None
    if last is not None and last.y == run.y and last.x + last.cells == run.x:
        is_alike = last.pen == run.pen or draws_blanks_alike(last.pen, run.pen)
        if last.pen == run.pen or (run.text.isspace() and is_alike):
            runs[-1] = last._replace(text=last.text + run.text, cells=last.cells + run.cells)
            return
        if last.text.isspace() and is_alike:
            runs[-1] = run._replace(x=last.x, text=last.text + run.text, cells=last.cells + run.cells)
            return
    runs.append(run)


def _with_fewer_pens(runs: Sequence[Run]) -> list[Run]:
    """The runs, with blanks drawn by the pen of some text, where any with their background will do."""
    pens: dict[str, Pen] = {}
    for run in runs:
        if not run.pen[0] and run.text.strip(" "):
            pens.setdefault(run.pen[2], run.pen)

    if not pens:
        return list(runs)
    return [run if run.text.strip(" ") else run._replace(pen=_blank_pen(run.pen, pens)) for run in runs]


def _blank_pen(pen: Pen, pens: Mapping[str, Pen]) -> Pen:
    other = pens.get(pen[2], pen)
    return other if draws_blanks_alike(pen, other) else pen


def _by_pen(runs: Sequence[Run]) -> list[Run]:
    """All runs of a pen together; always the pen that takes the fewest bytes is next, those with attributes last.

    An attribute is switched off only together with everything else. Many pens are in the order of their
    backgrounds.
    """
    groups: dict[Pen, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.pen, []).append(run)
    ordered: list[Run] = []
    if len(groups) > _FEW_PENS:
        for pen in sorted(groups, key=lambda pen: (bool(pen[0]), pen[0], pen[2], pen[1])):
            ordered += groups[pen]
        return ordered
    pen = PLAIN
    while groups:
        pen = min(groups, key=lambda other: (bool(other[0]), len(change(pen, other))))
        ordered += groups.pop(pen)
    return ordered


def _written(runs: Sequence[Run], can_erase: bool, edge: int) -> str:
    """The runs in this order, with the movements and the changes of pen between them; ``edge`` ends a line."""
    written: list[str] = []
    pen, at = PLAIN, _NOWHERE
    for run in runs:
        written.append(_move(at, (run.x, run.y)))
        written.append(change(pen, run.pen))
        pen = run.pen
        text = run.text
        end = (run.x + run.cells, run.y)
        if can_erase and not SHOW_ON_BLANKS & {*pen[0]}:
            tail = len(text) - len(text.rstrip(" "))
            if tail > _FEWEST_BLANKS // 2:
                text = text[: len(text) - tail]
                end = (end[0] - tail, run.y)
            text = _LONG_BLANK.sub(_erasure, text)
            text += f"\x1b[{tail}X" if end[0] != run.x + run.cells else ""
        written.append(text)
        # Behind the last cell of a line the cursor stays on it, or is on the next line.
        at = end if end[0] < edge else _NOWHERE
    written.append(change(pen, PLAIN))
    return "".join(written)


def _whole(runs: Sequence[Run], can_erase: bool) -> str:
    """The runs one by one, their cells emptied first: where one takes fewer, what was there is not seen behind it."""
    written = []
    for run in runs:
        to = _move(_NOWHERE, (run.x, run.y))
        blank = f"\x1b[{run.cells}X" if can_erase else " " * run.cells + to
        written.append(f"{to}{change(PLAIN, run.pen)}{blank if run.cells else ''}{run.text}{change(run.pen, PLAIN)}")
    return "".join(written)


_LONG_BLANK = re.compile(f" {{{_FEWEST_BLANKS},}}")


def _erasure(match: re.Match[str]) -> str:
    """Erases so many cells (ECH) and goes on behind them (CUF)."""
    length = len(match.group())
    return f"\x1b[{length}X\x1b[{length}C"


def _move(old: tuple[int, int], new: tuple[int, int]) -> str:
    """The shortest sequence that moves the cursor from one cell (x, y) to another (ECMA-48 8.3.18 to 8.3.22).

    VT goes down a line; a terminal in the mode LNM also returns to its start, so that the column is said behind it.
    """
    if old == new:
        return ""
    absolute = f"\x1b[{new[1] + 1};{new[0] + 1}H"
    right, down = new[0] - old[0], new[1] - old[1]
    if old == _NOWHERE or down < 0:
        return absolute
    along = "\b" * -right if -4 < right < 0 else _step(abs(right), "C" if right > 0 else "D")
    to_column = f"\x1b[{new[0] + 1}G" if new[0] else "\r"
    return min(absolute, _step(down, "B") + along, "\v" * down + to_column, key=len)


def _step(cells: int, direction: str) -> str:
    return f"\x1b[{cells if cells > 1 else ''}{direction}" if cells else ""


def tightened(update: ChopsUpdate, shown: Shown, *, can_erase: bool = False) -> TightUpdate:
    """The same update, to be written tightly to a terminal that shows ``shown``.

    ``can_erase``: the terminal erases in the colour of the background.
    """
    tight = TightUpdate(update.chops, update.spans, update.chop_ends)
    tight.shown, tight.can_erase = shown, can_erase
    return tight


class PlacedLayout(LayoutUpdate):
    """A full update behind which the lines are written again of whose cells terminals think differently."""

    can_erase = False

    def render_segments(self, console: Console) -> str:
        lines = [Strip.join(line) for line in self.strips]
        x, top = self.region.x, self.region.y
        chops: list[dict[int, Strip | None]] = [{}] * top + [{x: line} for line in lines]
        ends = [[x + line.cell_length] for line in [*[Strip.blank(0)] * top, *lines]]
        spans = [(y, x, ends[y][0]) for y, line in enumerate(lines, top) if not is_sure(line.text)]
        again = tightened(ChopsUpdate(chops, spans, ends), Shown(), can_erase=self.can_erase)
        return super().render_segments(console) + again.render_segments(console)


def placed(update: LayoutUpdate, *, can_erase: bool = False) -> LayoutUpdate:
    """The same update, in which no text is moved by what stands before it and takes other cells than it should."""
    strips = [[*line] for line in update.strips]
    if all(is_sure(strip.text) for line in strips for strip in line):
        return LayoutUpdate(strips, update.region)  # type: ignore[arg-type]
    whole = PlacedLayout(strips, update.region)  # type: ignore[arg-type]
    whole.can_erase = can_erase
    return whole
