"""Histogram: all values of a tensor along an axis, at any zoom, from counts that are kept."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING

import msgspec
from textual import events

from tui_params.core.reading.between import Range, find_between
from tui_params.tui import keys
from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk
from tui_params.tui.keys import Key
from tui_params.tui.state.place import Place
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.axes import LABEL
from tui_params.tui.widgets.detail.text_lines import wrapped
from tui_params.tui.widgets.lenses.cast_view import CastView
from tui_params.tui.widgets.lenses.counts_asked import CountsAsked, Progress
from tui_params.tui.widgets.lenses.drawn_once import DrawnOnce
from tui_params.tui.widgets.lenses.histogram_lines import bin_line, facts_line, indented, outline_line
from tui_params.tui.widgets.lenses.histogram_notes import NOTES
from tui_params.tui.widgets.lenses.histogram_plot import HEIGHTS, Plot, columns_for, drawn, plot_lines
from tui_params.tui.widgets.lenses.lens import Lens, Seen
from tui_params.tui.widgets.lenses.over import Over

if TYPE_CHECKING:
    from tui_params.core.numbers.distribution import Distribution, Scale, Span

SCALES: tuple[Scale, ...] = ("linear", "log", "symlog")

_COUNTS, _OTHER, _BINS, _SEEK = "histogram.counts", "histogram.other", "histogram.bins", "histogram.seek"
"""The slots: the counts of the tensor, and of the one laid over it; the plot; the search for an element."""

KEYS: tuple[Key, ...] = (
    Key("histogram.left", keys.LEFT, "cursor(-1)", "left", "One bin to the left; the axis follows", "← h"),
    Key("histogram.right", keys.RIGHT, "cursor(1)", "right", "One bin to the right", "→ l"),
    Key("histogram.page_left", "ctrl+left,H", "pan(-1)", "pan left", "Half an axis to the left", "ctrl+← H"),
    Key("histogram.page_right", "ctrl+right,L", "pan(1)", "pan right", "Half an axis to the right", "ctrl+→ L"),
    Key("histogram.home", keys.HOME.split(",")[0], "edge(-1)", "first bin", "The first bin in sight", "home"),
    Key("histogram.end", keys.END, "edge(1)", "last bin", "The last bin in sight", "end G"),
    Key("histogram.zoom_in", "plus,up,k", "zoom(1)", "zoom in", "Towards the bin under the cursor", "+ ↑"),
    Key("histogram.zoom_out", "minus,down,j", "zoom(-1)", "zoom out", "Away from it", "- ↓"),
    Key("histogram.whole", "z", "whole", "whole axis", "The whole axis; again: without the outermost 0.2 %", "z"),
    Key("histogram.scale", "a", "scale", "axis", "The axis: linear, logarithmic magnitude, symlog", "a"),
    Key("histogram.height", "s", "height", "heights", "Counts, their logarithm, density, cumulative", "s"),
    Key("histogram.next", "enter,n", "seek(1)", "go to", "Go to the next element that lies in the bin", "enter n"),
    Key("histogram.previous", "N", "seek(-1)", "one before", "The element before that lies in the bin", "N"),
    Key("histogram.over", "o", "over", "lay over", "Lay over: the next layer, a normal, nothing", "o"),
    Key("histogram.over_name", "O", "over_name", "lay over", "Lay another tensor over, by its name", "O"),
    Key("histogram.casts", "c", "casts", "casts", "What a cast to a smaller type would do", "c"),
)


class HistogramLens(Lens):
    """The counts of the elements by their values."""

    slot = "histogram"
    KEYS = KEYS
    HINTS = (
        "histogram.zoom_in", "histogram.scale", "histogram.height", "histogram.next", "histogram.casts",
        "histogram.over",
    )  # fmt: skip
    NOTES = NOTES
    BINDINGS = keys.bindings(KEYS)

    def __init__(self, glyphs: Glyphs, desk: TensorDesk) -> None:
        super().__init__(glyphs, desk)
        self._counts = CountsAsked(desk, _COUNTS)
        self._over = Over(desk, _OTHER)
        self._casts = CastView(desk)
        self._scale: Scale = "linear"
        self._height = HEIGHTS[0]
        self._span: Span | None = None
        self._span_of: Hashable = None
        self._cursor = 0
        self._plot: Plot | None = None
        self._drawing = DrawnOnce(desk, _BINS)
        self._seek_asked: Hashable = None
        self._seeking: Progress | None = None
        self._leaving_for: Place | None = None
        """The place of an element that was found, as long as the screen has not gone there."""
        self._reason: str | None = None

    # What is shown

    @property
    def is_settled(self) -> bool:
        if self._reason is not None:
            return True
        found = self._found
        has_plot = self._plot is not None or found is None or found.whole(self._scale) is None
        parts = (self._counts, self._over, self._casts)
        is_quiet = not self._drawing.is_asked and self._seek_asked is None and self._leaving_for is None
        return has_plot and is_quiet and all(part.is_settled for part in parts)

    @property
    def state(self) -> Line:
        words = f"{self._scale} axis, {self._height}" if self._scale != "linear" else self._height
        line: Line = [(words, "dim")]
        found = self._found
        if found is not None and found.figures.is_sampled:
            line.append((", of a sample", "accent"))
        elif self._plot is not None and not self._plot.histogram.is_exact:
            line.append((", estimated", "accent"))
        for doing, progress in (("reading", self._counts.progress), ("searching", self._seeking)):
            if progress is not None:
                line.append((f", {doing} {progress.words}", "accent"))
        return line

    @property
    def _key(self) -> Hashable:
        return (self.seen.info.name, self.seen.version) if self.seen is not None else None

    @property
    def _found(self) -> Distribution | None:
        return self._counts.found(self.seen.info.name, self.seen.version) if self.seen is not None else None

    def show(self, seen: Seen) -> None:
        before, self.seen = self.seen, seen
        if seen.place == self._leaving_for or (before is not None and before.info.name != seen.info.name):
            self._leaving_for = None
        if before is None or (before.info.name, before.version) != (seen.info.name, seen.version):
            self._reason = seen.info.unreadable or ("It has no elements." if not seen.info.numel else None)
            self._stop_seeking()
            self._drop_plot()
            if before is not None and before.info.name != seen.info.name:
                self._over.leave()
        if self._reason is None:
            self._counts.want(seen.info, seen.version, is_measured=seen.figures is not None)
            self._over.keep(seen.version)
        self._refill()

    def hide(self) -> None:
        self._stop_seeking()
        self._counts.stop()
        self._over.stop()
        self._casts.stop()

    def back(self) -> bool:
        is_doing = self._seek_asked is not None
        self._stop_seeking()
        is_doing = self._casts.stop() or is_doing
        if is_doing:
            self.post_message(self.Told("Stopped."))
            self.post_message(self.Restated())
            self._refill()
        return is_doing

    def on_resize(self) -> None:
        self._refill()

    def take(self, answer: Answer) -> None:
        if self._drawing.take(answer):
            self._take_plot(answer)
        elif answer.slot == _SEEK and answer.key == self._seek_asked:
            self._take_place(answer)
        elif self._counts.take(answer) or self._over.take(answer) or self._casts.take(answer):
            self._reason = self._reason or self._counts.reason
            if self._over.reason is not None:
                self.post_message(self.Told(self._over.reason))
                self._over.leave()
            self._refill()
        self.post_message(self.Restated())

    # The plot

    def _refill(self) -> None:
        """Ask for the plot that is to be shown, and paint what is here."""
        seen, found = self.seen, self._found
        if seen is None or not self.has_room:
            return
        if self._reason is None and found is not None:
            self._casts.want(seen.info, seen.version, found)
            self._ask_for_plot(found)
        self._fill()

    def _ask_for_plot(self, found: Distribution) -> None:
        columns, rows = columns_for(self.size.width), self._rows
        kind = (self._key, self._scale)
        if self._span is None or self._span_of != kind:
            self._span, self._span_of = found.whole(self._scale), kind
            self._cursor = columns // 2
        span, height, glyphs, over = self._span, self._height, self.glyphs, self._over.layer
        if span is None:
            return
        self._cursor = min(self._cursor, columns - 1)
        key = (kind, span, found.figures.count, height, columns, rows, over)

        def work(task: Task) -> Plot:
            task.check()
            return drawn(found, span, height, columns, rows, over.outline(found, span, columns), glyphs)

        self._drawing.want(key, work)

    def _drop_plot(self) -> None:
        self._drawing.drop()
        self._plot = None

    def _take_plot(self, answer: Answer) -> None:
        if isinstance(answer.result, Plot):
            self._plot = answer.result
        self._reason = self._reason or answer.reason
        self._fill()

    @property
    def _rows(self) -> int:
        """The rows of the bars: what the other lines leave."""
        rows = self.size.height - 4 - (self.size.height >= 12) - self._over.is_on - self._casts.height
        return max(2, rows)

    def _fill(self) -> None:
        """Paint what is here."""
        seen, found, plot = self.seen, self._found, self._plot
        width, height = self.size.width, self.size.height
        if seen is None or not self.has_room:
            return
        if self._reason is not None:
            self.set_lines(indented(wrapped(self._reason, width - 2, "warning", limit=4)))
            return
        if found is None:
            if self._counts.toll:
                self.set_lines(indented(wrapped(self._counts.toll, width - 2, "accent", limit=4)))
                return
            progress = self._counts.progress
            words = "counting" if progress is None else f"counting {progress.words}"
            self.set_lines(indented([[(f"{words} {self.glyphs.working}", "dim")]]))
            return
        lines: list[Line] = indented([facts_line(found.figures, width - 2)]) if height >= 12 else []
        casts = indented(self._casts.lines(width - 2, self.glyphs))
        if self._span is None:
            words = "All finite values are zero." if found.figures.finite else "There is no finite value."
            self.set_lines([*lines, *indented([[(words, "warning")]]), [], *casts])
        elif plot is None:
            self.set_lines(lines)
        else:
            lines += plot_lines(plot, self._cursor, self.glyphs)
            lines.append([(" " * (LABEL + 1) + plot.marks, "dim")])
            below = [bin_line(plot, self._cursor, width - 2)]
            if self._over.is_on:
                below.append(outline_line(*self._over.words(found), self.glyphs, width - 2))
            lines += indented(below)
            self.set_lines([*lines, *casts] if len(lines) + len(casts) <= height + 1 else (casts or lines))

    # Moving

    def action_cursor(self, step: int) -> None:
        plot = self._plot
        if plot is None:
            return
        at = self._cursor + step
        if 0 <= at < plot.columns:
            self._cursor = at
            self._fill()
        else:
            self._shift(step * 0.25, -step * round(plot.columns * 0.25) + step)

    def action_edge(self, side: int) -> None:
        if self._plot is not None:
            self._cursor = 0 if side < 0 else self._plot.columns - 1
            self._fill()

    def action_pan(self, side: int) -> None:
        self._shift(side * 0.5, 0)

    def _shift(self, share: float, cursor: int) -> None:
        """Move the axis by a share of its length, not beyond the values that there are."""
        found, span = self._found, self._span
        whole = found.whole(self._scale) if found is not None else None
        if whole is None or span is None or self._plot is None:
            return
        share = min(max(share, span.share(whole.low)), span.share(whole.high) - 1)
        if abs(share) < 1e-6:
            self.post_message(self.Told("No value lies further out."))
            return
        self._span = span.part(share, 1 + share)
        self._cursor = min(max(self._cursor + cursor, 0), self._plot.columns - 1)
        self._refill()

    def action_zoom(self, side: int) -> None:
        found, span, plot = self._found, self._span, self._plot
        whole = found.whole(self._scale) if found is not None else None
        if whole is None or span is None or plot is None:
            return
        centre, times = (self._cursor + 0.5) / plot.columns, 0.5 if side > 0 else 2.0
        zoomed = span.part(centre - centre * times, centre + (1 - centre) * times)
        if side > 0 and zoomed.high - zoomed.low < 4 * plot.columns * math.ulp(max(abs(zoomed.low), abs(zoomed.high))):
            self.post_message(self.Told("Numbers do not lie closer than this."))
            return
        low, high = max(zoomed.low, whole.low), min(zoomed.high, whole.high)
        value = span.at(centre)
        self._span = msgspec.structs.replace(zoomed, low=low, high=high)
        self._cursor = min(max(int(self._span.share(value) * plot.columns), 0), plot.columns - 1)
        self._refill()

    def action_whole(self) -> None:
        found = self._found
        whole = found.whole(self._scale) if found is not None else None
        if found is None or whole is None:
            return
        inner = found.inner(self._scale)
        self._span = inner if self._span == whole and inner is not None else whole
        self._refill()

    def action_scale(self) -> None:
        self._scale = SCALES[(SCALES.index(self._scale) + 1) % len(SCALES)]
        self._drop_plot()
        self._refill()
        self.post_message(self.Restated())

    def action_casts(self) -> None:
        self._casts.toggle()
        self._refill()

    def action_over(self) -> None:
        seen = self.seen
        if seen is not None:
            self._over.turn(seen, self.desk.source)
            self._refill()

    def action_over_name(self) -> None:
        source = self.desk.source

        def check(name: str) -> str | None:
            return self._over.why_not(name, source)

        def take(name: str) -> None:
            if name.strip() and self.seen is not None:
                self._over.lay(source.find(self._over.full(name, source)), self.seen.version)
                self._refill()

        self.post_message(self.Asked("lay over", "", check, take))

    def action_height(self) -> None:
        self._height = HEIGHTS[(HEIGHTS.index(self._height) + 1) % len(HEIGHTS)]
        self._refill()
        self.post_message(self.Restated())

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset(self)
        if at is not None and self._plot is not None and 0 <= at.x - LABEL - 1 < self._plot.columns:
            self._cursor = at.x - LABEL - 1
            self._fill()

    # The elements in a bin

    def action_seek(self, step: int) -> None:
        """Go to the next (or the last) element that lies in the bin under the cursor."""
        seen, plot = self.seen, self._plot
        if seen is None or plot is None or self._found is None:
            return
        found = plot.histogram
        if found.is_exact and not found.counts[self._cursor]:
            self.post_message(self.Told("No element lies in this bin."))
            return
        edges, info, here, source = found.edges, seen.info, seen.place.index, self.desk.source
        is_last = self._cursor == plot.columns - 1
        wanted = Range(edges[self._cursor], edges[self._cursor + 1], is_last, plot.span.scale == "log")

        def work(task: Task) -> tuple[int, ...] | None:
            return find_between(
                source,
                info,
                wanted,
                here,
                is_backwards=step < 0,
                should_stop=lambda: task.is_stopped,
                progress=lambda passed: task.tell(Progress(passed / info.numel)),
            )

        self._seek_asked = (self._key, wanted, here, step)
        self.desk.ask(_SEEK, self._seek_asked, work)

    def _take_place(self, answer: Answer) -> None:
        if isinstance(answer.result, Progress):
            self._seeking = answer.result
            return
        self._seek_asked = self._seeking = None
        if self.seen is None:
            return
        if answer.reason is not None or not isinstance(answer.result, tuple):
            self.post_message(self.Told(answer.reason or "No element lies in this bin."))
        elif answer.result == self.seen.place.index:
            self.post_message(self.Told("This is the only element in the bin."))
        else:
            self._leaving_for = self.seen.place.to(answer.result)
            self.post_message(self.Moved(self._leaving_for))

    def _stop_seeking(self) -> None:
        if self._seek_asked is not None:
            self.desk.stop(_SEEK)
        self._seek_asked = self._seeking = None
