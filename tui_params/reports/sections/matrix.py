"""The section of layers and kinds: which layer is unlike the others of its kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, inf, log
from statistics import median

import msgspec

from tui_params.core import text
from tui_params.core.layers.known import LOST, READ, Cell
from tui_params.core.layers.short_names import short_names
from tui_params.reports.html import Html, element, paragraph, section
from tui_params.reports.layers import Layers
from tui_params.reports.pictures.matrix import LEVELS, legend_picture, matrix_picture
from tui_params.reports.pictures.matrix import Cell as Drawn

MOST_CELLS = 4_000
"""Cells that all matrices of a page have together."""

_MOST_STACKS = 6
_LEAST_ROWS = 2
_LEAST_LIMIT, _MOST_LIMIT = 2.0, 100.0
_SHARE = 0.98
"""The colours reach so many of the values; the rest has the last colour."""

_LONGEST_NAME = 90
_LONGEST_COLUMN = 24


class Grid(msgspec.Struct, frozen=True):
    """One stack of layers: the numbers of its layers, its kinds, and the tensors of each cell by row and column."""

    stack: str
    rows: tuple[int, ...]
    kinds: tuple[int, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[int, int], list[int]]


def matrix(layers: Layers) -> Html | None:
    """The section; None for a source without layers."""
    grids = [grid for grid in grids_of(layers) if len(grid.rows) >= _LEAST_ROWS]
    if not grids:
        return None
    distances = _distances(layers)
    limit = _limit(distances)
    room = MOST_CELLS
    shown: list[Html] = []
    for grid in grids[:_MOST_STACKS]:
        part = _fitted(grid, room)
        if part is None:
            break
        room -= len(part.cells)
        drawn = _drawn(part, grid, layers, distances, limit)
        shown.append(drawn if shown else element("figure", legend_picture(exp(limit)), drawn))
    if len(shown) < len(grids):
        shown.append(
            paragraph(f"{text.plural(len(grids) - len(shown), 'more stack')} of layers, not shown", class_="dim")
        )
    note = paragraph(
        "The colour of a cell is its std divided by the median of its kind (and element type). Where there is no cell,"
        " there is no tensor."
        " A cell with several tensors, such as experts, has the colour of the one that is farthest from the median."
        " In the titles .b is a bias and .s a scale; the mouse shows whole names, and the values of cells."
    )
    return section("Layers and kinds", note, *shown, id_="matrix", note="coloured by std")


def grids_of(layers: Layers) -> Iterator[Grid]:
    """The stacks of layers: those with the most kinds first, then those with the most tensors."""
    table = layers.table
    by_stack: dict[str, list[int]] = {}
    for kind, stacked in enumerate(table.stacks):
        if stacked is not None:
            by_stack.setdefault(stacked.stack, []).append(kind)
    for stack, kinds in sorted(
        by_stack.items(), key=lambda item: (-len(item[1]), -sum(table.kinds[kind].count for kind in item[1]))
    ):
        rows = table.rows[stack]
        row_of = {number: at for at, number in enumerate(rows)}
        cells: dict[tuple[int, int], list[int]] = {}
        for column, kind in enumerate(kinds):
            stacked = table.stacks[kind]
            assert stacked is not None
            for number, at in zip(stacked.layers, table.members[kind].indices, strict=True):
                cells.setdefault((row_of[number], column), []).append(at)
        names = [table.kinds[kind].kind.removeprefix(f"{stack}.#").removeprefix(".") or "#" for kind in kinds]
        yield Grid(stack, rows, tuple(kinds), tuple(names), cells)


def _fitted(grid: Grid, room: int) -> Grid | None:
    """As many of the first rows and columns as there is room for; None if that is none."""
    rows = grid.rows[: room // 2]
    columns = min(len(grid.columns), room // max(len(rows), 1))
    if not rows or not columns:
        return None
    cells = {place: found for place, found in grid.cells.items() if place[0] < len(rows) and place[1] < columns}
    return Grid(grid.stack, rows, grid.kinds[:columns], grid.columns[:columns], cells)


def _drawn(part: Grid, whole: Grid, layers: Layers, distances: Sequence[float | None], limit: float) -> Html:
    cells = [_cell(place, found, part, layers, distances, limit) for place, found in sorted(part.cells.items())]
    whole_names = [text.clean(name, _LONGEST_NAME) for name in part.columns]
    columns = dict(zip(short_names(whole_names, _LONGEST_COLUMN), whole_names, strict=True))
    name = text.name(part.stack, _LONGEST_NAME)
    label = f"{name}: std of {text.plural(len(part.columns), 'kind')} in {text.plural(len(part.rows), 'layer')}"
    said = [element("h3", element("code", f"{name}.#"))]
    if len(part.rows) < len(whole.rows) or len(part.columns) < len(whole.columns):
        said.append(
            paragraph(
                f"the first {len(part.rows):,} of {text.plural(len(whole.rows), 'layer')} and the first "
                f"{len(part.columns):,} of {text.plural(len(whole.columns), 'kind')}",
                class_="dim",
            )
        )
    pictured = matrix_picture(part.rows, columns, cells, label)
    return element("div", *said, element("div", pictured, class_="wide"), class_="stack", data_stack=part.stack)


def _cell(
    place: tuple[int, int],
    found: Sequence[int],
    grid: Grid,
    layers: Layers,
    distances: Sequence[float | None],
    limit: float,
) -> Drawn:
    row, column = place
    read = [layers.std.cell(at) for at in found]
    values = [cell.value for cell in read if cell.value is not None]
    name = text.name(layers.table.tensors[found[0]].name, _LONGEST_NAME)
    if len(found) > 1:
        name = f"layer {grid.rows[row]}, {text.clean(grid.columns[column], _LONGEST_NAME)}, {len(found):,} tensors"
    low, high = min(values, default=None), max(values, default=None)
    state, remark = _state(read)
    far = max((far for at in found if (far := distances[at]) is not None), key=abs, default=None)
    level = None
    if state == "value" and far is not None:
        share = max(-1.0, min(far / limit, 1.0))
        level = round((share + 1) / 2 * (LEVELS - 1))
    return Drawn(
        row, column, f"{name}: {_values(low, high)}{remark}", level, state if level is None else "value", low, high
    )


def _state(read: Sequence[Cell]) -> tuple[str, str]:
    """What a cell shows, and what is said of it: the worst of its tensors."""
    bad, lost = sum(cell.flags > 0 for cell in read), sum(cell.state == LOST for cell in read)
    of = f" in {bad:,} of them" if len(read) > 1 else ""
    remark = f"; NaN or Inf{of}" if bad else ""
    if lost:
        remark += f"; {lost:,} not read" if len(read) > 1 else "; not read"
    if bad:
        return "bad", remark
    if lost:
        return "lost", remark
    return ("value" if any(cell.state == READ and cell.value is not None for cell in read) else "none"), remark


def _values(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "no std"
    return f"std {text.number(low)}" if low == high else f"std {text.number(low)} to {text.number(high)}"


def _distances(layers: Layers) -> list[float | None]:
    """How far the std of each tensor is from the median of its kind: the logarithm of the quotient.

    Tensors of one kind and of different element types have medians of their own: a float8 weight is stored scaled.
    """
    tensors = layers.table.tensors
    found: list[float | None] = [None] * len(tensors)
    for members in layers.table.members:
        by_type: dict[str, list[tuple[int, float]]] = {}
        for at in members.indices:
            value = layers.std.cell(at).value
            if value is not None:
                by_type.setdefault(tensors[at].dtype.name, []).append((at, value))
        for some in by_type.values():
            usual = median(value for _, value in some)
            for at, value in some:
                found[at] = _distance(value, usual)
    return found


def _distance(value: float, usual: float) -> float:
    if value == usual:
        return 0.0
    if not value or not usual:
        return inf if value else -inf
    return log(value) - log(usual)


def _limit(distances: Sequence[float | None]) -> float:
    sizes = sorted(abs(far) for far in distances if far is not None and abs(far) < inf)
    far = sizes[int(_SHARE * (len(sizes) - 1))] if sizes else 0.0
    return max(log(_LEAST_LIMIT), min(far, log(_MOST_LIMIT)))
