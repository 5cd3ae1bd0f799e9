"""The lens Spectrum as lines: the figures, the list of values, the curve beside them. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tui_params.core import text
from tui_params.core.numbers.spectrum.spectrum import Pooled, PowerLaw, Spectrum
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.axes import LABEL
from tui_params.tui.widgets.canvas import cut_line, line_width
from tui_params.tui.widgets.lenses.spectrum_curve import Curve, curve_lines

SIDE = 33
"""The cells of the column of figures beside the curve."""

BESIDE = 76
"""From this width on the figures stand beside the curve, else above it."""

_PAIRS = 56
"""From this width on there is room for two figures in a line."""

_NAME = 15


class View(msgspec.Struct, frozen=True):
    """What the lens shows: ``said`` is what the values are and what is being done, the longest wording first.

    ``shares`` are those of ``Spectrum.shares``; ``at`` is the place in the list, from 0.
    """

    spectrum: Spectrum
    shares: tuple[float, ...]
    curve: Curve | None
    at: int
    said: tuple[str, ...]
    said_ink: str
    glyphs: Glyphs


class Room(msgspec.Struct, frozen=True):
    """How the cells of the lens are shared out: those of the curve, and whether the figures are beside it."""

    columns: int
    rows: int
    is_beside: bool


def room_of(width: int, height: int, figures: int) -> Room:
    """The room for the curve; ``figures`` is the number of figures that are shown."""
    if width >= BESIDE:
        return Room(max(8, width - SIDE - LABEL - 4), max(2, height - 4), True)
    above = _figure_rows(width, height, figures)
    return Room(max(8, width - LABEL - 3), max(2, height - above - 4), False)


def _figure_rows(width: int, height: int, figures: int) -> int:
    """Lines of figures above the curve, which keeps some of its own."""
    return min(figures if width < _PAIRS else -(-figures // 2), max(1, height - 8))


def spectrum_lines(view: View, width: int, height: int) -> list[Line]:
    """The whole lens."""
    figures = figure_cells(view.spectrum, view.glyphs)
    room = room_of(width, height, len(figures))
    words = next((words for words in view.said if len(words) <= width - 2), text.shorten(view.said[-1], width - 2))
    said: Line = [(f" {words}", view.said_ink)]
    curve = curve_lines(view.curve, view.spectrum, view.at, view.glyphs) if view.curve is not None else []
    curve = [[(" ", "text"), *line] for line in curve]
    curve += [[] for _ in range(room.rows + 2 - len(curve))]
    here = here_line(view, width if not room.is_beside else width - SIDE - 2)
    if not room.is_beside:
        return [said, *_pairs(figures, width, _figure_rows(width, height, len(figures))), *curve, here]
    side: list[Line] = [[(name.ljust(_NAME), "dim"), *value] for name, value in figures]
    side = [[], *side, [], *value_list(view, max(0, height - len(side) - 3))]
    left = [*curve, here]
    lines: list[Line] = [said]
    for row in range(height - 1):
        first = cut_line(left[row] if row < len(left) else [], width - SIDE - 1)
        lines.append([*first, *cut_line(side[row] if row < len(side) else [], SIDE + 1)])
    return lines


def figure_cells(spectrum: Spectrum, glyphs: Glyphs) -> list[tuple[str, Line]]:
    """The figures, each with its name; those that need all values are not known in a picture."""
    unknown: Line = [(glyphs.unknown, "dim")]
    at_least = ">= " if glyphs.is_ascii else "≥ "
    first = spectrum.residuals[0] if spectrum.residuals else 0.0
    cells: list[tuple[str, Line]] = [
        ("spectral norm", _measured(spectrum.norm, first, glyphs)),
        ("Frobenius norm", [(text.number(spectrum.frobenius), "number")]),
        ("stable rank", [(text.number(spectrum.stable_rank), "number")]),
    ]
    if spectrum.rank is None:
        cells += [(name, unknown) for name in ("rank", "participation", "entropy rank", "condition", "alpha")]
        return cells
    rank = text.integer(spectrum.rank)
    full = spectrum.rank == spectrum.count
    condition = text.number(spectrum.condition, 3)
    cells.append(
        ("rank", [(f"{rank}, full" if full else f"{rank} of {spectrum.count:,}", "number" if full else "warning")])
    )
    if spectrum.stored_rank is not None and spectrum.stored_rank < spectrum.rank:
        cells.append((f"  {spectrum.stored_rank:,} above its own rounding", []))
    cells += [
        ("participation", [(text.number(spectrum.participation), "number")]),
        ("entropy rank", [(text.number(spectrum.entropy_rank), "number")]),
        ("condition", [(f"{at_least}{condition}" if spectrum.is_least_condition else condition, "number")]),
        ("alpha", _alpha(spectrum.power_law, glyphs)),
    ]
    law = spectrum.power_law
    if law is not None:
        whole = "" if law.used == law.count else f" (of {law.count:,})"
        cells.append((f"  tail {law.tail:,} of {law.used:,}{whole} used", []))
    elif spectrum.no_power_law:
        cells.append((f"  {text.shorten(spectrum.no_power_law, SIDE - 3)}", []))
    if spectrum.pooled is not None:
        cells += _pooled(spectrum.pooled, glyphs)
    return cells


def _alpha(law: PowerLaw | None, glyphs: Glyphs) -> Line:
    if law is None:
        return [("–", "dim")]
    return [(text.number(law.alpha, 3), "number"), (f" {_within(glyphs)}{text.number(law.sigma, 2)}", "dim")]


def _pooled(pooled: Pooled, glyphs: Glyphs) -> list[tuple[str, Line]]:
    """The second opinion: weightwatcher's own, which takes a convolution apart."""
    alpha = _alpha(pooled.power_law, glyphs)
    return [
        ("weightwatcher", [("alpha ", "dim"), *alpha]),
        (f"  stable rank {text.number(pooled.stable_rank)}, {pooled.slices:,} slices", []),
    ]


