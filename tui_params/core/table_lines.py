"""A bounded table of tensors as text and as HTML: the first and the last rows, and how many are between them.

Names come from files, so control characters are written out and HTML is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from unicodedata import combining, east_asian_width

from tui_params.core import text
from tui_params.core.tensor import TensorInfo

FIRST, LAST = 20, 10
"""Rows at the beginning and at the end of a longer table."""

_LONGEST = 300
_NARROWEST_NAME = 16
_NARROWEST_NOTE = 12
_RIGHT = frozenset({"numel", "size"})


def shown_rows(tensors: Sequence[TensorInfo]) -> tuple[Sequence[TensorInfo], int, Sequence[TensorInfo]]:
    """The first rows, how many are left out, and the last rows."""
    if len(tensors) <= FIRST + LAST:
        return tensors, 0, ()
    return tensors[:FIRST], len(tensors) - FIRST - LAST, tensors[-LAST:]


def _columns(tensors: Sequence[TensorInfo]) -> dict[str, list[str]]:
    """Every cell of some rows by the title of its column; columns in which nothing would be said are left out."""
    columns = {
        "name": [text.name(info.name, _LONGEST) for info in tensors],
        "shape": [text.clean(text.shape(info.shape), _LONGEST) for info in tensors],
        "dtype": [text.clean(info.dtype.short, 40) for info in tensors],
        "numel": [text.numel(info.numel) for info in tensors],
        "size": [text.size(info.nbytes) for info in tensors],
        "requires_grad": [_requires_grad(info) for info in tensors],
        "note": [_note(info) for info in tensors],
    }
    return {title: cells for title, cells in columns.items() if title == "name" or any(cells)}


def _requires_grad(info: TensorInfo) -> str:
    # The tensors of a state dict are detached, so for them it says nothing about training.
    return str(info.requires_grad) if info.kind == "parameter" and info.requires_grad is not None else ""


def _note(info: TensorInfo) -> str:
    if info.unreadable:
        return f"! {text.clean(info.unreadable, _LONGEST)}"
    return "" if info.tied_to is None else f"= {text.name(info.tied_to, _LONGEST)}"


def table_lines(tensors: Sequence[TensorInfo], width: int) -> Iterator[str]:
    """The title line and the rows, none wider than ``width`` cells.

    Notes are cut first, down to their mark (``=`` is tied, ``!`` cannot be read), then names, which keep their first
    number and their end; where that does not do, columns are left out from the right.
    """
    head, hidden, tail = shown_rows(tensors)
    columns = _columns([*head, *tail])
    widths = {title: max(_cells(title), *map(_cells, cells), 0) for title, cells in columns.items()}

    def excess() -> int:
        return sum(widths.values()) + 2 * (len(widths) - 1) - width

    if "note" in widths and excess() > 0:
        widths["note"] -= excess()
        if widths["note"] < _NARROWEST_NOTE:
            widths["note"] = len("note")
            columns["note"] = [cell[:1] for cell in columns["note"]]
    if excess() > 0:
        widths["name"] = max(widths["name"] - excess(), min(widths["name"], _NARROWEST_NAME))
    while excess() > 0 and len(widths) > 1:
        widths.popitem()
    widths["name"] = max(1, widths["name"] - max(excess(), 0))
    yield _line({title: title for title in widths}, widths)
    for number in range(len(head) + len(tail)):
        if hidden and number == len(head):
            yield _fit(more(hidden), width, is_name=False)
        yield _line({title: columns[title][number] for title in widths}, widths)


def more(hidden: int) -> str:
    """What stands in the place of rows that are left out."""
    return f"… {hidden:,} more"


def _line(cells: dict[str, str], widths: dict[str, int]) -> str:
    parts = []
    for title, width in widths.items():
        cell = _fit(cells[title], width, is_name=title == "name")
        blank = " " * (width - _cells(cell))
        parts.append(blank + cell if title in _RIGHT else cell + blank)
    return "  ".join(parts).rstrip()


def _fit(cell: str, width: int, *, is_name: bool) -> str:
    """The cell in at most ``width`` cells of a terminal."""
    shorten = text.abbreviate if is_name else text.shorten
    limit = width
    shown = shorten(cell, limit)
    while _cells(shown) > width and limit > 0:
        limit -= 1  # wide characters take two
        shown = shorten(cell, limit)
    return shown


def _cells(words: str) -> int:
    """Cells of a terminal that a text takes: two for each wide character, none for an accent."""
    if words.isascii():
        return len(words)
    return sum(0 if combining(letter) else 1 + (east_asian_width(letter) in "WF") for letter in words)


def table_html(tensors: Sequence[TensorInfo]) -> str:
    """The table as an HTML fragment for a notebook. Nothing in it is live: no script, no style sheet, no math."""
    from html import escape

    head, hidden, tail = shown_rows(tensors)
    columns = _columns([*head, *tail])
    align = {
        title: ' style="text-align: right"' if title in _RIGHT else ' style="text-align: left"' for title in columns
    }
    parts = ["<thead><tr>", *(f"<th{align[title]}>{title}</th>" for title in columns), "</tr></thead>", "<tbody>"]
    for number in range(len(head) + len(tail)):
        if hidden and number == len(head):
            parts.append(f'<tr><td colspan="{len(columns)}" style="text-align: left">{more(hidden)}</td></tr>')
        cells = (f"<td{align[title]}>{escape(cells[number])}</td>" for title, cells in columns.items())
        parts.append(f"<tr>{''.join(cells)}</tr>")
    # The classes keep MathJax from reading formulas between dollar signs of names.
    return f'<table class="tex2jax_ignore mathjax_ignore">{"".join(parts)}</tbody></table>'
