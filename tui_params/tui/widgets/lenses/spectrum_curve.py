"""The curve of a spectrum: singular values by their number, on logarithmic axes or linear ones. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

import msgspec

from tui_params.core import text
from tui_params.core.numbers.spectrum.spectrum import Spectrum
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.axes import LABEL, Axes, Ticks, curve_axes


class Frame(msgspec.Struct, frozen=True):
    """The range of both axes; on logarithmic ones, of the decimal logarithms."""

    is_log: bool
    left: float
    right: float
    low: float
    high: float

    def across(self, number: float) -> float:
        """Where the value with that number stands, 0 to 1 from the left."""
        at = log10(number) if self.is_log else number
        return (at - self.left) / ((self.right - self.left) or 1)

    def up(self, value: float) -> float:
        """Where a value stands, 0 to 1 from below."""
        at = log10(value) if self.is_log else value
        return min(max((at - self.low) / ((self.high - self.low) or 1), 0.0), 1.0)


class Curve(msgspec.Struct, frozen=True):
    """A drawn curve, and where things are in it."""

    axes: Axes
    frame: Frame


def frame_of(spectrum: Spectrum, is_log: bool) -> Frame:
    """The axes on which all values stand that are above the floor; those below it are drawn on it."""
    values = spectrum.values
    above = [value for value in values if value > spectrum.floor and value > 0]
    if not above:
        return Frame(False, 1, max(2, len(values)), 0, 1)
    if not is_log:
        return Frame(False, 1, max(2, len(values)), 0, above[0])
    least = spectrum.floor if len(above) < len(values) and spectrum.floor > 0 else above[-1]
    low, high = log10(least), log10(above[0])
    if high - low < 0.3:  # a factor of two at least, so that the rounding of equal values is no cliff
        low, high = (low + high) / 2 - 0.15, (low + high) / 2 + 0.15
    return Frame(True, 0, log10(max(2, spectrum.count)), low, high)


def draw(spectrum: Spectrum, columns: int, rows: int, is_log: bool, glyphs: Glyphs) -> Curve:
    """The curve in so many cells; takes about 15 ms."""
    frame = frame_of(spectrum, is_log)
    points = _points(spectrum, frame, columns)
    axes = curve_axes(columns, rows, points, _number_ticks(frame, columns), _value_ticks(frame, rows), glyphs)
    return Curve(axes, frame)


def curve_lines(curve: Curve, spectrum: Spectrum, at: int, glyphs: Glyphs) -> list[Line]:
    """The drawn curve with the marks on it: the value at the cursor, the start of the tail, what lies at the floor."""
    rows = len(curve.axes.cells)
    columns = len(curve.axes.cells[0]) if rows else 0
    cells = [[(letter, "spark") for letter in line] for line in curve.axes.cells]

    def put(number: int, value: float, letter: str, ink: str) -> None:
        # A cell in braille has 2 by 4 dots.
        wide, high = (1, 1) if glyphs.is_ascii else (2, 4)
        across = round(curve.frame.across(number) * (columns * wide - 1)) // wide
        up = round(curve.frame.up(value) * (rows * high - 1)) // high
        cells[rows - 1 - up][min(across, columns - 1)] = (letter, ink)

    law = spectrum.power_law
    if law is not None and 1 < law.tail <= len(spectrum.values):
        put(law.tail, spectrum.values[law.tail - 1], "a" if glyphs.is_ascii else "α", "accent")
    lost = spectrum.rank if spectrum.rank is not None else len(spectrum.values)
    if lost < len(spectrum.values):
        line = "_" if glyphs.is_ascii else "▁"
        first = round(curve.frame.across(lost + 1) * (columns - 1))
        words = "<= floor" if glyphs.is_ascii else "≤ floor"
        for place in range(first, columns):
            cells[-1][place] = (line, "warning")
        if columns - first > len(words) + 1 or first > len(words) + 1:
            start = first if columns - first > len(words) else columns - len(words)
            for place, letter in enumerate(words):
                if rows > 1:
                    cells[-2][start + place] = (letter, "warning")
    if at < len(spectrum.values):
        value = max(spectrum.values[at], spectrum.floor)
        put(at + 1, value if value > 0 else 10**curve.frame.low, "O" if glyphs.is_ascii else "●", "title")
    lines = [[(left, "dim"), *_joined(line)] for left, line in zip(curve.axes.left, cells, strict=True)]
    return [*lines, *([(words, "dim")] for words in curve.axes.below)]


def _joined(cells: Sequence[tuple[str, str]]) -> Line:
    line: Line = []
    for letter, ink in cells:
        if line and line[-1][1] == ink:
            line[-1] = (line[-1][0] + letter, ink)
        else:
            line.append((letter, ink))
    return line


def _points(spectrum: Spectrum, frame: Frame, columns: int) -> tuple[list[float], list[float]]:
    """The values as points, few enough for the dots that there are: two in a cell."""
    across: list[float] = []
    up: list[float] = []
    dot = -1
    last = spectrum.rank - 1 if spectrum.rank is not None else len(spectrum.values) - 1
    for number, value in enumerate(spectrum.values[: last + 1]):
        at = frame.across(number + 1)
        here = floor(at * columns * 2)
        if here != dot or number == last:
            dot = here
            across.append(at)
            up.append(frame.up(value))
    return (across, up) if across else ([], [])


def _number_ticks(frame: Frame, columns: int) -> Ticks:
    """1 and the last number, and between them round ones as far as there is room."""
    last = round(10**frame.right) if frame.is_log else round(frame.right)
    numbers = [1]
    if frame.is_log:
        numbers += [10**power for power in range(1, len(str(last)))]
    else:
        step = 10 ** (len(str(last)) - 1)
        step = step // 2 if last < 3 * step and step > 1 else step
        numbers += [step * times for times in range(1, last // step + 1)]
    kept, end = [], -10
    final = len(f"{last:,}")
    for number in numbers:
        place = round(frame.across(number) * (columns - 1))
        room = place - len(f"{number:,}") // 2
        if room > end + 1 and place + len(f"{number:,}") // 2 < columns - final - 2 and number < last:
            kept.append(number)
            end = place + len(f"{number:,}") // 2
    kept.append(last)
    return [min(frame.across(number), 1.0) for number in kept], [f"{number:,}" for number in kept]


def _value_ticks(frame: Frame, rows: int) -> Ticks:
    if not frame.is_log:
        values = [0.0, frame.high / 2, frame.high] if rows >= 7 and rows % 2 else [0.0, frame.high]
        return [frame.up(value) for value in values], [text.number_within(value, LABEL) for value in values]
    low, high = 10**frame.low, 10**frame.high
    most = max(2, rows // 3)
    for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        shown = [
            step * 10.0**power
            for power in range(floor(frame.low), ceil(frame.high) + 1)
            for step in steps
            if low * 0.999 <= step * 10.0**power <= high * 1.001
        ]
        if len(shown) <= most:
            break
    if len(shown) > most:
        shown = shown[:: ceil(len(shown) / most)]
    if len(shown) < 2:
        shown = [low, high]
    return [frame.up(value) for value in shown], [text.number_within(value, LABEL) for value in shown]
