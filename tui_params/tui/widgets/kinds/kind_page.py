"""The page of a kind: what its values are like and which stand out, then what the page of a module says."""

from __future__ import annotations

from collections import Counter

from tui_params.core import text
from tui_params.core.layers.known import UNREAD
from tui_params.core.layers.odd import told
from tui_params.tui.state.layer_book import LayerBook
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.module_page import ModuleView, module_parts
from tui_params.tui.widgets.detail.text_lines import wrapped
from tui_params.tui.widgets.kinds.kind_lines import range_words

_MOST_TOLD = 6

_MOST_COUNTED = 3_000
"""Tensors of a kind that are counted within a few ms."""


def kind_page(book: LayerBook, kind: int, view: ModuleView, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """The lines of the page. Where there is little room, the values come first."""
    lines, _ = module_parts(view, width, height, 0, glyphs)
    values = _value_lines(book, kind, width, glyphs)
    after = next((at for at, line in enumerate(lines) if not line), len(lines))
    return [*lines[:after], *values, *lines[after:]]


def _value_lines(book: LayerBook, kind: int, width: int, glyphs: Glyphs) -> list[Line]:
    """The range and the median of the statistic, and the odd ones."""
    usual, statistic, count = book.usual(kind), book.statistic, book.table.kinds[kind].count
    apart = _without_number(book, kind)
    if not usual.known and not usual.odd:
        return wrapped(f"{statistic.title}: {apart or 'of no tensor known yet'}", width, "dim", hang=2)
    words = f"{statistic.title} {range_words(book, kind, glyphs)}" if usual.known else f"{statistic.title} none"
    if usual.median is not None and usual.known > 1:
        words += f", median {statistic.words(usual.median)}"
    if usual.known < count:
        words += f", of {usual.known:,} of {text.plural(count, 'tensor')}"
    words += f"; {apart}" if apart else ""
    lines = wrapped(words, width, "text", hang=2)
    odd = told(usual, statistic, lambda place: book.table.label(kind, place), _MOST_TOLD)
    for sentence in odd:
        lines += wrapped(sentence, width, "error" if usual.odd[0].flags else "accent", hang=2)
    return lines


def _without_number(book: LayerBook, kind: int) -> str:
    """How many tensors have changed in a way that no number says, or could not be compared: ``3 only in A``."""
    indices = book.table.members[kind].indices
    if book.statistic.origin != "change" or len(indices) > _MOST_COUNTED:
        return ""
    cells = ((at, book.cell(at)) for at in indices)
    told = [at for at, cell in cells if cell.state != UNREAD and cell.value is None and not cell.flags]
    return ", ".join(f"{count:,} {words}" for words, count in Counter(book.told(at)[0] for at in told).most_common())
