"""Shown: the cells that the terminal shows, as far as they are known, so that none is sent a second time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import compress
from operator import ne, or_
from typing import NamedTuple

from tui_params.tui.terminal.pens import PLAIN, Pen, of_blank

_MOVE = 5
"""Bytes of a movement of the cursor; equal cells that take no more are written again."""

_UNKNOWN = ""
_MAYBE_WIDE = re.compile(r"[^\u0000-\u00ac\u00ae-\u02ff\u2010-\u2027\u2030-\u205f\u2070-\u20cf\u2100-\u2e7f]")
"""Also what takes no cell, which beside a wide one is as long as it has cells: soft hyphens, U+2060, U+20D0."""

_SURELY_WIDE = r"\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff5e"
_UNSURE = re.compile(_MAYBE_WIDE.pattern.replace("]", f"{_SURELY_WIDE}]"))
"""Of an emoji, above all before U+FE0F, and of what is put together, terminals disagree how many cells it takes."""


class Run(NamedTuple):
    """A piece of text that is drawn with one pen, from a cell on; ``cells`` is its width."""

    y: int
    x: int
    text: str
    pen: Pen
    cells: int


class Shown:
    """What was last written into each cell. Whoever writes to the terminal in another way must call ``forget``."""

    def __init__(self) -> None:
        self._lines: dict[int, tuple[list[str], list[Pen]]] = {}

    def forget(self) -> None:
        """Nothing is known any more: everything was painted anew, or the terminal may have changed it."""
        self._lines.clear()

    def lose(self, y: int, x: int, cells: int) -> None:
        """What these cells show is not known."""
        self._put(y, x, [_UNKNOWN] * cells, [PLAIN] * cells)

    def take(self, run: Run, *, can_erase: bool) -> Iterator[Run]:
        """The parts of a run that must be written, and are shown from now on.

        Where the terminal can erase, a blank is written as a whole, because its length costs nothing.
        """
        y, x, text, pen, width = run
        if not is_sure(text):
            # The cursor may be somewhere else behind it, and cells of it may be written over that are another run's.
            end = max(match.end() for match in _UNSURE.finditer(text))
            rest = text[end:]
            head = width - len(rest)
            if is_narrow(rest, len(rest)) and head > 0:
                self.lose(y, x, head + end)
                yield Run(y, x, text[:end], pen, head)
                if rest:
                    yield from self.take(Run(y, x + head, rest, pen, len(rest)), can_erase=can_erase)
                return
        if not is_narrow(text, width):
            # What a terminal does with such a cell when only a part of it is written again differs.
            self.lose(y, x, width)
            yield run
            return
        letters, blank = list(text), of_blank(pen)
        pens = [pen] * width if blank is pen else [blank if letter == " " else pen for letter in letters]
        old_letters, old_pens = self._put(y, x, letters, pens)
        is_other = map(ne, old_letters, letters)
        if old_pens != pens:
            is_other = map(or_, is_other, map(ne, old_pens, pens))
        changed = list(compress(range(width), is_other))
        if not changed:
            return
        first = last = changed[0]
        for at in changed[1:]:
            is_near = at == last + 1 or len(text[last + 1 : at].encode()) <= _MOVE
            if not is_near and not (can_erase and not text[last : at + 1].strip(" ")):
                yield Run(y, x + first, text[first : last + 1], pen, last + 1 - first)
                first = at
            last = at
        yield Run(y, x + first, text[first : last + 1], pen, last + 1 - first)

    def _put(self, y: int, x: int, letters: list[str], pens: list[Pen]) -> tuple[list[str], list[Pen]]:
        """Put cells into a line, and return those that were there."""
        line = self._lines.setdefault(y, ([], []))
        end = x + len(letters)
        missing = end - len(line[0])
        if missing > 0:
            line[0].extend([_UNKNOWN] * missing)
            line[1].extend([PLAIN] * missing)
        before = line[0][x:end], line[1][x:end]
        line[0][x:end], line[1][x:end] = letters, pens
        return before


def is_narrow(text: str, cells: int) -> bool:
    """Whether each character surely takes one cell: letters of Latin scripts, punctuation, boxes, blocks and arrows."""
    return text.isascii() or (len(text) == cells and not _MAYBE_WIDE.search(text))


def is_sure(text: str) -> bool:
    """Whether all terminals take as many cells for a text as it should have."""
    return text.isascii() or not _UNSURE.search(text)
