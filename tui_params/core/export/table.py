"""A table of plain values as CSV, Markdown or JSON. Numbers are written in full, and unknown ones as nothing."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import msgspec

from tui_params.core import text
from tui_params.core.export.contents import Contents, Piece

Value: TypeAlias = "str | int | float | bool | tuple[int, ...] | None"

_AT_ONCE = 500
"""Lines in a piece."""

_FORMULA = "=+-@'\t\r\n＝＋－＠"
"""What a text may not begin with: a spreadsheet would compute it (the apostrophe stands here so that none is lost)."""


class Table(msgspec.Struct, frozen=True, eq=False):
    """Rows under ``columns``. ``facts`` are about the whole table, and stand in JSON only, before and after the rows.

    ``closing`` and ``about`` are called when all rows were made.
    """

    columns: tuple[str, ...]
    rows: Iterable[tuple[Value, ...]]
    facts: Mapping[str, str | int | None] = {}
    closing: Callable[[], Mapping[str, int | None]] = dict
    about: Callable[[], str] = str


def table_of(table: Table, form: str) -> Contents:
    """The table as ``csv``, ``md`` or ``json``, in UTF-8."""
    lines = {"csv": _csv, "md": _markdown, "json": _json}[form](table)
    return Contents(_pieces(lines), None, table.about)


def _pieces(lines: Iterator[str]) -> Iterator[Piece]:
    held: list[str] = []
    for line in lines:
        held.append(line)
        if len(held) == _AT_ONCE:
            yield _encoded(held)
            held.clear()
    yield _encoded(held)


def _encoded(lines: list[str]) -> bytes:
    # A lone surrogate, which a name out of a file may hold, has no bytes in UTF-8: it is written as its escape.
    return "".join(lines).encode(errors="backslashreplace")


def _csv(table: Table) -> Iterator[str]:
    """As RFC 4180 has it, with every text in quotes; lines end with a line feed alone, as Unix tools expect.

    A text that begins with a sign of ``_FORMULA`` gets an apostrophe before it, so that a spreadsheet takes it for
    text; whoever wants the text itself removes one apostrophe from its start.
    """
    page = io.StringIO()
    writer = csv.writer(page, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow(list(map(csv_value, row)))
        yield _taken(page)
    yield _taken(page)


def _taken(page: io.StringIO) -> str:
    words = page.getvalue()
    page.seek(0)
    page.truncate()
    return words


def csv_value(value: Value) -> str | int | float:
    """A value as it stands in CSV."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return text.shape(value)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(tuple(_FORMULA)) else value
    return value


def _markdown(table: Table) -> Iterator[str]:
    """A table as GitHub shows it. Control characters are written as escapes, because a cell has one line."""
    yield f"| {' | '.join(map(text.markdown, table.columns))} |\n"
    yield f"|{' --- |' * len(table.columns)}\n"
    for row in table.rows:
        yield f"| {' | '.join(map(_markdown_value, row))} |\n"


def _markdown_value(value: Value) -> str:
    if isinstance(value, str):
        return text.markdown(value)
    return str(csv_value(value)) if not isinstance(value, tuple) else text.markdown(text.shape(value))


def _json(table: Table) -> Iterator[str]:
    """Strict JSON in ASCII: an object with the facts, the columns, and a list of objects with a key for each column."""
    head = {**table.facts, "columns": table.columns}
    yield f'{json.dumps(head)[:-1]}, "tensors": ['
    start = "\n"
    for row in table.rows:
        yield start + json.dumps(dict(zip(table.columns, map(_json_value, row), strict=True)), allow_nan=False)
        start = ",\n"
    tail = json.dumps(dict(table.closing()))[1:]
    yield f"\n], {tail}\n" if len(tail) > 1 else "\n]}\n"


def _json_value(value: Value) -> Value:
    """NaN and infinities, which JSON lacks, as the strings ``nan``, ``inf`` and ``-inf``."""
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value
