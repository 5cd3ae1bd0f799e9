"""The lines of the lens Channels: which side, the curve over all channels, the list. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from rich.cells import cell_len, set_cell_size

from tui_params.core import text
from tui_params.core.vocabulary import Vocabulary
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.axes import LABEL, Axes, Ticks, curve_axes
from tui_params.tui.widgets.bars import Part, spread

if TYPE_CHECKING:
    from tui_params.core.numbers.profiles import ChannelLine, Curve, Mark, Measure, Order, Profile, Profiles, Ranking

TITLES: dict[Measure, str] = {
    "abs_max": "max |x|",
    "rms": "RMS",
    "mean": "mean",
    "zeros": "share of zeros",
    "nan": "share of NaN and Inf",
}

SHORT_TITLES: dict[Measure, str] = {"zeros": "zeros", "nan": "NaN, Inf"}

ORDER_WORDS: dict[Order, str] = {
    "worst": "worst first",
    "largest": "largest first",
    "smallest": "smallest first",
    "place": "by index",
}
SHORT_WORDS: dict[Order, str] = {"worst": "worst", "largest": "largest", "smallest": "least", "place": "by index"}

_MARK_WORDS: dict[Mark, str] = {"nan": "NaN", "dead": "dead", "outlier": "outlier", "faint": "faint"}
_MARK_STYLES: dict[Mark, str] = {"nan": "error", "dead": "warning", "outlier": "accent", "faint": "dim"}
_SIGNS: dict[Mark, str] = {"nan": "!", "dead": "o", "outlier": "^", "faint": "."}

_DIGITS = 4

_MARK_WIDTH = 10


class Drawn(msgspec.Struct, frozen=True):
    """A drawn curve of a ranking, and the mark below each column."""

    ranking: Ranking
    axes: Axes
    marks: tuple[Mark, ...]
    columns: int


class _Up(msgspec.Struct, frozen=True, gc=False):
    """The axis of the figure: from ``low`` to ``high``."""

    low: float
    high: float
    is_log: bool

    def share(self, value: float) -> float:
        """How far up a value lies; what has no logarithm lies at the bottom."""
        if not self.is_log:
            # Halves, so that no range overflows; the least numbers have none.
            whole = self.high - self.low
            return (
                (value - self.low) / whole
                if whole < 1e300
                else (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
            )
        span = math.log(self.high) - math.log(self.low)
        return max(0.0, (math.log(value) - math.log(self.low)) / span) if value > 0 else 0.0

    def ticks(self, rows: int) -> Ticks:
        values = [self.low, *([self.low / 2 + self.high / 2] if rows >= 5 and rows % 2 else []), self.high]
        if self.is_log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            step = max(1, math.ceil((last - first + 1) / max(1, rows // 2)))
            powers = [float(f"1e{power}") for power in range(first, last + 1, step)]
            values = powers if len(powers) > 1 else [self.low, self.high]
        return [self.share(value) for value in values], [text.number_within(value, LABEL) for value in values]


def _up(known: Sequence[float], *, is_log: bool) -> _Up:
    positive = [value for value in known if value > 0]
    if is_log and positive:
        low, high = min(positive), max(positive)
        return _Up(low, high, True) if low < high else _Up(max(low / 2, 5e-324), min(high * 2, 1.7e308), True)
    low, high = min([0.0, *known]), max([0.0, *known])
    return _Up(low, high, False) if low < high else _Up(0.0, 1.0, False)


def columns_for(width: int) -> int:
    """The columns of a curve in that width, beside the labels and the axis."""
    return max(8, width - LABEL - 3)


def drawn(ranking: Ranking, columns: int, rows: int, *, is_log: bool, glyphs: Glyphs) -> Drawn:
    """The curve of a ranking; takes about 10 ms."""
    curve = ranking.curve(2 * columns)
    up = _up([value for value in (*curve.lows, *curve.highs) if not math.isnan(value)], is_log=is_log)
    xs: list[float] = []
    ys: list[float] = []
    steps = len(curve.lows)
    for step, ends in enumerate(zip(curve.lows, curve.highs, strict=True)):
        for value in dict.fromkeys(ends):
            if not math.isnan(value):
                xs.append((step + 0.5) / steps)
                ys.append(up.share(value))
    axes = curve_axes(columns, rows, (xs, ys), _place_ticks(curve.count, columns), up.ticks(rows), glyphs)
    return Drawn(ranking, axes, _marks(curve, columns), columns)


def _marks(curve: Curve, columns: int) -> tuple[Mark, ...]:
    """The worst mark of the channels above each column."""
    order = list(_SIGNS)
    found: list[Mark] = [""] * columns
    steps = len(curve.marks)
    for step, mark in enumerate(curve.marks):
        at = min(int((step + 0.5) * columns / steps), columns - 1)
        if mark and (not found[at] or order.index(mark) < order.index(found[at])):
            found[at] = mark
    return tuple(found)


def _place_ticks(count: int, columns: int) -> Ticks:
    """Round places along the channels."""
    if count < 2:
        return (0.5,), ("0",)
    rough = count / max(1, columns // 14)
    power = 10 ** max(0, math.floor(math.log10(rough)))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    places = range(0, count, step)
    return [(place + 0.5) / count for place in places], [f"{place:,}" for place in places]


def side_line(profiles: Profiles, *, is_rows: bool, width: int) -> Line:
    """How many rows and columns there are, and what is marked on the side that is shown."""
    shown = profiles.rows if is_rows else profiles.columns
    line: Line = []
    for name, profile, is_here in (("rows", profiles.rows, is_rows), ("columns", profiles.columns, not is_rows)):
        if profile is not None:
            words = text.plural(profile.count, name[:-1])
            line += [(words, "tab" if is_here else "dim"), ("   ", "text")]
    if shown is not None:
        line += _mark_parts(shown)
    right: list[Part] = []
    if shown is not None and shown.limit is not None:
        right = [(f"outliers: beyond {text.number(shown.limit)}", "dim")]
    return spread(line, right if sum(len(part) for part, _ in line) + len(right) * 30 < width else [], width)


def _mark_parts(profile: Profile) -> list[Part]:
    parts: list[Part] = []
    for mark, count in profile.marked().items():
        what = "with NaN or Inf" if mark == "nan" else _MARK_WORDS[mark]
        if mark == "outlier" and count != 1:
            what = "outliers"
        parts += [(f"{_SIGNS[mark]} {count:,} {what}", _MARK_STYLES[mark]), ("   ", "text")]
    return parts or [("none stands out", "dim")]


def curve_lines(plot: Drawn, index: int, glyphs: Glyphs) -> list[Line]:
    """The curve, its axis with a pointer to the channel under the cursor, the marks, the labels."""
    lines: list[Line] = []
    for left, cells in zip(plot.axes.left, plot.axes.cells, strict=True):
        lines.append([(" ", "text"), (left, "dim"), (cells, "spark")])
    axis = plot.axes.below[0].ljust(LABEL + 1 + plot.columns)
    share = (plot.ranking.rank(index) + 0.5) / plot.ranking.profile.count
    at = LABEL + 1 + min(int(share * plot.columns), plot.columns - 1)
    if any(plot.marks):
        marks: Line = [(" " * (LABEL + 1) + ("|" if glyphs.is_ascii else "│"), "dim")]
        for mark in plot.marks:
            sign = (_SIGNS[mark], _MARK_STYLES[mark]) if mark else (" ", "text")
            if marks[-1][1] == sign[1]:
                marks[-1] = marks[-1][0] + sign[0], sign[1]
            else:
                marks.append(sign)
        lines.append(marks)
    lines.append([(f" {axis[:at]}", "dim"), (glyphs.ascending, "accent"), (axis[at + 1 :], "dim")])
    lines.append([(f" {plot.axes.below[1]}", "dim")])
    return lines


def list_heading(measure: Measure, *, is_rows: bool, has_tokens: bool, has_marks: bool, width: int) -> Line:
    """The heading of the list; that of the figure by which it is sorted stands out."""
    line: Line = [(f"   {'row' if is_rows else 'column':>9}  {' ' * _MARK_WIDTH if has_marks else ''}", "label")]
    if has_tokens:
        line.append((f"{'token':<{_token_width(width)}}", "label"))
    for name, title, cells in _columns(width, has_tokens=has_tokens, has_marks=has_marks):
        line += [(" " * (cells - len(title)), "label"), (title, "hit" if name == measure else "label")]
    return line


def list_lines(
    found: Sequence[ChannelLine],
    at: int,
    size: int,
    vocabulary: Vocabulary | None,
    glyphs: Glyphs,
    width: int,
    *,
    has_marks: bool,
) -> list[Line]:
    """A line for each channel; the one at place ``at`` is that of the cursor."""
    lines: list[Line] = []
    for place, channel in enumerate(found):
        mark = channel.mark
        pointer = glyphs.closed if place == at else " "
        line: Line = [(f" {pointer} {channel.index:>9,}  ", "text")]
        if mark:
            line.append((f"{_SIGNS[mark]} {_MARK_WORDS[mark]}".ljust(_MARK_WIDTH), _MARK_STYLES[mark]))
        elif has_marks:
            line.append((" " * _MARK_WIDTH, "text"))
        if vocabulary is not None:
            line.append(_token(vocabulary.text(channel.index), _token_width(width)))
        for name, _, cells in _columns(width, has_tokens=vocabulary is not None, has_marks=has_marks):
            words, style = _figure(channel, name, size)
            line.append((f"{words:>{cells}}", style))
        lines.append(line)
    return lines


def _token_width(width: int) -> int:
    return 14 if width < 80 else 20 if width < 110 else 28


def _token(words: str | None, room: int) -> Part:
    if words is None:
        return "(no token)".ljust(room), "dim"
    shown = text.clean(words)
    shown = f'"{text.shorten(shown, room - 4)}"'
    if cell_len(shown) > room - 1:
        shown = set_cell_size(shown, room - 1)
    return shown + " " * (room - cell_len(shown)), "text"


def _columns(width: int, *, has_tokens: bool, has_marks: bool) -> list[tuple[Measure, str, int]]:
    """The figures that have room, with their headings and widths."""
    room = width - 15 - (_MARK_WIDTH if has_marks else 0) - (_token_width(width) if has_tokens else 0)
    found: list[tuple[Measure, str, int]] = []
    wide = 12 if room >= 60 else 11
    for name, title in (("abs_max", "max |x|"), ("rms", "RMS"), ("mean", "mean"), ("zeros", "zeros"), ("nan", "NaN")):
        cells = wide if name in ("abs_max", "rms", "mean") else 9
        if room >= cells:
            found.append((name, title, cells))  # type: ignore[arg-type]
        room -= cells
    return found


def _figure(channel: ChannelLine, name: Measure, size: int) -> Part:
    if name == "zeros":
        return (text.percent(channel.zeros, size), "text") if channel.zeros else ("0", "dim")
    if name == "nan":
        bad = channel.nan + channel.inf
        return (f"{bad:,}", "error") if bad else ("0", "dim")
    value = {"abs_max": channel.abs_max, "rms": channel.rms, "mean": channel.mean}[name]
    return text.number(value, _DIGITS), "number" if value else "dim"
