"""The values of a vector, a matrix or a slice of two dimensions as CSV, read a few thousand at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tui_params.core.export.contents import Contents, Piece, quantised_words
from tui_params.core.export.snippets import csv_text
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import plural
from tui_params.core.window import Window, pieces
from tui_params.errors import ReadError, WriteError

if TYPE_CHECKING:
    from tui_params.core.reading.readable import Readable

MOST_VALUES = 10_000_000
"""Values in a file; as text they take about 200 MB, which few programs still open."""

_AT_ONCE = 1 << 14
"""Elements that are Python numbers at the same time."""


def csv_of(source: Readable, info: TensorInfo, window: Window) -> Contents:
    """One line for each row, without a heading; a vector has one value in a line.

    Each number has the digits that give back the same float64, NaN and infinities are ``nan``, ``inf`` and ``-inf``,
    bools 1 and 0, complex numbers ``1+2j``. Raises ReadError, WriteError.
    """
    if info.unreadable is not None:
        raise ReadError(info.unreadable)
    if len(window.shape) > 2:
        raise WriteError(f"CSV holds at most 2 dimensions, and this has {len(window.shape)}: choose a slice, or .npy")
    if window.numel > MOST_VALUES:
        raise WriteError(f"{window.numel:,} values are too many for CSV ({MOST_VALUES:,}): choose a slice, or .npy")
    columns = window.shape[1] if len(window.shape) == 2 else 1
    about = quantised_words(info) or plural(window.numel, "value")
    return Contents(_pieces(source, info, window, columns), None, lambda: about)


def _pieces(source: Readable, info: TensorInfo, window: Window, columns: int) -> Iterator[Piece]:
    from tui_params.core.reading.grid import read_values

    source = source.still_part(info, window)
    column = 0
    for part in pieces(window, _AT_ONCE):
        texts = list(map(csv_text, read_values(source, info, part)))
        lines, first = [], 0
        while first < len(texts):
            taken = texts[first : first + columns - column]
            start = "," if column else ""
            column = (column + len(taken)) % columns
            lines.append(f"{start}{','.join(taken)}{'' if column else chr(10)}")
            first += len(taken)
        yield "".join(lines).encode()
