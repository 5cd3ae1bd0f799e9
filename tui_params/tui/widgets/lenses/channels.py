"""Channels: the rows and the columns of a tensor as a sorted profile: a curve over all of them, and a list."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip

from tui_params.core import text
from tui_params.core.health.channels import column_index, row_index
from tui_params.core.health.thresholds import DEFAULT
from tui_params.tui import keys
from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk
from tui_params.tui.keys import Key
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.text_lines import wrapped
from tui_params.tui.widgets.lenses.channel_lines import (
    ORDER_WORDS,
    SHORT_TITLES,
    SHORT_WORDS,
    TITLES,
    Drawn,
    columns_for,
    curve_lines,
    drawn,
    list_heading,
    list_lines,
    side_line,
)
from tui_params.tui.widgets.lenses.channel_notes import NOTES
from tui_params.tui.widgets.lenses.drawn_once import DrawnOnce
from tui_params.tui.widgets.lenses.histogram_lines import indented
from tui_params.tui.widgets.lenses.lens import Lens, Seen
from tui_params.tui.widgets.lenses.profiles_asked import ProfilesAsked
from tui_params.tui.widgets.lenses.tokens_asked import TokensAsked

if TYPE_CHECKING:
    from tui_params.core.numbers.profiles import Measure, Order, Profile, Ranking

_SUMS, _ORDER, _TOKENS = "channels.sums", "channels.order", "channels.tokens"
"""The slots: the pass over the tensor, the sorting and drawing, the tokenizer."""

MEASURES: tuple[Measure, ...] = ("abs_max", "rms", "mean", "zeros", "nan")
ORDERS: tuple[Order, ...] = ("worst", "largest", "smallest", "place")

KEYS: tuple[Key, ...] = (
    Key("channels.up", keys.UP, "step(-1)", "up", "One line up", "↑ k"),
    Key("channels.down", keys.DOWN, "step(1)", "down", "One line down", "↓ j"),
    Key("channels.page_up", keys.PAGE_UP, "page(-1)", "page up", "One page up", "pgup"),
    Key("channels.page_down", keys.PAGE_DOWN, "page(1)", "page down", "One page down", "pgdn"),
    Key("channels.home", keys.HOME, "edge(-1)", "first", "First of the list", "home"),
    Key("channels.end", keys.END, "edge(1)", "last", "Last of the list", "end G"),
    Key("channels.side", "r", "side", "rows/columns", "Rows or columns", "r"),
    Key("channels.measure", "m", "measure(1)", "figure", "Sort by max |x|, RMS, mean, zeros, NaN", "m"),
    Key("channels.order", "o", "order(1)", "order", "Worst, largest, smallest first, or by index", "o"),
    Key("channels.log", "s", "log", "log", "The curve: linear or logarithmic", "s"),
    Key("channels.next", "n", "marked(1)", "next mark", "The next that is marked: NaN, dead, outlier, faint", "n"),
    Key("channels.previous", "N", "marked(-1)", "mark before", "The one before that is marked", "N"),
    Key("channels.here", "p", "here", "the place", "The row or column of the place", "p"),
    Key("channels.go", "enter", "go", "values", "Its values: go to this row or column", "enter"),
)


_WIDE = 90
"""Cells from which on the header has room for whole sentences."""


class ChannelsLens(Lens):
    """One side of the tensor at a time. The cursor is on a channel, whatever the order."""

    slot = "channels"
    KEYS = KEYS
    HINTS = (
        "channels.side", "channels.measure", "channels.order", "channels.next", "channels.go", "channels.log",
    )  # fmt: skip
    NOTES = NOTES
    BINDINGS = keys.bindings(KEYS)

    def __init__(self, glyphs: Glyphs, desk: TensorDesk) -> None:
        super().__init__(glyphs, desk)
        self._profiles = ProfilesAsked(desk, _SUMS)
        self._tokens = TokensAsked(desk, _TOKENS)
        self._is_rows = True
        self._measure: Measure = MEASURES[0]
        self._order: Order = ORDERS[0]
        self._is_log = False
        self._ranking: Ranking | None = None
        self._plot: Drawn | None = None
        self._ordering = DrawnOnce(desk, _ORDER)
        self._rank = 0
        self._top = 0
        self._cursor_y = -1
        self._follows = False
        """Whether the cursor stays on its channel in the next order; else it goes to the first of the list."""

    # What is shown

    @property
    def is_settled(self) -> bool:
        parts = (self._profiles, self._tokens)
        is_drawn = not self._ordering.is_asked and (self._plot is not None or self._profile is None)
        return is_drawn and all(part.is_settled for part in parts)

    @property
    def state(self) -> Line:
        progress = self._profiles.progress
        if self._profile is None:
            return [(f"reading {progress.words}", "accent")] if progress is not None else []
        if self.size.width < _WIDE:  # the list says of which side
            return [(f"{SHORT_TITLES.get(self._measure, TITLES[self._measure])}, {SHORT_WORDS[self._order]}", "dim")]
        side = "rows" if self._is_rows else "columns"
        return [(f"{side} by {TITLES[self._measure]}, {ORDER_WORDS[self._order]}", "dim")]

    @property
    def _key(self) -> Hashable:
        return (self.seen.info.name, self.seen.version) if self.seen is not None else None

    @property
    def _profile(self) -> Profile | None:
        """The side that is shown."""
        found = self._profiles.found
        return None if found is None else found.rows if self._is_rows else found.columns

    def show(self, seen: Seen) -> None:
        before, self.seen = self.seen, seen
        if before is None or (before.info.name, before.version) != (seen.info.name, seen.version):
            self._drop_order()
            self._rank = self._top = 0
            self._tokens.want(seen.info, self._key)
        self._want(seen)
        self._refill()

    def _want(self, seen: Seen) -> None:
        thresholds = getattr(getattr(self.app, "settings", None), "limits", DEFAULT)
        self._profiles.want(seen.info, seen.version, thresholds.outlier_ratio)

    def hide(self) -> None:
        self._profiles.stop()

    def back(self) -> bool:
        if not self._profiles.stop():
            return False
        self._profiles.is_stopped = True
        self._restate()
        return True

    def on_resize(self) -> None:
        self._refill()

    def take(self, answer: Answer) -> None:
        if self._ordering.take(answer):
            self._take_order(answer)
        elif not self._profiles.take(answer) and not self._tokens.take(answer):
            return
        self._restate()

    def _take_order(self, answer: Answer) -> None:
        if isinstance(answer.result, tuple):
            before = self._ranking
            self._ranking, self._plot = ranking, _ = answer.result
            stays = before is not None and before.profile is ranking.profile and self._follows
            self._rank = ranking.rank(before.index(self._rank)) if before is not None and stays else 0
            self._follows = True

    # Lines

    def _refill(self) -> None:
        """Ask for the order that is to be shown, and paint what is here."""
        if self.seen is None or not self.has_room:
            return
        sides = self._profiles.found
        if sides is not None and self._profile is None:
            self._is_rows = sides.columns is None
        found = self._profile
        if found is not None:
            self._ask_for_order(found)
        self._fill()

    @property
    def _rows(self) -> int:
        """The rows of the curve."""
        height = self.size.height
        return 0 if height < 12 else min(max(3, (height - 6) * 2 // 5), 14)

    def _ask_for_order(self, found: Profile) -> None:
        columns, rows = columns_for(self.size.width), max(2, self._rows)
        measure, order, is_log, glyphs = self._measure, self._order, self._is_log, self.glyphs
        key = (self._key, self._is_rows, measure, order, is_log, columns, rows)

        def work(task: Task) -> tuple[Ranking, Drawn]:
            from tui_params.core.numbers.profiles import ranked

            task.check()
            ranking = ranked(found, measure, order)
            curve = ranking if order == "place" else ranked(found, measure, "largest")
            return ranking, drawn(curve, columns, rows, is_log=is_log, glyphs=glyphs)

        self._ordering.want(key, work)

    def _drop_order(self) -> None:
        self._ordering.drop()
        self._ranking = self._plot = None

    def _fill(self) -> None:
        """Paint what is here, and the bar of the cursor where it was and where it is."""
        before, self._cursor_y = self._cursor_y, -1
        self._fill_lines()
        if self._cursor_y != before:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in (before, self._cursor_y) if y >= 0))

    def _fill_lines(self) -> None:
        seen, found, ranking = self.seen, self._profiles.found, self._ranking
        width, height = self.size.width, self.size.height
        if seen is None or not self.has_room:
            return
        if found is None:
            stopped = "The reading was stopped; enter begins it again." if self._profiles.is_stopped else None
            reason, progress = self._profiles.reason or self._profiles.toll or stopped, self._profiles.progress
            words = f"reading {progress.words}" if progress is not None else "reading"
            waiting: list[Line] = [[(f"{words} {self.glyphs.working}", "dim")]]
            self.set_lines(indented(wrapped(reason, width - 2, "warning", limit=4) if reason else waiting))
            return
        if found.rows is None and found.columns is None:
            self.set_lines(indented(wrapped(found.reason or "", width - 2, "warning", limit=4)))
            return
        lines = indented([side_line(found, is_rows=self._is_rows, width=width - 2)])
        if ranking is None or self._plot is None:
            self.set_lines(lines)
            return
        if self._rows:
            lines += curve_lines(self._plot, ranking.index(self._rank), self.glyphs)
        note = self._tokens.reason if self._is_rows else None
        note = note or (found.reason if found.columns is None or found.rows is None else None)
        tokens = self._tokens.vocabulary if self._is_rows else None
        has_marks = bool(ranking.profile.marked())
        heading = list_heading(
            self._measure, is_rows=self._is_rows, has_tokens=tokens is not None, has_marks=has_marks, width=width
        )
        lines.append(heading)
        room = max(1, height - len(lines) - (note is not None))
        self._top = min(max(self._top, self._rank - room + 1), self._rank, max(0, ranking.profile.count - room))
        shown = ranking.lines(self._top, room)
        self._cursor_y = len(lines) + self._rank - self._top
        at, size = self._rank - self._top, ranking.profile.size
        lines += list_lines(shown, at, size, tokens, self.glyphs, width, has_marks=has_marks)
        if note is not None:
            lines += indented([[(text.shorten(text.clean(note), width - 2), "warning")]])
        self.set_lines(lines)

    def render_line(self, y: int) -> Strip:
        if y != self._cursor_y:
            return super().render_line(y)
        return self.paint(self._lines[y], self.size.width, self._bar)

    @property
    def _bar(self) -> Style:
        return self.inks.get("cursor" if self.has_focus else "cursor-blurred", self.rich_style)

    # Keys

    def _move(self, rank: int) -> None:
        if self._ranking is None:
            return
        self._rank = min(max(rank, 0), self._ranking.profile.count - 1)
        self._fill()

    def action_step(self, step: int) -> None:
        self._move(self._rank + step)

    def action_page(self, step: int) -> None:
        self._move(self._rank + step * max(1, self.size.height - self._rows - 7))

    def action_edge(self, side: int) -> None:
        if self._ranking is not None:
            self._move(0 if side < 0 else self._ranking.profile.count - 1)

    def action_marked(self, step: int) -> None:
        if self._ranking is not None:
            rank = self._ranking.next_marked(self._rank, step)
            if rank is None:
                self.post_message(self.Told(f"None is marked {'below' if step > 0 else 'above'}."))
            else:
                self._move(rank)

    def action_side(self) -> None:
        found = self._profiles.found
        if found is None:
            return
        if found.rows is None or found.columns is None:
            self.post_message(self.Told(found.reason or "There is one side only."))
            return
        self._is_rows = not self._is_rows
        self._rank = self._top = 0
        self._drop_order()
        self._restate()

    def action_measure(self, step: int) -> None:
        self._measure = MEASURES[(MEASURES.index(self._measure) + step) % len(MEASURES)]
        self._follows = self._order == "place"
        self._restate()

    def action_order(self, step: int) -> None:
        self._order = ORDERS[(ORDERS.index(self._order) + step) % len(ORDERS)]
        self._follows = self._order == "place"
        self._restate()

    def action_log(self) -> None:
        self._is_log = not self._is_log
        self._restate()

    def _restate(self) -> None:
        self._refill()
        self.post_message(self.Restated())

    def action_here(self) -> None:
        """Move the cursor to the channel of the place."""
        seen, ranking = self.seen, self._ranking
        index = seen.place.index if seen is not None else None
        if seen is None or ranking is None or index is None:
            return
        shape = seen.info.shape
        if self._is_rows:
            at = index[0] * shape[1] + index[1] if len(shape) == 3 else index[0]
        else:
            at = index[1] if len(shape) > 3 else index[-1]
        self._move(ranking.rank(at))

    def action_go(self) -> None:
        """Go to the row or column at the cursor, where its values are."""
        seen, ranking = self.seen, self._ranking
        if seen is not None and self._profiles.is_stopped:
            self._profiles.is_stopped = False
            self._want(seen)
            self._restate()
            return
        if seen is None or ranking is None:
            return
        shape, here = seen.info.shape, seen.place.index or (0,) * seen.info.ndim
        at = ranking.index(self._rank)
        if not self._is_rows:
            to = column_index(shape, at)
            index = (here[0], to[1], *here[2:]) if len(shape) > 3 else (*here[:-1], to[-1])
        elif len(shape) == 3:
            index = (*row_index(shape, at)[:2], here[2])
        else:
            index = (at, *here[1:])
        self.post_message(self.Moved(seen.place.to(index), "cells"))

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset(self)
        if at is not None and self._cursor_y >= 0:
            rank = self._rank + at.y - self._cursor_y
            if rank >= self._top and self._ranking is not None and rank < self._ranking.profile.count:
                self._move(rank)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._move(self._rank + 3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._move(self._rank - 3)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()
