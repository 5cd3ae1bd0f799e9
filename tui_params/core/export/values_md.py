"""The values of a vector, a matrix or a slice of two dimensions as a table in Markdown, with their indices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tui_params.core.export.contents import Contents, Piece, quantised_words
from tui_params.core.export.snippets import csv_text, markdown_row, markdown_rule
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import plural
from tui_params.core.window import Window, plane
from tui_params.errors import ReadError, WriteError

if TYPE_CHECKING:
    from tui_params.core.reading.readable import Readable

MOST_VALUES = 100_000
"""Values in a table; a page with more takes a browser seconds."""


def md_of(source: Readable, info: TensorInfo, window: Window) -> Contents:
    """One line for each row; a vector is one row. Numbers are written as in CSV. Raises ReadError, WriteError."""
    if info.unreadable is not None:
        raise ReadError(info.unreadable)
    if len(window.shape) > 2:
        raise WriteError(f"a table holds at most 2 dimensions, and this has {len(window.shape)}: choose a slice")
    if window.numel > MOST_VALUES:
        raise WriteError(f"{window.numel:,} values are too many for a table ({MOST_VALUES:,}): choose a slice")
    about = quantised_words(info) or plural(window.numel, "value")
    return Contents(_pieces(source, info, window), None, lambda: about)


def _pieces(source: Readable, info: TensorInfo, window: Window) -> Iterator[Piece]:
    from tui_params.core.reading.value_part import read_part

    source, view = source.still_part(info, window), plane(window)
    across = [""] if view.columns is None else _indices(window, view.columns)
    down = [""] if view.rows is None else _indices(window, view.rows)
    head = f"{markdown_row(['', *across])}\n{markdown_rule(len(across) + 1)}\n"
    for row, label in enumerate(down):
        # The first row is read before anything is written: what cannot be read leaves no half table.
        part = read_part(source, info, view, row, 1, 0, view.column_count)
        cells = (f"{markdown_row([label, *map(csv_text, values)])}\n" for values in part.values)
        yield (head + "".join(cells)).encode()
        head = ""
    yield head.encode()


def _indices(window: Window, axis: int) -> list[str]:
    along = window.axes[axis]
    return [str(along.index(place)) for place in range(along.length)]
