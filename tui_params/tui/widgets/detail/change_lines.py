"""How a tensor has moved since an earlier look, as lines of its page: a sentence, and the figures before and now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_params.core import text
from tui_params.tui.state.change_words import sentence_of
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.text_lines import wrapped

if TYPE_CHECKING:
    from tui_params.core.compare.moved import Change, Sums

_LABEL = 6
_TWO_BLOCKS = 62


def sentence_lines(since: str, change: Change | None, width: int, glyphs: Glyphs, subject: str = "") -> list[Line]:
    """What has become of a tensor since an earlier look; nothing where there is no such look.

    ``subject`` stands in place of since when: a short sentence about something else, after the one that says it.
    """
    if not since:
        return []
    is_brief = bool(subject)
    words = f"{glyphs.working} comparing" if change is None else sentence_of(change, glyphs, is_brief=is_brief)
    style = "dim" if change is None or change.state in ("same", "unread") else "text"
    return wrapped(f"{subject or since}: {words}", width, style, hang=2)


def before_and_now_lines(change: Change | None, width: int, names: tuple[str, str] = ("before", "now")) -> list[Line]:
    """The figures of both looks in two columns, and how the norm has changed; nothing where nothing has moved.

    ``names`` are the headings of the columns: of two sources they are A and B.
    """
    if change is None or change.state == "same" or change.before is None or change.now is None:
        return []
    before, now = change.before, change.now
    rows = [
        (name, _cell(before, name), _cell(now, name))
        for name in ("mean", "std", "min", "max", "L2", "zeros", "NaN", "Inf")
        if name not in ("NaN", "Inf") or _value(before, name) or _value(now, name)
    ]
    blocks = 2 if width >= _TWO_BLOCKS else 1
    room = (width - 2 * (blocks - 1)) // blocks
    column = min(14, (room - _LABEL) // 2)
    gap = "  " if blocks > 1 else ""
    heading: Line = []
    for block in range(blocks):
        heading.append((" " * (_LABEL + len(gap) * bool(block)), "dim"))
        heading += [(each.rjust(column), "label") for each in names]
    lines = [heading]
    height = -(-len(rows) // blocks)
    for place in range(height):
        line: Line = []
        for at in range(place, len(rows), height):
            name, *cells = rows[at]
            line.append((f"{gap * bool(line)}{name.ljust(_LABEL)}", "dim"))
            for words in cells:
                line.append((words.rjust(column), "error" if name in ("NaN", "Inf") and words != "0" else "number"))
        lines.append(line)
    if before.l2_norm and now.l2_norm is not None:
        share = (now.l2_norm - before.l2_norm) / before.l2_norm
        lines.append([(f"L2 {names[1]} / L2 {names[0]} - 1 = ", "dim"), (text.number(share, 3), "number")])
    return lines


def _value(sums: Sums, name: str) -> float | int | None:
    values = {"mean": sums.mean, "std": sums.std, "min": sums.min, "max": sums.max, "L2": sums.l2_norm}
    return (values | {"zeros": sums.zeros, "NaN": sums.nan, "Inf": sums.inf})[name]


def _cell(sums: Sums, name: str) -> str:
    value = _value(sums, name)
    # Two figures that are not equal should not look it.
    words = text.number(value, 6)
    return words if len(words) <= 12 else text.number_within(value, 12)
