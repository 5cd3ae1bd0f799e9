"""The lines above and below a lens: tensor, place, value there, lenses, keys. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tui_params.core import text
from tui_params.core.reading.value_part import Element
from tui_params.core.reading.value_text import bits_text, exact_text, flag_of
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis
from tui_params.tui import keys
from tui_params.tui.keys import Key
from tui_params.tui.state.place import Place
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import Part, spread
from tui_params.tui.widgets.canvas import line_width

_SAID = 20
"""Cells for what most lenses say: beside whole titles they fit into 80."""

_STYLES = {"nan": "error", "inf": "error", "zero": "dim", "": "number"}


class Head(msgspec.Struct, frozen=True):
    """What the lines above a lens say. ``value`` is None as long as it is not known; ``reason``, why it is not."""

    glyphs: Glyphs
    info: TensorInfo
    place: Place
    value: Element | None = None
    reason: str | None = None
    titles: tuple[str, ...] = ()
    lens: int = 0
    state: Line = []
    about: str = ""
    """What is to be known of the source: that it has changed, how far its training has come."""


def title_line(head: Head, width: int) -> Line:
    """The name, the shape, the type, the size."""
    info = head.info
    facts = [text.shape(info.shape), text.clean(info.dtype.short, 12), text.size(info.nbytes)]
    least = text.abbreviate(text.name(info.name, 400), 24)
    while len(facts) > 1 and len("  ".join(facts)) + len(least) + 4 > width:
        facts.pop()
    if len(facts[0]) > width // 2:
        facts[0] = text.shorten(facts[0], max(8, width // 2))
    right: list[Part] = [(" ", "text"), (facts[0], "number"), (f"  {'  '.join(facts[1:])} ".rstrip() + " ", "dim")]
    if head.about:
        right.insert(0, (f"{text.clean(head.about, max(8, width // 3))}  ", "accent"))
    room = width - line_width(right) - 3
    return spread([(f" {text.abbreviate(text.name(info.name, 400), max(8, room))}", "title")], right, width)


def place_line(head: Head, width: int) -> Line:
    """The index of the place, the value there and its bits; at the right, the slice and which of its axes lie how."""
    place, info = head.place, head.info
    if place.index is None:
        words = "no elements" if not info.numel else f"no elements in {place.expression}"
        return spread([(f" {words}", "warning")], [], width)
    left: list[Part] = [(f" {text.shorten(text.shape(place.index), max(12, width // 2))}", "label")]
    if head.reason is not None:
        left.append((f"  {head.glyphs.unreadable} {text.clean(head.reason, 300)}", "warning"))
        return spread(left, [], width)
    if head.value is not None:
        value = exact_text(head.value.value)
        left += [(" = ", "dim"), (value, _STYLES[flag_of(head.value.value)])]
        if info.dtype.kind in ("float", "complex"):
            left.append((f"  {bits_text(head.value.bits, info.dtype.bits)}", "dim"))
    else:
        left.append((f" = {head.glyphs.unknown}", "dim"))
    right: list[Part] = []
    view = laid_words(place, head.glyphs)
    count, number = _planes(place)
    if count > 1:
        right.append((f"plane {number + 1:,} of {count:,}  ", "dim"))
    if view:
        right.append((f"{view} ", "accent"))
    while right and line_width(left) + line_width(right) + 3 > width:
        right.pop(0)
    while len(left) > 3 and line_width(left) > width:
        left.pop()
    return spread(left, right, width)


def laid_words(place: Place, glyphs: Glyphs) -> str:
    """The slice with an arrow at the axes that run down and across: ``[3, ↓, 100:200→]``; empty for a whole matrix."""
    view, shape = place.plane, place.shape
    is_whole = all(_is_whole(axis, size) for axis, size in zip(view.window.axes, shape, strict=True))
    if is_whole and len(shape) < 3 and (view.rows is None or view.columns is None or view.rows < view.columns):
        return ""
    down, across = ("v", ">") if glyphs.is_ascii else ("↓", "→")
    arrows = {view.rows: down, view.columns: across}
    at = dict(zip(view.leading, view.at, strict=True))
    words = []
    for number, (axis, size) in enumerate(zip(view.window.axes, shape, strict=True)):
        if number in at:
            words.append(str(axis.index(at[number])) if axis.length else "-")
        elif number in arrows and not axis.is_index:
            words.append(arrows[number] if _is_whole(axis, size) else f"{axis}{arrows[number]}")
        else:
            words.append(str(axis))
    return f"[{', '.join(words)}]"


def _is_whole(axis: Axis, size: int) -> bool:
    return not axis.is_index and axis.start == 0 and axis.step == 1 and axis.length == size


def _planes(place: Place) -> tuple[int, int]:
    """How many planes the slice has, and the number of this one, from 0."""
    count, number = 1, 0
    for axis, at in zip(place.plane.leading, place.plane.at, strict=True):
        length = place.plane.window.axes[axis].length
        count, number = count * length, number * length + at
    return count, number


def tabs_line(head: Head, width: int) -> Line:
    """The lenses, each with its digit, the one that is up marked; at the right, what it shows and how."""
    spans = tab_spans(head, width)
    left: list[Part] = [(" ", "text")]
    for number, (title, _, _) in enumerate(spans):
        is_here = number == head.lens
        left += [("  ", "text")] if number else []
        left.append((f"{number + 1} " if title else f"{number + 1}", "accent" if is_here else "dim"))
        if title:
            left.append((title, "tab" if is_here else "dim"))
    right: list[Part] = list(head.state)
    room = width - line_width(left) - 3
    if right and line_width(right) > room:
        words = "".join(part for part, _ in right)
        right = [(text.shorten(words, max(0, room)), right[0][1])] if room >= 12 else []
    return spread(left, [*right, (" ", "text")] if right else [], width)


def tab_spans(head: Head, width: int) -> list[tuple[str, int, int]]:
    """The words beside each digit, and the cells that belong to it; where room is short, they are cut, or left out."""
    titles = _fitting(head, width)
    spans, at = [], 1
    for number, shown in enumerate(titles):
        cells = len(str(number + 1)) + (len(shown) + 1 if shown else 0)
        spans.append((shown, at, at + cells))
        at += cells + 2
    return spans


def _fitting(head: Head, width: int) -> list[str]:
    """The titles of the lenses: whole if that leaves room for what the lens says; of the others one word, or none."""
    words = [title if number == head.lens else title.split()[0] for number, title in enumerate(head.titles)]
    cut = [title if number == head.lens or len(title) < 7 else title[:4] for number, title in enumerate(head.titles)]
    said = line_width(list(head.state)) + 1 if head.state else 0
    # With so much room besides, titles do not change whenever a lens says a little more.
    for titles, room in ((list(head.titles), max(said, _SAID)), (words, said), (cut, said)):
        if 1 + sum(len(title) + 4 for title in titles) + room <= width:
            return titles
    return [title if number == head.lens else "" for number, title in enumerate(head.titles)]


def key_line(said: str, running: str, hints: Sequence[Key], changed: Mapping[str, str], width: int) -> Line:
    """What is to be said, or the keys that matter behind what is being written."""
    if said:
        words = text.clean(said, 500)
        shown = text.first_words(words, width - 1)
        return spread([(f" {shown}", "text")], [], width)
    left: list[Part] = [(" ", "text")]
    if running:
        left += [(text.shorten(running, max(8, width - 14)), "accent"), (", esc stops   ", "text")]
    room = width - line_width(left)
    offered = [(hint.id, keys.shown_of(hint, changed).split(" ")[0], hint.label) for hint in hints]
    # The help is there for what there is no room for.
    help_width = next((len(key) + len(word) + 3 for name, key, word in offered if name.endswith("help")), 0)
    is_full = False
    for name, key, word in offered:
        needed, is_help = len(key) + len(word) + 3, name.endswith("help")
        is_full |= not is_help and room < needed + help_width
        if (is_full and not is_help) or room < needed:
            continue
        help_width = 0 if is_help else help_width
        left += [(key, "label"), (f" {word}  ", "dim")]
        room -= needed
    return spread(left, [], width)
