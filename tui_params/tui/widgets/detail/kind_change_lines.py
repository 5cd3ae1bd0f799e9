"""The kinds of tensors of a module that is compared with another source, as lines: how many differ, and the worst."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tui_params.core import text
from tui_params.core.kinds import KindGroup, kind_of
from tui_params.core.layers.short_names import fitting_names
from tui_params.tui.state.across_words import bar
from tui_params.tui.state.changes import Below
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line

_MOST_KINDS = 12
_BAR, _NUMBER = 6, 9


def kind_change_lines(
    path: str, kinds: Sequence[KindGroup], compared: Sequence[Below], width: int, glyphs: Glyphs
) -> list[Line]:
    """The kinds, those that differ most first: how many of each differ, and the worst relative change as a bar."""
    if not any(below.known for below in compared):
        return []
    lines: list[Line] = [[("Kinds, what differs", "label")]]
    prefix = f"{kind_of(path)}."
    ordered = sorted(zip(kinds, compared, strict=True), key=lambda item: (-(item[1].worst or 0.0), -item[1].moved))
    shown = ordered[:_MOST_KINDS]
    counts = [_count(group, below) for group, below in shown]
    tail = _BAR + _NUMBER + 1
    room = max(6, width - max(map(len, counts)) - tail)
    names = fitting_names([text.clean(group.kind.removeprefix(prefix)) for group, _ in shown], room)
    for (_, below), words, name in zip(shown, counts, names, strict=True):
        worst = below.worst or 0.0
        number = below.broken or ("" if worst in (0.0, inf) else text.number_within(worst, _NUMBER - 1))
        drawn = bar(worst, _BAR, glyphs) if worst else " " * _BAR
        style = "number" if below.moved else "dim"
        lines.append(
            [
                (name.ljust(room), "text" if below.moved else "dim"),
                (words.rjust(width - room - tail), style),
                (f" {drawn}", "spark"),
                (number.rjust(_NUMBER), "error" if below.broken else style),
            ]
        )
    if len(kinds) > _MOST_KINDS:
        lines.append([(f"and {len(kinds) - _MOST_KINDS} more", "dim")])
    return lines


def _count(group: KindGroup, below: Below) -> str:
    return f" {below.moved:,} of {below.known:,}" if below.moved or below.known < group.count else " the same"
