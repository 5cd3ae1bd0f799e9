"""A small terminal for tests: the cells that it shows after what was written to it; and updates to write."""

from __future__ import annotations

import re

from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.strip import Strip

from tui_params.tui.terminal.pens import Pen, pen_of

Cells = dict[tuple[int, int], tuple[str, Pen]]
"""The letter and the pen at (x, y); the right half of a wide character is an empty letter."""

_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\]8;[^\x1b]*\x1b\\|(\r?\n)|(.)", re.DOTALL)


class CellTerminal:
    """A terminal that knows movements of the cursor, SGR, ECH and printable characters, and nothing else.

    ``returns``: VT also returns to the start of the line, as in the mode LNM.
    """

    def __init__(self, *, returns: bool = False) -> None:
        self.cells: Cells = {}
        self._returns = returns
        self._x = self._y = 0
        self._pen: Pen = ((), "", "")

    def write(self, written: str) -> None:
        for match in _TOKEN.finditer(written):
            parameters, command, newline, letter = match.groups()
            if command is not None:
                self._obey(command, parameters)
            elif newline is not None:
                self._x, self._y = 0, self._y + 1
            elif letter == "\b":
                self._x -= 1
            elif letter == "\r":
                self._x = 0
            elif letter == "\v":
                self._x, self._y = 0 if self._returns else self._x, self._y + 1
            elif letter is not None:
                self._put(letter)

    def _obey(self, command: str, parameters: str) -> None:
        if command == "m":
            self._pen = _changed(self._pen, parameters or "0")
            return
        if command == "H":
            self._y, self._x = (int(part) - 1 for part in parameters.split(";"))
            return
        count = int(parameters or "1")
        if command == "C":
            self._x += count
        elif command == "D":
            self._x -= count
        elif command == "B":
            self._y += count
        elif command == "G":
            self._x = count - 1
        elif command == "X":
            for x in range(self._x, self._x + count):
                self.cells[x, self._y] = (" ", self._pen)
        else:
            raise AssertionError(f"not a sequence of ours: {command!r} {parameters!r}")

    def _put(self, letter: str) -> None:
        width = cell_len(letter)
        for edge, half in ((self._x, self._x - 1), (self._x + width, self._x + width)):
            if self.cells.get((edge, self._y), " ")[0] == "":
                self.cells[half, self._y] = (" ", self._pen)  # half of a wide character is not shown
        for place in range(width):
            self.cells[self._x + place, self._y] = (letter if place == 0 else "", self._pen)
        self._x += width


def _changed(pen: Pen, codes: str) -> Pen:
    attributes, color, background = pen
    if codes == "0" or codes.startswith("0;"):
        attributes, color, background = (), "", ""
        codes = codes.removeprefix("0").removeprefix(";")
    new = pen_of(codes)
    return tuple(sorted({*attributes, *new[0]})), new[1] or color, new[2] or background


def draw(written: str, *, returns: bool = False) -> Cells:
    """The cells that an empty terminal shows."""
    terminal = CellTerminal(returns=returns)
    terminal.write(written)
    return terminal.cells


def same(cells: Cells) -> Cells:
    """The cells with what cannot be seen left out: the text colour of a blank without lines or reversal."""
    seen: Cells = {}
    for place, (letter, (attributes, color, background)) in cells.items():
        if letter == " " and not {"4", "7", "9"} & set(attributes):
            seen[place] = (" ", ((), "", background))
        else:
            seen[place] = (letter, (attributes, color, background))
    return seen


colors = st.sampled_from(
    [None, Color.from_rgb(1, 2, 3), Color.from_rgb(200, 0, 9), Color.parse("red"), Color.parse("color(17)")]
)
styles = st.builds(
    lambda color, bgcolor, bold, underline, reverse: Style(
        color=color, bgcolor=bgcolor, bold=bold or None, underline=underline or None, reverse=reverse or None
    ),
    colors,
    colors,
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
words = st.text(alphabet="ab █", min_size=1, max_size=5) | st.integers(1, 40).map(lambda length: " " * length)
segments = st.tuples(words, styles).map(lambda pair: Segment(*pair))


@st.composite
def updates(draw_value: st.DrawFn) -> ChopsUpdate:
    """An update of three lines of two widgets each; some spans of them have changed."""
    chops: list[dict[int, Strip | None]] = []
    ends: list[list[int]] = []
    spans: list[tuple[int, int, int]] = []
    for y in range(3):
        strips = [Strip(draw_value(st.lists(segments, min_size=1, max_size=5))) for _ in range(2)]
        middle = strips[0].cell_length
        end = middle + strips[1].cell_length
        chops.append({0: strips[0], middle: strips[1]})
        ends.append([middle, end])
        assert end >= 2
        start = draw_value(st.integers(0, end - 1))
        spans.append((y, start, draw_value(st.integers(start + 1, end))))
    return ChopsUpdate(chops, spans, ends)
