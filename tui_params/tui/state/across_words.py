"""How a tensor of A differs from its partner in B is written: in the cells of the tree, and on the pages."""

from __future__ import annotations

from math import inf, log10
from typing import TYPE_CHECKING

from tui_params.core import text
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line

if TYPE_CHECKING:
    from tui_params.core.compare.moved import Change
    from tui_params.tui.state.changes import Below

_PLAIN = {
    "same": ("bit-identical", "identical", "same"),
    "equal": ("values equal", "equal", "equal"),
    "only_a": ("only in A", "only in A", "only A"),
    "only_b": ("only in B", "only in B", "only B"),
    "shape": ("other shape", "shape", "shape"),
    "implied": ("not counted", "uncounted", "-"),
    "unread": ("not compared", "unread", "?"),
}
"""The words of a state, the longest that fits is shown."""

_STYLES = {"same": "dim", "equal": "dim", "implied": "dim", "unread": "warning"}

LEAST = -6.0
"""The decimal logarithm of the change whose bar is empty; that of a change of 1 is full."""

_NUMBER = 7


def across_cell(change: Change | None, room: int, glyphs: Glyphs) -> tuple[str, str]:
    """The relative change ||B - A|| / ||A|| in ``room`` cells, or what is to be said instead."""
    if change is None:
        return glyphs.unknown, "dim"
    state = change.state
    if state in _PLAIN:
        return _fitting(_PLAIN[state], room), _STYLES.get(state, "accent")
    if state == "adapted" and change.relative == 0:
        return _fitting(("untouched", "same"), room), "dim"
    if state == "dtype" and change.difference is None:
        return _fitting(("other type", "type"), room), "accent"
    if state == "dtype" and change.difference is not None and not change.difference.changed:
        return _fitting(("type only", "type"), room), "accent"
    if change.more_nan or change.more_inf:
        return _fitting(("NaN in B", "+NaN") if change.more_nan else ("Inf in B", "+Inf"), room), "error"
    if change.is_from_zero:
        return _fitting(("zero in A", "from 0"), room), "accent"
    if change.relative is None:
        return _fitting(("moved, at most", "moved") if state == "adapted" else ("moved",), room), "text"
    return text.number_within(change.relative, min(_NUMBER, room)), "text"


def across_line(change: Change | None, room: int, glyphs: Glyphs) -> Line:
    """The same with a bar before the number, where there is room for it."""
    words, style = across_cell(change, room, glyphs)
    is_number = change is not None and change.relative and change.size not in (None, inf) and style == "text"
    return _barred(change.relative if change is not None and is_number else None, words, style, room, glyphs)


def module_line(below: Below, tensors: int, room: int, glyphs: Glyphs) -> Line:
    """The worst change of a module as a bar, and ``27 of 32``: how many of its tensors differ.

    Where B has NaN or infinities that A has not, that is said before it.
    """
    words = ""
    if below.known and not below.moved:
        words = _fitting(("all the same", "all same", "same"), room) if below.known == tensors else ""
    if not below.moved:
        return [(words.rjust(room), "dim")]
    words = f"{below.moved:,} of {below.known:,}"
    if below.broken:
        sign = "NaN" if below.has_nan else "Inf"
        return _barred(below.worst, _fitting((f"{sign}, {words}", f"+{sign}"), room), "error", room, glyphs)
    return _barred(below.worst, words if len(words) <= room else f"{below.moved:,}", "dim", room, glyphs)


def _barred(value: float | None, words: str, style: str, room: int, glyphs: Glyphs) -> Line:
    """A bar of a change before the words at the right, where three cells or more are left for it."""
    cells = room - max(_NUMBER + 2, len(words) + 1)
    if value is None or cells < 3:
        return [(words.rjust(room), style)]
    return [(bar(value, cells, glyphs), "spark"), (words.rjust(room - cells), style)]


def bar(value: float, cells: int, glyphs: Glyphs) -> str:
    """A bar of so many cells: logarithmic, empty at 1e-6 and below, full at 1 and above."""
    share = 1.0 if value == inf else (log10(value) - LEAST) / -LEAST if value > 0 else 0.0
    halves = round(min(max(share, 0.0), 1.0) * cells * 2) or (1 if value > 0 else 0)
    if glyphs.is_ascii:
        return ("=" * -(-halves // 2)).ljust(cells)
    # A line, not a block: the bars of rows one below the other stay apart.
    return ("\u2501" * (halves // 2) + "\u2578" * (halves % 2)).ljust(cells)


def cosine_cell(change: Change | None, room: int, glyphs: Glyphs) -> tuple[str, str]:
    """The cosine between both sides; never rounded to 1. Where NaN or infinities are new there is none."""
    if change is None:
        return glyphs.unknown, "dim"
    cosine = change.cosine
    if cosine is None or change.more_nan or change.more_inf:  # a cosine of the rest would look as if nothing was wrong
        return "–", "dim"
    return cosine_words(cosine, room), "dim" if cosine == 1 else "text"


def cosine_words(cosine: float, room: int) -> str:
    """A cosine with six digits behind the point, as far as there is room; never rounded to 1."""
    digits = max(1, min(6, room - 3))
    if cosine != 1 and round(cosine, digits) >= 1:
        return f">{1 - 10.0 ** -(digits - 1):.{digits - 1}f}"[:room] if digits > 1 else "<1"
    return text.number_within(cosine, room) if cosine in (0, 1, -1) else f"{cosine:.{digits}f}"


def share_cell(change: Change | None, room: int, glyphs: Glyphs) -> tuple[str, str]:
    """The share of the elements that have another value."""
    if change is None:
        return glyphs.unknown, "dim"
    found = change.difference
    if change.state == "same":
        return "0", "dim"
    if found is None:
        return "–", "dim"
    words = text.percent(found.changed, found.count) if found.changed else "0"
    return words if len(words) <= room else ">99.9 %"[:room], "text"


def across_sentence(change: Change) -> str:
    """How a tensor differs, in one sentence."""
    found = change.difference
    if change.state == "same":
        return "bit-identical in both"
    if change.state == "equal" and found is not None:
        if not found.count:
            return "no element on either side"
        return "the values are equal, the bits are not (the sign of a zero, the bits of a NaN)"
    about = text.clean(change.about, 400)
    if found is None:
        return about
    parts = [about] if about else []
    if not found.changed:
        parts.append("every value is equal")
    else:
        parts.append(f"{found.changed:,} of {text.plural(found.count, 'value')} differ")
        parts[-1] += f" ({text.percent(found.changed, found.count)})"
    for count, words in (
        (found.became_nan, "are NaN in B alone"),
        (found.was_nan, "are NaN in A alone"),
        (found.became_inf, "are infinite in B alone"),
        (found.was_inf, "are infinite in A alone"),
        (found.became_zero, "are zero in B alone"),
    ):
        if count:
            parts.append(f"{count:,} {words}")
    return ", ".join(parts)


def _fitting(forms: tuple[str, ...], room: int) -> str:
    return next((words for words in forms if len(words) <= room), forms[-1][:room])
