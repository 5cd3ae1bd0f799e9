"""How the figures of the tensors of a module are spread: the least, the middle and the greatest of each, and whose."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tui_params.core import text
from tui_params.core.figures import Figures
from tui_params.tui.terminal.line import Line

Measured = Sequence[tuple[str, Figures]]
"""Tensors by their name within the module, and their figures."""

_LABEL, _CELL = 7, 9
_SHORT_LABEL, _SHORT_CELL = 6, 7
"""Beside the tree on 80 columns there are 33: the last column would be cut, and 448 would be read as 44."""

_LEAST_NAME, _MOST_NAME = 10, 36

_ROWS: tuple[tuple[str, Callable[[Figures], float | int | None]], ...] = (
    ("mean", lambda figures: figures.mean),
    ("std", lambda figures: figures.std),
    ("absmax", lambda figures: figures.abs_max),
    ("RMS", lambda figures: figures.rms),
    ("zeros", lambda figures: 100 * figures.zeros / figures.count if figures.count else None),
)


def spread_lines(measured: Measured, total: int, width: int) -> list[Line]:
    """A table with a line for each figure; empty where fewer than two tensors were read."""
    if len(measured) < 2:
        return []
    of = f"all {total:,}" if len(measured) >= total else f"{len(measured):,} of {total:,}"
    title = f"Spread of the figures over {of} tensors"
    title = title if len(title) <= width else f"Spread over {of} tensors"
    lines: list[Line] = [[(text.shorten(title, width), "label")]]
    is_wide = width >= _LABEL + 3 * _CELL
    start = _LABEL if is_wide else _SHORT_LABEL
    cell = min(_CELL, max(_SHORT_CELL, (width - start) // 3))
    # The names of the two at the ends share what is left.
    room = min((width - start - 3 * cell - 2) // 2, _MOST_NAME)
    has_names = room >= _LEAST_NAME
    found = []
    for label, get in _ROWS:
        known = sorted(
            ((value, name) for name, figures in measured if (value := get(figures)) is not None),
            key=lambda item: item[0],
        )
        if known:
            shown = known[0], known[(len(known) - 1) // 2], known[-1]
            found.append((label, [(value, text.clean(name)) for value, name in shown]))
    room = min(room, max((len(name) for _, shown in found for _, name in (shown[0], shown[-1])), default=0))
    heading: Line = [(" " * start, "dim")]
    for words in ("least", "median", "greatest" if cell == _CELL else "most"):
        heading.append((words.rjust(cell), "dim"))
        if has_names and words != "median":
            heading.append((" " * (room + 1), "dim"))
    lines.append(heading)
    for label, places in found:
        line: Line = [(label.ljust(start), "dim")]
        for place, (value, name) in enumerate(places):
            words = text.number_within(float(value), cell - 3 if label == "zeros" else cell - 1)
            line.append((f"{words} %".rjust(cell) if label == "zeros" else words.rjust(cell), "number"))
            if has_names and place != 1:
                line.append((f" {text.shorten_name(name, room).ljust(room)}", "dim"))
        lines.append(line)
    return lines
