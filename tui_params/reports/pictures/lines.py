"""Lines over the steps of a run, with the true numbers of the steps on their axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil, floor, log10

import msgspec

from tui_params.core import text
from tui_params.reports.html import Html, element
from tui_params.reports.pictures.svg import boxes, picture, short, titled, words

_WIDTH, _HEIGHT = 900.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 16.0, 26.0, 34.0
_LOGARITHMIC_FROM = 20.0
_MOST_LABELS = 16
_LETTER = 6.6
_DOT = 2.6
_MOST_DOTS = 100
"""Steps up to which each has a dot on a line."""


class Axis(msgspec.Struct, frozen=True):
    """The steps as they are placed: ``places`` from 0 to 1; ``is_true``: in proportion to the numbers of the steps."""

    names: tuple[str, ...]
    places: tuple[float, ...]
    is_true: bool


class Line(msgspec.Struct, frozen=True):
    """One value at each step; None where there is none. ``broken`` are the steps with NaN or infinities."""

    name: str
    values: tuple[float | None, ...]
    broken: tuple[bool, ...]


def axis_of(names: Sequence[str], numbers: Sequence[int | None], *, is_rising: bool) -> Axis:
    """The steps at their numbers, if each has one and they rise; else one beside the other."""
    known = [number for number in numbers if number is not None]
    if is_rising and len(known) == len(names) and len(names) > 1:
        low, span = known[0], known[-1] - known[0]
        return Axis(tuple(names), tuple((number - low) / span for number in known), True)
    return Axis(tuple(names), tuple(at / max(len(names) - 1, 1) for at in range(len(names))), False)


def lines_picture(axis: Axis, lines: Sequence[Line], lost: Sequence[bool], first_broken: int | None) -> Html:
    """The lines with a dot for each step, the steps that could not be read, and the first step with NaN."""
    known = [value for line in lines for value in line.values if value is not None]
    low, high = min(known, default=1.0), max(known, default=1.0)
    is_logarithmic = low > 0 and high / low > _LOGARITHMIC_FROM
    scale = _Scale(low, high, is_logarithmic=is_logarithmic)
    parts = [*_grid(scale), *_labels(axis), *_steps(axis, lost, first_broken)]
    for number, line in enumerate(lines):
        parts += _line(axis, scale, line, number)
    label = f"Norms of {text.plural(len(lines), 'tensor')} over {text.plural(len(axis.names), 'step')}"
    return picture(_WIDTH, _HEIGHT, *parts, label=label, class_="lines")


class _Scale:
    """Where a value is on the vertical axis."""

    def __init__(self, low: float, high: float, *, is_logarithmic: bool) -> None:
        self.is_logarithmic = is_logarithmic
        low, high = (log10(low), log10(high)) if is_logarithmic else (low, high)
        room = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
        self.low, self.high = low - room, high + room

    def y(self, value: float) -> float:
        at = log10(value) if self.is_logarithmic else value
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (self.high - at) / (self.high - self.low)

    def words(self, value: float) -> str:
        """A value on the axis, with as many digits as tell it from the next one."""
        if self.is_logarithmic:
            return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-") if not 1e-3 < value < 1e4 else f"{value:g}"
        return f"{value:.{min(max(0, -floor(log10(self._step()))), 9)}f}"

    def _step(self) -> float:
        rough = (self.high - self.low) / 5
        power = 10.0 ** floor(log10(rough))
        return float(next(times * power for times in (1, 2, 5, 10) if times * power >= rough))

    def ticks(self) -> list[float]:
        """Round values on the axis."""
        if self.is_logarithmic:
            powers = range(ceil(self.low), floor(self.high) + 1, max(1, ceil((self.high - self.low) / 6)))
            return [10.0**power for power in powers]
        step = self._step()
        first = ceil(self.low / step)
        return [number * step for number in range(first, floor(self.high / step) + 1)]


def _x(axis: Axis, at: int) -> float:
    return _LEFT + 8 + (_WIDTH - _LEFT - _RIGHT - 16) * axis.places[at]


def _grid(scale: _Scale) -> Iterator[Html]:
    for value in scale.ticks():
        y = scale.y(value)
        yield element("path", d=f"M{short(_LEFT)} {short(y)}H{short(_WIDTH - _RIGHT)}", class_="grid")
        yield words(scale.words(value), _LEFT - 6, y + 4, anchor="end", class_="row")


def _labels(axis: Axis) -> Iterator[Html]:
    """The names of the steps, as many as fit without touching."""
    beyond = 0.0
    room = max(len(axis.names) / _MOST_LABELS, 1)
    for at, name in enumerate(axis.names):
        shown = text.shorten_name(name, 12)
        half = _LETTER * len(shown) / 2 + 4
        x = _x(axis, at)
        yield element("path", d=f"M{short(x)} {short(_HEIGHT - _BOTTOM)}v4", class_="axis")
        if x - half >= beyond and (room == 1 or at % round(room) == 0 or at == len(axis.names) - 1):
            beyond = x + half
            yield words(shown, min(x, _WIDTH - half), _HEIGHT - _BOTTOM + 18, anchor="middle", class_="row")


def _steps(axis: Axis, lost: Sequence[bool], first_broken: int | None) -> Iterator[Html]:
    tall = _HEIGHT - _TOP - _BOTTOM
    for at, is_lost in enumerate(lost):
        if is_lost:
            shape = boxes([(_x(axis, at) - 5, _TOP, 10, tall)])
            yield titled(shape, f"step {axis.names[at]} could not be opened", "lost")
    if first_broken is not None:
        x = _x(axis, first_broken)
        yield element("path", d=f"M{short(x)} {short(_TOP)}v{short(tall)}", class_="first")
        name = f"first NaN or Inf: {text.shorten_name(axis.names[first_broken], 40)}"
        is_right = x > _WIDTH / 2
        yield words(
            name, x + (4 if not is_right else -4), _TOP - 8, anchor="end" if is_right else "start", class_="first"
        )


def _line(axis: Axis, scale: _Scale, line: Line, number: int) -> Iterator[Html]:
    class_ = f"c{number}"
    # A value of zero or less has no place on a logarithmic axis.
    points = [
        (_x(axis, at), scale.y(value)) if value is not None and not (scale.is_logarithmic and value <= 0) else None
        for at, value in enumerate(line.values)
    ]
    data = ""
    for before, point in pairwise([None, *points]):
        if point is not None:
            data += f"{'M' if before is None else 'L'}{short(point[0])} {short(point[1])}"
    yield titled(data, line.name, f"line {class_}") if data else Html("")
    for at, point in enumerate(points):
        if point is None:
            continue
        x, y = point
        title = f"{line.name}, step {axis.names[at]}: {text.number(line.values[at])}"
        if line.broken[at]:
            cross = f"M{short(x - 4)} {short(y - 4)}l8 8m0 -8l-8 8"
            yield titled(cross, f"{title}, beside NaN or Inf", "cross")
        elif len(points) <= _MOST_DOTS:
            yield element("circle", element("title", title), cx=short(x), cy=short(y), r=_DOT, class_=class_)


_SMALL_WIDTH, _SMALL_HEIGHT = 140.0, 22.0
_MOST_BARS = 70


def changes_picture(axis: Axis, changes: Sequence[float | None], broken: Sequence[bool], label: str) -> Html:
    """The change since the step before as bars, each at its step; a step with NaN or infinities has a mark below.

    Of steps that share a bar, the largest change counts.
    """
    top = max((change for change in changes if change), default=0.0)
    wide = max(1.6, min(8.0, (_SMALL_WIDTH - 8) / max(len(changes), 1) - 1))
    highest: dict[float, float] = {}
    spoilt: set[float] = set()
    for place, change, is_broken in zip(axis.places, changes, broken, strict=True):
        x = (_SMALL_WIDTH - wide) * round(place * _MOST_BARS) / _MOST_BARS
        highest[x] = max(highest.get(x, 0.0), change or 0.0)
        if is_broken:
            spoilt.add(x)
    heights = {x: max(1.0, (_SMALL_HEIGHT - 4) * change / top) for x, change in highest.items() if change}
    bars = [(x, _SMALL_HEIGHT - 4 - height, wide, height) for x, height in heights.items()]
    marks = [(x, _SMALL_HEIGHT - 3, wide, 3.0) for x in sorted(spoilt)]
    parts = [element("title", label), element("path", d=boxes(bars), class_="bar")]
    if marks:
        parts.append(element("path", d=boxes(marks), class_="bad"))
    return picture(_SMALL_WIDTH, _SMALL_HEIGHT, *parts, label=label, class_="strip")
