"""The section of kinds: the tensors whose names differ in numbers only, a row each."""

from __future__ import annotations

from collections.abc import Iterator

from tui_params.core import text
from tui_params.core.kinds import KindGroup
from tui_params.core.layers.known import LOST, Column, positions
from tui_params.core.layers.odd import told
from tui_params.core.layers.statistics import Statistic
from tui_params.core.layers.strip import strip_of
from tui_params.reports.html import Html, element, join, named, number_cell, number_head, paragraph, section, table
from tui_params.reports.layers import ABS_MAX, STD, Layers
from tui_params.reports.pictures.strip import strip_picture

MOST = 300
"""Kinds that have a row; of more, the largest."""

_LONGEST_NAME = 160
_WIDEST_STRIP = 48
_MOST_ODD = 3


def kinds(layers: Layers) -> Html:
    """The kinds in the order of the tree."""
    table_of = layers.table
    order = sorted(range(len(table_of.kinds)), key=lambda kind: -table_of.kinds[kind].numel)
    shown = sorted(order[:MOST])
    note = text.plural(len(table_of.kinds), "kind")
    if len(shown) < len(table_of.kinds):
        note = f"the {MOST} largest of {note}"
    head = [
        element("th", "Kind"),
        number_head("Tensors"),
        element("th", "Shape"),
        element("th", "Type"),
        number_head("Parameters"),
        number_head("std"),
        number_head("max |x|"),
        element("th", "std over the layers"),
    ]
    explained = paragraph(
        "Names that differ in numbers only share a row, with # in place of each number. Two numbers are the least and"
        " the greatest of the kind. Each bar is a layer, and the highest bar of a row is its greatest std.",
    )
    return section("Kinds", explained, table(head, (_row(layers, kind) for kind in shown)), id_="kinds", note=note)


def _row(layers: Layers, kind: int) -> Html:
    group = layers.table.kinds[kind]
    name = group.kind if group.count > 1 else layers.table.tensors[group.indices[0]].name
    is_tied = all(layers.table.tensors[at].tied_to is not None for at in group.indices)
    std = layers.std_of(kind)
    return element(
        "tr",
        named(text.name(name, _LONGEST_NAME)),
        number_cell(f"{group.count:,}", group.count, "data-count"),
        element("td", _shape(group), class_="nowrap"),
        element("td", text.clean(" ".join(dtype.short for dtype in group.dtypes[:3]), 40)),
        number_cell(f"{group.numel:,}" if group.numel or not is_tied else "tied", group.numel, "data-numel"),
        _range(layers, kind, STD),
        _range(layers, kind, ABS_MAX),
        element("td", _strip(layers, kind, std), *_remarks(layers, kind, std)),
        data_kind=group.kind,
        data_nbytes=group.nbytes,
    )


def _shape(group: KindGroup) -> str:
    return text.shorten(group.shape_in(text.short_shape), 40)


def _range(layers: Layers, kind: int, statistic: Statistic) -> Html:
    """The least and the greatest value of a kind."""
    found = layers.range_of(kind, statistic)
    if found is None:
        return number_cell("–")
    low, high = found
    least, greatest = text.number(low, 3), text.number(high, 3)
    shown = least if least == greatest else f"{least} – {greatest}"
    return number_cell(shown, data_statistic=statistic.name, data_low=low, data_high=high)


def _strip(layers: Layers, kind: int, column: Column) -> Html | None:
    stacked = layers.table.stacks[kind]
    if stacked is None or layers.table.kinds[kind].count < 2:
        return None
    rows = layers.table.rows[stacked.stack]
    strip = strip_of(column, layers.usual[kind], rows, positions(stacked.layers), _WIDEST_STRIP)
    return strip_picture(strip, f"std over the layers {rows[0]:,} to {rows[-1]:,}")


def _remarks(layers: Layers, kind: int, column: Column) -> Iterator[Html]:
    """What stands out, and what could not be read."""
    usual = layers.usual[kind]
    words = told(usual, STD, lambda place: layers.table.label(kind, place), _MOST_ODD)
    flagged = any(odd.flags for odd in usual.odd)
    if words:
        is_alone = layers.table.kinds[kind].count == 1
        said = [word.removeprefix("it: ") for word in words] if is_alone else words
        yield element("div", join(said, "; "), class_="error" if flagged else "warning")
    lost = int((column.states == LOST).sum())
    if lost:
        of = f"{lost:,} of {column.states.size:,}" if column.states.size > 1 else "it"
        yield element("div", f"{of} could not be read", class_="error")
