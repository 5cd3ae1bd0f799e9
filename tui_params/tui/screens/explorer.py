"""ExplorerScreen: the tree, the detail pane, and who asks whom.

The screen owns the state that both panes share (the source, the filter, the generation of the opening) and turns keys
into questions to the desk. Answers arrive as messages with a key; what no longer fits is dropped.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from concurrent.futures import Future

import msgspec
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from tui_params.core import text
from tui_params.core.findings import findings_of
from tui_params.core.query import Query, parse_query
from tui_params.core.rows import Rows
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree import Entry
from tui_params.tui import keys
from tui_params.tui.glyphs import Glyphs
from tui_params.tui.loader import Desk, Opened, Opening
from tui_params.tui.messages import (
    GridReady,
    HistogramReady,
    Measured,
    SourceFailed,
    SourceOpened,
    SourceStale,
    Working,
)
from tui_params.tui.screens.status import header_lines, status_lines
from tui_params.tui.troubles import Troubles
from tui_params.tui.widgets.bars import Divider, SearchBar, StripBar
from tui_params.tui.widgets.canvas import Line
from tui_params.tui.widgets.detail_lines import (
    ModuleView,
    TensorView,
    entry_lines,
    module_lines,
    plot_height,
    summary_line,
    tensor_lines,
)
from tui_params.tui.widgets.histogram_plot import bins_for, draw
from tui_params.tui.widgets.module_tree import ModuleTree
from tui_params.tui.widgets.tensor_detail import Facts, SliceField, TensorDetail
from tui_params.tui.widgets.value_grid import ValueGrid

DETAIL_DELAY = 0.08
WANT_DELAY = 0.03
FILTER_DELAY = 0.06
WATCH_EVERY = 5.0
_MANY = 20_000


class ExplorerScreen(Screen[None]):
    """The main screen."""

    BINDINGS = keys.bindings(keys.SCREEN)
    AUTO_FOCUS = "ModuleTree"

    def __init__(self, opening: Opening, glyphs: Glyphs) -> None:
        super().__init__()
        self.opening = opening
        self.glyphs = glyphs
        self.desk: Desk | None = None
        self.generation = 0
        self.query_now = Query("")
        self.matching = -1
        self.unknown = 0
        self.stale: str | None = None
        self.activity: tuple[str, float, int] | None = None
        self.is_gradient = False
        self.is_log_counts = False
        self.is_log_axis = False
        self._reasons: dict[str, str] = {}
        self._sampled: dict[str, object] = {}
        self._plot: tuple[object, tuple[Line, ...]] = (None, ())
        self._plot_asked: object = None
        self._plot_got: object = None
        self._grid_asked: object = None
        self._grid_got: object = None
        self._wanted: list[str] = []
        self._delays: dict[str, Timer] = {}
        self._tied: dict[str, tuple[str, ...]] | None = None
        self._return_to: str | None = None

    def compose(self) -> ComposeResult:
        yield StripBar(id="header")
        with Horizontal(id="body"):
            yield ModuleTree(self.glyphs, id="tree")
            yield Divider(self.glyphs, id="divider")
            yield TensorDetail(self.glyphs, id="detail")
        yield SearchBar(id="search")
        yield StripBar(id="status")

    @property
    def tree_view(self) -> ModuleTree:
        return self.query_one(ModuleTree)

    @property
    def detail(self) -> TensorDetail:
        return self.query_one(TensorDetail)

    @property
    def search(self) -> SearchBar:
        return self.query_one(SearchBar)

    @property
    def opened(self) -> Opened | None:
        return self.desk.opened if self.desk is not None else None

    # Opening

    def on_mount(self) -> None:
        self.search.display = False
        self.set_class(self.glyphs.is_ascii, "-ascii")
        self.tree_view.set_empty_text(f"opening {text.clean(self.opening.label, 200)}")
        self._update_bars()
        self._listen()
        self.set_interval(WATCH_EVERY, self._watch)

    def _listen(self) -> None:
        def done(future: Future[Opened]) -> None:
            error = future.exception()
            message = SourceFailed(str(error)) if error is not None else SourceOpened(future.result())
            self.post_message(message)

        self.opening.when_done(done)

    def on_source_failed(self, message: SourceFailed) -> None:
        if self.desk is not None:
            # Opening again failed: what is on screen stays, and says so.
            self.stale = message.reason
            self._update_bars()
            return
        self.post_failure(message.reason)

    def post_failure(self, reason: str) -> None:
        app = self.app
        app.failure = reason  # type: ignore[attr-defined]
        app.exit(return_code=3)

    def on_source_opened(self, message: SourceOpened) -> None:
        name = self._return_to
        if self.desk is not None:
            self.desk.close()
        self.generation += 1
        self.desk = Desk(message.opened, self.generation, self.post_message)
        self.stale = self.activity = None
        self._reasons.clear()
        self._sampled.clear()
        self._tied = None
        self._plot = (None, ())
        tree = message.opened.tree
        rows = Rows(tree)
        rows.open_initially(max(12, self.tree_view.size.height))
        self.tree_view.set_empty_text("no tensors here")
        self.tree_view.show(rows, self.desk.figures, self._new_troubles())
        node = tree.find(name) if name is not None else None
        if node is not None:
            self.tree_view.reveal(node)
        if not self.query_now.is_empty:
            self._apply_filter()
        self._update_bars()
        self._later("detail", 0.0, self._show_detail)
        self._ask_for_rows()

    def _new_troubles(self) -> Troubles:
        troubles = Troubles()
        opened = self.opened
        if opened is not None:
            for info in opened.tensors:
                if info.unreadable is not None:
                    troubles.record(opened.tree, info.name, (), info.unreadable)
        return troubles

    def on_unmount(self) -> None:
        if self.desk is not None:
            self.desk.close()

    def _watch(self) -> None:
        if self.desk is not None and self.stale is None:
            self.desk.look_for_changes()

    def on_source_stale(self, message: SourceStale) -> None:
        if message.generation == self.generation and self.stale is None:
            self.stale = message.sentence
            self._update_bars()

    # Questions

    def _later(self, what: str, delay: float, call: Callable[[], None]) -> None:
        """Call after ``delay`` seconds, unless asked again meanwhile."""
        timer = self._delays.pop(what, None)
        if timer is not None:
            timer.stop()

        def due() -> None:
            self._delays.pop(what, None)
            call()

        self._delays[what] = self.set_timer(max(delay, 0.001), due)

    @property
    def is_settled(self) -> bool:
        """Whether every question has its answer and every answer is shown; for tests and pictures."""
        desk = self.desk
        return (
            desk is not None
            and not self._delays
            and self._plot_asked == self._plot_got
            and self._grid_asked == self._grid_got
            and all(desk.figures(name) is not None or name in self._reasons for name in self._wanted)
        )

    def _ask_for_rows(self) -> None:
        self._later("want", WANT_DELAY, self._want)

    def _want(self) -> None:
        if self.desk is None:
            return
        names = [info.name for info in self.tree_view.tensors_on_screen() if info.name not in self._reasons]
        shown = self._shown_tensor()
        if shown is not None and shown.name not in names:
            names.insert(0, shown.name)
        if self.query_now.needs_figures:
            # A filter on statistics needs them all: what it has not asked of yet comes last.
            names += [info.name for info in self.desk.opened.tensors if self.desk.figures(info.name) is None]
        self._wanted = list(dict.fromkeys(names))
        self.desk.want(self._wanted)

    def on_module_tree_moved(self, message: ModuleTree.Moved) -> None:
        self._later("detail", DETAIL_DELAY, self._show_detail)
        self._ask_for_rows()

    def on_module_tree_exposed(self, message: ModuleTree.Exposed) -> None:
        self._ask_for_rows()

    def on_facts_resized(self, message: Facts.Resized) -> None:
        self._later("detail", WANT_DELAY, self._show_detail)

    # Answers

    def on_measured(self, message: Measured) -> None:
        desk = self.desk
        if desk is None or message.generation != self.generation:
            return
        outcome = message.outcome
        info = self._find(outcome.name)
        if outcome.reason is not None:
            self._reasons[outcome.name] = outcome.reason
        if outcome.figures is not None and not outcome.is_final:
            self._sampled[outcome.name] = outcome.figures
        else:
            self._sampled.pop(outcome.name, None)
        if info is not None and (outcome.is_final or outcome.reason is not None):
            found = findings_of(info, outcome.figures) if outcome.figures is not None else ()
            self.tree_view.troubles.record(desk.opened.tree, outcome.name, found, outcome.reason)
        self.tree_view.figures_changed(outcome.name)
        shown = self._shown_tensor()
        if shown is None or shown.name == outcome.name:
            self._later("detail", WANT_DELAY if shown is not None else 0.5, self._show_detail)
        if self.query_now.needs_figures:
            self._later("filter", 0.3, self._apply_filter)

    def on_working(self, message: Working) -> None:
        activity = message.activity
        before = self.activity
        if activity is None:
            self.activity = None
        else:
            self.activity = (activity.name, activity.done / max(1, activity.numel), activity.waiting)
        if (before is None) != (self.activity is None) or self.activity is not None:
            self._update_bars()

    def on_histogram_ready(self, message: HistogramReady) -> None:
        if message.key == self._plot_asked:
            self._plot_got = message.key
            self._plot = (message.key, message.lines)
            self._later("detail", 0.0, self._show_detail)

    def on_grid_ready(self, message: GridReady) -> None:
        if message.key != self._grid_asked:
            return
        self._grid_got = message.key
        if message.grid is not None:
            self.detail.grid.show_grid(message.grid)
            self.detail.caption(message.grid.caption)
        else:
            self.detail.grid.show_reason(message.reason or "")

    def on_value_grid_wanted(self, message: ValueGrid.Wanted) -> None:
        info = self.detail.info
        grid = self.detail.grid
        if self.desk is None or info is None:
            return
        if info.unreadable is not None:
            grid.show_reason(info.unreadable)
            return
        self._grid_asked = (self.generation, info.name, message.expression, grid.size)
        self.desk.want_grid(self._grid_asked, info, message.expression, grid.rows_that_fit, grid.size.width)

    # The detail pane

    def _find(self, name: str) -> TensorInfo | None:
        opened = self.opened
        if opened is None:
            return None
        node = opened.tree.find(name)
        info = opened.tree.tensor(node) if node is not None else None
        if info is None:
            parameter = name.removesuffix(".grad")
            info = opened.source.listing.gradients.get(parameter)
        return info

    def _tensor_at_cursor(self) -> TensorInfo | None:
        opened, node = self.opened, self.tree_view.cursor
        return opened.tree.tensor(node) if opened is not None and node is not None else None

    def _shown_tensor(self) -> TensorInfo | None:
        """The tensor of the detail pane: the one at the cursor, or its gradient."""
        info, opened = self._tensor_at_cursor(), self.opened
        if info is not None and self.is_gradient and opened is not None:
            return opened.source.listing.gradients.get(info.name, info)
        return info

    def _show_detail(self) -> None:
        opened, node = self.opened, self.tree_view.cursor
        facts = self.detail.facts
        width = facts.scrollable_content_region.width
        if width <= 0:
            return
        if opened is None or node is None:
            facts.set_lines([])
            self._point_values(None)
            return
        leaf = opened.tree.leaf_of(node)
        if leaf is None:
            facts.set_lines(module_lines(self._module_view(node), width, self.glyphs))
            self._point_values(None)
        elif isinstance(leaf, Entry):
            facts.set_lines(entry_lines(leaf, width, self.glyphs))
            self._point_values(None)
        else:
            info = self._shown_tensor() or leaf
            facts.set_lines(tensor_lines(self._tensor_view(info, leaf, width), width, self.glyphs))
            self._point_values(info)

    def _point_values(self, info: TensorInfo | None) -> None:
        if info is not self.detail.info:
            self.detail.facts.scroll_to(y=0, animate=False)
            self.detail.show_values_of(info)

    def _tensor_view(self, info: TensorInfo, parameter: TensorInfo, width: int) -> TensorView:
        desk = self.desk
        assert desk is not None
        figures = desk.figures(info.name)
        is_final = figures is not None
        if figures is None:
            figures = self._sampled.get(info.name)  # type: ignore[assignment]
        gradients = desk.opened.source.listing.gradients
        about = ""
        if info.kind == "gradient":
            about = f"{self.glyphs.gradient} the gradient of {text.clean(parameter.name)}; g goes back"
        elif self.is_gradient and info.kind == "parameter":
            about = "it has no gradient"
        elif info.name in gradients:
            about = f"{self.glyphs.gradient} g shows its gradient"
        view = TensorView(
            info,
            self._names_tied_to(info),
            desk.opened.source.listing.modules.get(parameter.name.rpartition(".")[0]),
            figures,
            self._reasons.get(info.name),
            self.tree_view.troubles.findings(info.name),
            (),
            about,
            self.detail.facts.size.height < 26,
        )
        if not is_final or figures is None or not figures.finite or figures.min == figures.max:
            return view
        return msgspec.structs.replace(view, plot=self._plot_of(view, width))

    def _plot_of(self, view: TensorView, width: int) -> tuple[Line, ...]:
        """The histogram with its title: the drawn one, or its place while it is being drawn."""
        height = plot_height(view, width, self.detail.facts.size.height, self.glyphs)
        if not height or self.desk is None:
            return ()
        key = (self.generation, view.info.name, width, height, self.is_log_counts, self.is_log_axis)
        if self._plot_asked != key:
            self._plot_asked = key
            log_counts, glyphs = self.is_log_counts, self.glyphs
            self.desk.want_histogram(
                key,
                view.info.name,
                bins_for(width),
                lambda histogram: draw(histogram, width, height, is_log_counts=log_counts, glyphs=glyphs),
                is_log_axis=self.is_log_axis,
            )
        drawn = self._plot[1] if self._plot[0] == key else tuple([] for _ in range(height))
        scales = [name for name, is_on in (("log counts", self.is_log_counts), ("log axis", self.is_log_axis)) if is_on]
        title = "Histogram" + (f" ({', '.join(scales)})" if scales else "")
        return ([(title, "label")], *drawn)

    def _names_tied_to(self, info: TensorInfo) -> tuple[str, ...]:
        opened = self.opened
        if self._tied is None and opened is not None:
            groups: dict[str, list[str]] = {}
            for other in opened.tensors:
                if other.tied_to is not None:
                    groups.setdefault(other.tied_to, [other.tied_to]).append(other.name)
            self._tied = {name: tuple(n for n in names if n != name) for names in groups.values() for name in names}
        return (self._tied or {}).get(info.name, ())

    def _module_view(self, node: int) -> ModuleView:
        desk = self.desk
        assert desk is not None
        tree = desk.opened.tree
        path = tree.name(node)
        below = list(tree.tensors_below(node))
        troubles = self.tree_view.troubles
        findings, unread, measured = [], [], 0
        for info in below:
            reason = self._reasons.get(info.name) or info.unreadable
            if reason is not None:
                unread.append((info.name, reason))
            elif desk.figures(info.name) is not None:
                measured += 1
            findings += [finding for finding in troubles.findings(info.name) if finding.severity != "info"]
        findings.sort(key=lambda finding: finding.severity)
        largest = heapq.nlargest(8, (info for info in below if info.tied_to is None), key=lambda info: info.nbytes)
        return ModuleView(
            path, tree.class_name(node), tree.totals(node), tuple(largest), tuple(findings), tuple(unread), measured
        )

    # The filter

    def on_search_bar_changed(self, message: SearchBar.Changed) -> None:
        self.query_now = parse_query(message.text)
        opened = self.opened
        delay = FILTER_DELAY if opened is not None and len(opened.tensors) > _MANY else 0.0
        if delay:
            self._later("filter", delay, self._apply_filter)
        else:
            self._apply_filter()

    def _apply_filter(self) -> None:
        opened, desk, query = self.opened, self.desk, self.query_now
        if opened is None or desk is None:
            return
        wrong = [(error.start, error.stop) for error in query.errors]
        words = ""
        if query.is_empty:
            self.matching = -1
            self.tree_view.set_spans(None)
            self.tree_view.keep_only(None)
        else:
            matches = query.filter(
                opened.tensors, desk.figures, lowered=opened.lowered, gradients=opened.source.listing.gradients
            )
            self.matching, self.unknown = len(matches.indices), matches.unknown
            self.tree_view.set_spans(query.name_spans)
            self.tree_view.set_empty_text("no tensor matches" if not matches.unknown else "no match so far: reading")
            self.tree_view.keep_only(opened.positions[index] for index in matches.indices)
            words = f"{self.matching:,} of {len(opened.tensors):,}"
            if matches.unknown:
                words += f", {matches.unknown:,} not read yet"
                self._ask_for_rows()
        if query.errors:
            words = query.errors[0].message
            wrong = wrong if not query.errors[0].is_unfinished else []
        self.search.note(words, wrong)
        self._update_bars()

    def on_search_bar_closed(self, message: SearchBar.Closed) -> None:
        if not message.is_kept:
            self.search.clear()
        self.search.display = False
        self.tree_view.focus()
        self._update_bars()

    def on_search_bar_stepped(self, message: SearchBar.Stepped) -> None:
        self.tree_view.action_cursor(message.step)

    # The strips

    def _update_bars(self) -> None:
        if not self.is_mounted:
            return
        self.query_one("#header", StripBar).show(lambda width: header_lines(self, width))
        self.query_one("#status", StripBar).show(lambda width: status_lines(self, width))

    def on_descendant_focus(self) -> None:
        self._update_bars()

    # Actions

    def action_search(self) -> None:
        self.search.open()
        self._update_bars()

    def action_clear(self) -> None:
        if not self.tree_view.has_focus:
            self.tree_view.focus()
        elif self.has_class("-enlarged"):
            self.action_enlarge()
        elif not self.query_now.is_empty or self.query_now.errors:
            self.search.clear()
        self.set_class(False, "-values")

    def on_slice_field_left(self, message: SliceField.Left) -> None:
        self.action_clear()

    def action_values(self) -> None:
        self._show_detail()
        if self.detail.info is None:
            self.notify("Values are shown of a tensor: move to one first.")
            return
        self.set_class(True, "-values")
        self.detail.field.focus()

    def action_gradient(self) -> None:
        opened = self.opened
        if opened is None:
            return
        if not opened.source.listing.gradients:
            self.notify("There are no gradients here: a checkpoint holds none, a model has them after backward().")
            return
        self.is_gradient = not self.is_gradient
        self._show_detail()
        self._ask_for_rows()

    def action_log_counts(self) -> None:
        self.is_log_counts = not self.is_log_counts
        self._show_detail()

    def action_log_axis(self) -> None:
        self.is_log_axis = not self.is_log_axis
        self._show_detail()

    def on_module_tree_entered(self, message: ModuleTree.Entered) -> None:
        self.set_class(True, "-enlarged")
        self.detail.facts.focus()

    def action_enlarge(self) -> None:
        self.toggle_class("-enlarged")
        (self.detail.facts if self.has_class("-enlarged") else self.tree_view).focus()

    def action_resize(self, step: int) -> None:
        self._set_tree_width(self.tree_view.outer_size.width + step)

    def on_divider_dragged(self, message: Divider.Dragged) -> None:
        self._set_tree_width(message.column)

    def _set_tree_width(self, width: int) -> None:
        if not self.has_class("-stacked") and not self.has_class("-enlarged"):
            self.tree_view.styles.width = max(20, min(width, self.size.width - 24))

    def action_other_pane(self) -> None:
        self._show_detail()
        order: list[Widget] = [self.tree_view, self.detail.facts]
        if self.detail.info is not None:
            order.append(self.detail.field)
            if self.detail.grid.size.height:
                order.append(self.detail.grid)
        place = next((index for index, widget in enumerate(order) if widget.has_focus), -1)
        widget = order[(place + 1) % len(order)]
        if isinstance(widget, Input):
            self.set_class(True, "-values")
        if widget is self.tree_view:
            self.set_class(False, "-values")
        widget.focus()

    def action_scroll_detail(self, step: int) -> None:
        facts = self.detail.facts
        facts.scroll_to(y=facts.scroll_offset.y + step * max(1, facts.size.height // 2), animate=False)

    def action_copy_name(self) -> None:
        opened, node = self.opened, self.tree_view.cursor
        if opened is not None and node is not None:
            self._copy(opened.tree.name(node), "Copied the name")

    def action_copy_line(self) -> None:
        info = self._shown_tensor()
        if info is None or self.desk is None:
            self.action_copy_name()
        else:
            self._copy(summary_line(info, self.desk.figures(info.name)), "Copied the summary")

    def _copy(self, words: str, said: str) -> None:
        self.app.copy_to_clipboard(words)
        self.notify(f"{said}: {text.clean(words, 60)}", markup=False)

    def action_reload(self) -> None:
        opened, node = self.opened, self.tree_view.cursor
        if opened is None:
            return
        self._return_to = opened.tree.name(node) if node is not None else None
        self.opening.start()
        self._listen()

    def action_help(self) -> None:
        from tui_params.tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self.glyphs))