def _within(glyphs: Glyphs) -> str:
    return "+-" if glyphs.is_ascii else "±"


def _measured(value: float, residual: float, glyphs: Glyphs) -> Line:
    """A value with no more digits than its residual leaves, and the residual."""
    if not residual:
        return [(text.number(value), "number")]
    return [(value_text(value), "number"), (f" {_within(glyphs)}{text.number(residual, 1)}", "dim")]


def _pairs(figures: Sequence[tuple[str, Line]], width: int, height: int) -> list[Line]:
    """The figures in two columns, to be read down; in a narrow terminal in one. The last ones may not fit."""
    room = width // 2 if width >= _PAIRS else width
    lines: list[Line] = []
    for row in range(height):
        line: Line = []
        for place in range(row, min(len(figures), height * (width // room)), height):
            name, value = figures[place]
            cell: Line = [(" " if place < height else "", "text"), (name.ljust(_NAME), "dim"), *value]
            while len(cell) > 3 and line_width(cell) > room:
                cell.pop()  # a residual, rather than a part of it
            line += cut_line(cell, room)
        lines.append(line)
    return lines


def value_list(view: View, height: int) -> list[Line]:
    """The values around the cursor, with their residuals in a picture, else with the share of the first ones."""
    spectrum, width = view.spectrum, len(str(len(view.spectrum.values)))
    if height < 2 or not spectrum.values:
        return []
    title = "within" if spectrum.residuals else ("sum s^2" if view.glyphs.is_ascii else "Σ s²").rjust(10)
    lines: list[Line] = [[("#".rjust(width + 1), "dim"), ("  value     ", "dim"), (title, "dim")]]
    rows = height - 1
    first = max(0, min(view.at - rows // 2, len(spectrum.values) - rows))
    for place in range(first, min(first + rows, len(spectrum.values))):
        value = spectrum.values[place]
        is_lost = spectrum.rank is not None and place >= spectrum.rank
        shown = _floor_words(spectrum, view.glyphs) if is_lost else value_text(value)
        beside = (
            f"{_within(view.glyphs)}{text.number(spectrum.residuals[place], 2)}"
            if spectrum.residuals
            else f"{_share(view.shares[place], place + 1 == len(spectrum.values)):>10} %"
        )
        mark = view.glyphs.closed if place == view.at else " "
        lines.append(
            [
                (f"{mark}{place + 1:>{width}}", "title" if place == view.at else "dim"),
                (f"  {shown:<10}", "warning" if is_lost else "title" if place == view.at else "number"),
                (beside, "dim"),
            ]
        )
    return lines


def _share(share: float, is_all: bool) -> str:
    """A share in percent, which is 100 for all values only."""
    words = f"{100 * share:.2f}"
    return words if is_all or words != "100.00" else ">99.99"


def value_text(value: float) -> str:
    """A value with four digits, also where they are zeros, so that those of a list stand below each other."""
    return f"{value:#.4g}".removesuffix(".") if 1e-3 <= value < 9999.5 else text.number(value)


def _floor_words(spectrum: Spectrum, glyphs: Glyphs) -> str:
    return f"{'<=' if glyphs.is_ascii else '≤'} {text.number(spectrum.floor, 2)}"


def here_line(view: View, width: int) -> Line:
    """The value at the cursor in words."""
    spectrum, at = view.spectrum, view.at
    if at >= len(spectrum.values):
        return []
    is_lost = spectrum.rank is not None and at >= spectrum.rank
    shown = _floor_words(spectrum, view.glyphs) if is_lost else value_text(spectrum.values[at])
    line: Line = [(f" s{at + 1:,}", "label"), (" " if is_lost else " = ", "dim"), (shown, "number")]
    if spectrum.residuals:
        line.append((f" {_within(view.glyphs)}{text.number(spectrum.residuals[at], 2)}", "dim"))
    first = "it has" if not at else f"the first {at + 1:,} have"
    share = f"   {first} {_share(view.shares[at], at + 1 == len(spectrum.values))} % of the sum of squares"
    if sum(len(part) for part, _ in line) + len(share) <= width:
        line.append((share, "dim"))
    return line
