"""A tensor of A beside its partner in B, as lines of its page: the difference, both distributions, the first places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tui_params.core import text
from tui_params.core.compare.moved import Change, sums_of
from tui_params.tui.state.across_words import across_sentence, cosine_words
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.change_lines import before_and_now_lines
from tui_params.tui.widgets.detail.histogram_plot import bar_cells
from tui_params.tui.widgets.detail.text_lines import wrapped

if TYPE_CHECKING:
    from tui_params.core.compare.sides import Place, Sides
    from tui_params.core.numbers.difference import Difference

_MOST_CELLS = 60
_ROWS = 3
"""Lines of a distribution where the page has room."""

_LABEL = 9
_FEW_PLACES = 3


class AcrossView(msgspec.Struct, frozen=True):
    """What the page shows of the partner of a tensor. ``against`` names the other source.

    ``sides`` are None where they are being read, or ``reason`` says why they are not. ``rank`` says what is known of
    the singular values of the difference, or which key asks for them; empty for what is no matrix. ``later`` says that
    the sides were read later than they were compared, if values may have changed meanwhile. ``is_restored``: one is a
    packed weight.
    """

    against: str
    change: Change | None
    partner: str = ""
    sides: Sides | None = None
    reason: str = ""
    rank: str = ""
    keys: str = ""
    later: str = ""
    is_restored: bool = False

    @property
    def is_of_values(self) -> bool:
        """Whether values were compared, so that the page is about both sides."""
        found = self.change.difference if self.change is not None else None
        return found is not None and found.count > 0


def across_lines(view: AcrossView, width: int, glyphs: Glyphs, *, is_tight: bool) -> list[Line]:
    """The sentence, and where values were compared all that is known of them."""
    change = view.change
    if change is None:
        return wrapped(f"{view.against}: {glyphs.working} comparing", width, "dim", hang=2)
    style = {"same": "success", "equal": "success", "unread": "warning", "implied": "dim"}.get(change.state, "accent")
    name = f" ({text.clean(view.partner, 200)} there)" if view.partner else ""
    lines = wrapped(f"{view.against}{name}: {across_sentence(change)}", width, style, hang=2, limit=6)
    found = change.difference
    if found is None or not found.count:
        return lines
    lines += _difference_lines(found, width, has_snr=view.is_restored)
    if view.rank:
        lines += wrapped(view.rank, width, "dim", hang=2)
    if view.keys:
        lines += wrapped(view.keys, width, "dim", hang=2)
    if view.later:
        lines += wrapped(view.later, width, "warning", hang=2)
    if view.reason:
        return [*lines, *wrapped(f"{glyphs.unreadable} {text.clean(view.reason)}", width, "warning", hang=2)]
    sides = view.sides
    if sides is None:
        return [*lines, [(f"{glyphs.working} reading both sides", "dim")]]
    gap: list[Line] = [] if is_tight else [[]]
    lines += [*gap, *_distribution_lines(sides, width, glyphs, rows=1 if is_tight else _ROWS)]
    lines += [*gap, *_place_lines(sides.places[:_FEW_PLACES] if is_tight else sides.places, width)]
    moved = Change("moved", sums_of(sides.a), sums_of(sides.b))
    return [*lines, *gap, *before_and_now_lines(moved, width, ("A", "B"))]


def _difference_lines(found: Difference, width: int, *, has_snr: bool) -> list[Line]:
    """The figures of the difference, two in a line where there is room."""
    cosine = "–" if found.cosine is None else cosine_words(found.cosine, 10)
    cells = [
        ("relative", text.number(found.relative_l2)),
        ("cosine", cosine),
        ("largest", text.number(found.max_abs)),
        ("mean", text.number(found.mean_abs)),
    ]
    if has_snr and found.snr_db is not None:
        cells.insert(1, ("SNR", f"{found.snr_db:.1f} dB"))
    columns = 2 if width >= 36 else 1
    room = width // columns
    lines: list[Line] = []
    for start in range(0, len(cells), columns):
        line: Line = []
        for label, words in cells[start : start + columns]:
            line += [
                (label.ljust(_LABEL), "dim"),
                (text.shorten(words, room - _LABEL - 1).ljust(room - _LABEL), "number"),
            ]
        lines.append(line)
    if found.pairs < found.count:
        words = f"over the {found.pairs:,} of {text.plural(found.count, 'value')} that are finite on both sides"
        lines += wrapped(words, width, "dim", hang=2)
    return lines


def _distribution_lines(sides: Sides, width: int, glyphs: Glyphs, *, rows: int) -> list[Line]:
    """Both distributions over one axis, each as high as its own highest bin, and the ends of the axis."""
    if sides.low is None or sides.high is None:
        return []
    cells = max(8, min(_MOST_CELLS, width - 3))
    lines: list[Line] = []
    for label, counts in (("A", sides.bars_a), ("B", sides.bars_b)):
        heights = _rebinned(counts, cells)
        top = max(heights, default=0) or 1
        scaled = [height / top for height in heights]
        lines += [
            [(f"{label if not row else ' '} ", "label"), (bar_cells(scaled, row, rows, glyphs), "spark")]
            for row in range(rows - 1, -1, -1)
        ]
    ends = text.number(sides.low, 3), text.number(sides.high, 3)
    middle = "0.1 to 99.9 % of both" if cells >= 40 else ""
    between = cells - len(ends[0]) - len(ends[1])
    lines.append([("  ", "dim"), (f"{ends[0]}{middle.center(max(1, between))}{ends[1]}", "dim")])
    return lines


def _rebinned(counts: Sequence[int], cells: int) -> list[float]:
    """The same counts in fewer cells: what of a bin lies in a cell counts there."""
    heights = [0.0] * cells
    scale = cells / max(1, len(counts))
    for index, count in enumerate(counts):
        first, last = index * scale, (index + 1) * scale
        at = int(first)
        while at < last and at < cells:
            heights[at] += count * (min(last, at + 1) - max(first, at)) / scale
            at += 1
    return heights


def _place_lines(places: Sequence[Place], width: int) -> list[Line]:
    """The first places that differ, with what is there on both sides."""
    if not places:
        return []
    indices = [f"[{', '.join(map(str, place.index))}]" for place in places]
    taken = max(12, min(max(map(len, indices)) + 1, width // 2))
    room = max(8, min(14, (width - taken) // 2))
    lines: list[Line] = [[("differs at".ljust(taken), "label"), ("A".rjust(room), "label"), ("B".rjust(room), "label")]]
    for index, place in zip(indices, places, strict=True):
        a, b = (text.shorten(words, room - 1).rjust(room) for words in (place.a, place.b))
        lines.append([(text.shorten(index, taken - 1).ljust(taken), "dim"), (a, "number"), (b, "number")])
    return lines
