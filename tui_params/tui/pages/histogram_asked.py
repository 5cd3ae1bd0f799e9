"""HistogramAsked: the histogram of the page that is shown: asked for once, and kept until another page needs one."""

from __future__ import annotations

from tui_params.tui import keys
from tui_params.tui.desk.desk import Desk
from tui_params.tui.desk.messages import HistogramReady
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.detail_lines import TensorView, plot_height
from tui_params.tui.widgets.detail.histogram_plot import bins_for, draw


class HistogramAsked:
    """The drawn histogram of one tensor, and the scales that the user chose for all of them."""

    def __init__(self, desk: Desk, glyphs: Glyphs) -> None:
        self.is_log_counts = False
        self.is_log_axis = False
        self.fetch_key = keys.first("fetch", {})
        """The key that fetches what is not read by itself, as the user has it."""
        self._desk = desk
        self._glyphs = glyphs
        self._plot: tuple[object, tuple[Line, ...]] = (None, ())
        self._asked: object = None
        self._got: object = None

    def keep_choices_of(self, before: HistogramAsked) -> None:
        """Use the scales of an earlier opening."""
        self.is_log_counts, self.is_log_axis = before.is_log_counts, before.is_log_axis

    @property
    def is_settled(self) -> bool:
        return self._asked == self._got

    def take(self, message: HistogramReady) -> bool:
        """Take the histogram; False if it is not the one that was asked for last."""
        if message.key != self._asked:
            return False
        self._got = message.key
        self._plot = (message.key, message.lines)
        return True

    def of(self, view: TensorView, width: int, page_height: int) -> tuple[Line, ...]:
        """The histogram with its title: the drawn one, or its place while it is being drawn."""
        height = plot_height(view, width, page_height, self._glyphs)
        if not height:
            return ()
        scales = [name for name, is_on in (("log counts", self.is_log_counts), ("log axis", self.is_log_axis)) if is_on]
        if view.is_tight and scales:
            height -= 1  # for the title
        scanner = self._desk.scanner
        has_counts = scanner is not None and scanner.summary_of(view.info.name) is not None
        if not has_counts and self._desk.fetching.figures_toll(view.info):
            words = self._desk.fetching.words(view.info, self.fetch_key)
            return ([("Histogram", "label")], [(words, "dim")])  # the figures are out of the cache, which has no counts
        key = (self._desk.generation, view.info.name, width, height, self.is_log_counts, self.is_log_axis)
        if self._asked != key:
            self._asked = key
            is_log_counts, glyphs = self.is_log_counts, self._glyphs
            self._desk.want_histogram(
                key,
                view.info.name,
                bins_for(width),
                lambda histogram: draw(histogram, width, height, is_log_counts=is_log_counts, glyphs=glyphs),
                is_log_axis=self.is_log_axis,
            )
        drawn = self._plot[1] if self._plot[0] == key else tuple([] for _ in range(height))
        if view.is_tight and not scales:
            return drawn
        title = "Histogram" + (f" ({', '.join(scales)})" if scales else "")
        return ([(title, "label")], *drawn)
