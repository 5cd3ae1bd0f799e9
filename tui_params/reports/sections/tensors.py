"""The section of single tensors: the largest, with their statistics."""

from __future__ import annotations

from heapq import nlargest

from tui_params.core import text
from tui_params.core.tensor import TensorInfo
from tui_params.reports.facts import Checked
from tui_params.reports.html import Html, element, named, number_cell, number_head, section, table

MOST = 500
"""Tensors that are listed; of more, the largest."""

_LONGEST_NAME = 160


def tensors(checked: Checked) -> Html | None:
    """The list, folded away until it is asked for; None for a source without tensors."""
    every = checked.tensors
    if not every:
        return None
    # The order of the tree among those of the same size.
    shown = nlargest(MOST, every, key=lambda info: info.nbytes)
    all_of_them = f"all {len(every):,}" if len(every) > 1 else "the only one"
    note = all_of_them if len(shown) == len(every) else f"the {MOST} largest of {len(every):,}"
    head = [
        element("th", "Name"),
        element("th", "Shape"),
        element("th", "Type"),
        *map(number_head, ("Bytes", "mean", "std", "min", "max", "zeros", "NaN, Inf")),
    ]
    listed = table(head, (_row(info, checked) for info in shown))
    summary = element("summary", f"Statistics of {note}, the largest first")
    return section("Tensors", element("details", summary, listed), id_="tensors", note=note)


def _row(info: TensorInfo, checked: Checked) -> Html:
    figures = checked.figures.get(info.name)
    cells = [
        named(text.name(info.name, _LONGEST_NAME)),
        element("td", text.shorten(text.short_shape(info.shape), 40), class_="nowrap"),
        element("td", text.clean(info.dtype.short, 20)),
        number_cell(text.size(info.nbytes), info.nbytes, "data-nbytes"),
    ]
    if figures is None:
        cells.append(element("td", "not read", colspan=6, class_="error"))
    else:
        cells += [
            number_cell(text.number(value, 3), value, f"data-{name}")
            for name, value in (
                ("mean", figures.mean),
                ("std", figures.std),
                ("min", figures.min),
                ("max", figures.max),
            )
        ]
        broken = figures.non_finite
        cells.append(number_cell(text.percent(figures.zeros, figures.count), figures.zeros, "data-zeros"))
        cells.append(element("td", f"{broken:,}", class_="n error" if broken else "n", data_nan=figures.nan))
    return element("tr", *cells, data_name=info.name)
