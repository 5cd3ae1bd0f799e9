"""Some values as text to paste: Python, CSV, or a table in Markdown. Every number has the digits that give it back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from tui_params.core.reading.value_text import Value

Snippet = Literal["python", "csv", "markdown"]
SNIPPETS: tuple[Snippet, ...] = ("python", "csv", "markdown")

Rows = Sequence[Sequence[Value]]


def snippet(rows: Rows, form: Snippet, row_labels: Sequence[str], column_labels: Sequence[str]) -> str:
    """The values in one of the forms; labels are written in Markdown only.

    Python has a list for each row, a plain list for one row, a plain number for one value. NaN and infinities are
    ``float("nan")`` there, and ``nan``, ``inf`` elsewhere.
    """
    if form == "python":
        texts = [f"[{', '.join(map(python_text, row))}]" for row in rows]
        if len(rows) == 1:
            return python_text(rows[0][0]) if len(rows[0]) == 1 else texts[0]
        return "[" + ",\n ".join(texts) + "]"
    if form == "csv":
        return "\n".join(",".join(map(csv_text, row)) for row in rows)
    lines = [markdown_row([label, *map(csv_text, row)]) for label, row in zip(row_labels, rows, strict=True)]
    return "\n".join([markdown_row(["", *column_labels]), markdown_rule(len(column_labels) + 1), *lines])


def markdown_row(cells: Sequence[str]) -> str:
    """A line of a table in Markdown; the cells hold nothing that means something there."""
    return "".join(["|", *(f" {cell} |" if cell else " |" for cell in cells)])


def markdown_rule(columns: int) -> str:
    """The line below the heading."""
    return "|" + " --- |" * columns


def csv_text(value: Value) -> str:
    """A value as it stands in CSV and in Markdown: ``0.5``, ``nan``, ``-inf``, ``1+2j``; bools are 1 and 0."""
    if isinstance(value, complex):
        return str(value).strip("()")
    return str(int(value)) if isinstance(value, bool) else repr(value)


def python_text(value: Value) -> str:
    """A value as an expression of Python."""
    if isinstance(value, complex):
        if math.isfinite(value.real) and math.isfinite(value.imag):
            return repr(value)
        return f"complex({python_text(value.real)}, {python_text(value.imag)})"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)
