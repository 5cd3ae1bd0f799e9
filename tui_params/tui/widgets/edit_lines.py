"""Edits as lines: the statistics before and after, what else they touch, and what they leave."""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core import text
from tui_params.core.edits import Brief, Change
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.text_lines import wrapped

_COLUMN = 12
_LABEL = 8
STAYS = "Gradients and optimizer states stay as they are."


def brief_lines(before: Brief | None, after: Brief | None, width: int) -> list[Line]:
    """Three lines: headings, and the statistics before and after; dashes where they are not known yet."""
    counts = [count for brief in (before, after) if brief for count in (brief.nan, brief.inf)]
    narrow = max(5, len(f"{max(counts, default=0):,}") + 2)
    column = min(_COLUMN, max(8, (width - _LABEL - 2 * narrow) // 3))
    head = " " * _LABEL + "".join(f"{heading:>{column}}" for heading in ("min", "max", "norm"))
    head += "".join(f"{heading:>{narrow}}" for heading in ("NaN", "Inf"))
    return [[(head, "dim")], *(_brief_line(*row, column, narrow) for row in (("before", before), ("after", after)))]


def _brief_line(label: str, brief: Brief | None, column: int, narrow: int) -> Line:
    line: Line = [(f"{label:<{_LABEL}}", "label")]
    if brief is None:
        return [*line, (f"{'-':>{column}}" * 3 + f"{'-':>{narrow}}" * 2, "dim")]
    for number in (brief.min, brief.max, brief.norm):
        words = "-" if number is None else _number(number, column - 1)
        line.append((f"{words:>{column}}", "text"))
    line += [(f"{count:>{narrow},}", "error" if count else "dim") for count in (brief.nan, brief.inf)]
    return line


def _number(number: float, room: int) -> str:
    """With more digits than elsewhere, because before and after may differ little."""
    shown = (text.number(number, digits) for digits in (7, 6, 5, 4))
    return next((words for words in shown if len(words) <= room), text.number_within(number, room))


def change_words(change: Change) -> str:
    """An edit in a few words: what is done, and to how many values."""
    words = {"set": "set to", "add": "add", "scale": "scale by", "zero": "zero", "fill": "fill from"}[change.operation]
    return f"{words} {text.clean(change.value, 40)}".strip()


def changed_words(changed: int, numel: int) -> str:
    """How many values change, as a sentence."""
    if not changed:
        return "No value changes."
    return "The value changes." if numel == 1 else f"{changed:,} of {numel:,} values change."


def touched_lines(also: Sequence[str], remarks: Sequence[str], width: int, most: int) -> list[Line]:
    """The other names that change, then the remarks, in at most so many lines."""
    lines: list[Line] = []
    if also:
        names = ", ".join(text.clean(name, 80) for name in also[:3])
        more = f" and {len(also) - 3:,} more" if len(also) > 3 else ""
        shares = "shares the memory and changes" if len(also) == 1 else "share the memory and change"
        lines += wrapped(f"{names}{more} {shares} too.", width, "accent")
    for remark in remarks:
        lines += wrapped(text.clean(remark, 300), width, "text")
    return lines[:most]
