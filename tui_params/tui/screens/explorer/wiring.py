"""Wiring: the tree, the detail pane, and who asks whom.

The screen owns the state that both panes share (the source, the filter, the generation of the opening) and turns keys
into questions to the desk. Answers arrive as messages with a key; what no longer fits is dropped.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import Screen
from textual.timer import Timer

from tui_params.core import text
from tui_params.core.health.thresholds import DEFAULT
from tui_params.core.tree.rows import Rows
from tui_params.tui import keys
from tui_params.tui.desk.desk import Desk
from tui_params.tui.desk.messages import (
    Checked,
    Comparing,
    GridReady,
    HistogramReady,
    Located,
    Measured,
    SourceFailed,
    SourceOpened,
    SourceStale,
    SweepProgress,
    Working,
)
from tui_params.tui.desk.opening import Opened, Opening
from tui_params.tui.pages import Pages
from tui_params.tui.screens.explorer.status import BarState, Focus, header_lines, status_lines
from tui_params.tui.state.searching import Found, look, note_of
from tui_params.tui.state.sorting import SortChoice
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.bars import Divider, SearchBar, StripBar
from tui_params.tui.widgets.detail.tensor_detail import Facts, TensorDetail
from tui_params.tui.widgets.detail.value_grid import ValueGrid
from tui_params.tui.widgets.tree.module_tree import ModuleTree

if TYPE_CHECKING:
    from tui_params.cache.figures import FigureCache
    from tui_params.core.query.query import Query
    from tui_params.core.reading.scanner import Activity

DETAIL_DELAY = 0.08
WANT_DELAY = 0.03
FILTER_DELAY = 0.06
FILTER_AGAIN = 0.3
MODULE_DELAY = 0.5
WATCH_EVERY = 5.0
SAID_FOR = 5.0
_MANY = 20_000


class Wiring(Screen[None]):
    """The main screen but for what its keys do, which ``explorer.py`` adds."""

    AUTO_FOCUS = "ModuleTree"

    def __init__(self, opening: Opening, glyphs: Glyphs, cache: FigureCache | None = None) -> None:
        super().__init__()
        self.cache = cache
        self.opening = opening
        self.glyphs = glyphs
        self.desk: Desk | None = None
        self.generation = 0
        self.query_now: Query | None = None
        self.matching = -1
        self.found: Found | None = None
        self.stale: str | None = None
        self.sort = SortChoice("name")
        self.sort_read: tuple[int, int] | None = None  # of so many tensors so many were read when they were sorted
        self.activity: Activity | None = None
        self.sweep: SweepProgress | None = None
        self.pages: Pages | None = None
        self.said = ""
        self._saying: Timer | None = None
        self._wanted: list[str] = []
        self._delays: dict[str, Timer] = {}
        self._return_to: str | None = None
        self._is_at_place = False

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
            self.stale = f"not opened again: {message.reason}"
            said = text.clean(message.reason, 500)
            self.notify(said, title="Not opened again", severity="error", timeout=30, markup=False)
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
        limits = getattr(getattr(self.app, "settings", None), "limits", DEFAULT)
        self.desk = Desk(message.opened, self.generation, self.post_message, self.cache, limits)
        self.stale = self.activity = self.sweep = None
        pages = Pages(self.desk, self.detail, self.glyphs, self._show_soon)
        if self.pages is not None:
            pages.is_log_counts, pages.is_log_axis = self.pages.is_log_counts, self.pages.is_log_axis
            pages.is_gradient = self.pages.is_gradient
        self.pages = pages
        self.sort = SortChoice("name")
        self.sort_read = None
        self.tree_view.set_order(None)
        tree = message.opened.tree
        rows = Rows(tree)
        rows.open_initially(max(12, self.tree_view.size.height))
        self.tree_view.set_empty_text("no tensors here")
        self.tree_view.show(rows, self.desk.figures, pages.troubles)
        node = tree.find(name) if name is not None else None
        if node is not None:
            self.tree_view.reveal(node)
        if self.query_now is not None:
            self._apply_filter()
        self._update_bars()
        self._show_soon(0.0)
        self._ask_for_rows()
        self.call_after_refresh(gc.enable)  # off while starting, see explore.py

    def on_unmount(self) -> None:
        if self.desk is not None:
            self.desk.close(wait=0.2)

    def _watch(self) -> None:
        if self.desk is not None and self.stale is None:
            self.desk.look_for_changes()

    def on_source_stale(self, message: SourceStale) -> None:
        if message.generation == self.generation and self.stale is None:
            self.stale = "changed on disk: R reloads"
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
        pages = self.pages
        return (
            pages is not None
            and not self._delays
            and pages.is_settled
            and not pages.desk.is_busy
            and all(pages.desk.figures(name) is not None or name in pages.reasons for name in self._wanted)
        )

    def _ask_for_rows(self) -> None:
        self._later("want", WANT_DELAY, self._want)

    def _want(self) -> None:
        desk, pages = self.desk, self.pages
        if desk is None or pages is None:
            return
        names = [info.name for info in self.tree_view.tensors_on_screen()]
        shown = pages.tensor_at(self.tree_view.cursor)
        if shown is not None:
            names.insert(0, shown.name)
        if self.query_now is not None and self.query_now.needs_figures and not desk.is_sweeping:
            # A filter on statistics needs them all, which a sweep reads anyway; what is on screen goes first.
            names += [info.name for info in desk.opened.tensors]
        self._wanted = [name for name in dict.fromkeys(names) if name not in pages.reasons]
        desk.want(self._wanted)

    def say(self, words: str) -> None:
        """Say in the status line why a key did nothing, until the cursor moves or some seconds are over."""
        if self._saying is not None:
            self._saying.stop()
        self._saying = self.set_timer(SAID_FOR, self._unsay) if words else None
        if words != self.said:
            self.said = words
            self._update_bars()

    def _unsay(self) -> None:
        self.say("")

    def on_module_tree_refused(self, message: ModuleTree.Refused) -> None:
        self.say(message.why)

    def on_module_tree_moved(self, message: ModuleTree.Moved) -> None:
        self._unsay()
        if self._is_at_place:
            self._is_at_place = False
            self.set_class(False, "-values", "-at-place")
        if self.pages is not None:
            self.pages.hold(DETAIL_DELAY)
        self._show_soon(DETAIL_DELAY)
        self._ask_for_rows()
        self._later("bars", DETAIL_DELAY, self._update_bars)

    def on_module_tree_exposed(self, message: ModuleTree.Exposed) -> None:
        self._ask_for_rows()

    def on_facts_resized(self, message: Facts.Resized) -> None:
        self._show_soon(WANT_DELAY)

    # Answers

    def on_measured(self, message: Measured) -> None:
        pages = self.pages
        if pages is None or message.generation != self.generation:
            return
        for outcome, findings in message.verdicts:
            pages.take_outcome(outcome, findings)
        marked = {outcome.name for outcome, findings in message.verdicts if findings or outcome.reason is not None}
        self.tree_view.figures_changed([outcome.name for outcome, _ in message.verdicts], marked)
        if marked:
            self._update_bars()
        shown = pages.tensor_at(self.tree_view.cursor)
        if shown is None:
            # What comes without a pause must not put it off for ever.
            if "detail" not in self._delays:
                self._show_soon(MODULE_DELAY)
        elif any(shown.name == outcome.name for outcome, _ in message.verdicts):
            self._show_soon(WANT_DELAY)
        if self.query_now is not None and self.query_now.needs_figures and "filter" not in self._delays:
            self._later("filter", FILTER_AGAIN * (1 + len(pages.desk.opened.tensors) // _MANY), self._apply_filter)

    def on_working(self, message: Working) -> None:
        # What a sweep that was cancelled has still said is stale.
        sweep = message.sweep if self.desk is not None and self.desk.is_sweeping else None
        if message.activity is None and self.activity is None and sweep is self.sweep is None:
            return
        self.activity, self.sweep = message.activity, sweep
        self._update_bars()

    def on_comparing(self, message: Comparing) -> None:
        if message.generation == self.generation:
            self._update_bars()

    def on_checked(self, message: Checked) -> None:
        if self.pages is not None and message.generation == self.generation:
            self.pages.take_report(message.report)
            self.tree_view.refresh()
            self._update_bars()
            self._show_soon(0.0)
            if self.query_now is not None and self.query_now.needs_figures:
                self._apply_filter()

    def on_located(self, message: Located) -> None:
        if self.pages is not None and message.generation == self.generation:
            self.pages.take_places(message)

    def on_histogram_ready(self, message: HistogramReady) -> None:
        if self.pages is not None:
            self.pages.take_histogram(message)

    def on_grid_ready(self, message: GridReady) -> None:
        if self.pages is not None:
            self.pages.take_grid(message)

    def on_value_grid_wanted(self, message: ValueGrid.Wanted) -> None:
        if self.pages is not None:
            self.pages.ask_for_values(message.expression)

    # The detail pane

    def _show_soon(self, seconds: float) -> None:
        self._later("detail", seconds, self._show_detail)

    def _show_detail(self) -> None:
        if self.pages is not None:
            self.pages.show(self.tree_view.cursor)

    # The filter

    def _key(self, name: str) -> str:
        """The key of that id, as the user has it."""
        return keys.first(name, getattr(getattr(self.app, "settings", None), "keys", {}))

    def on_search_bar_changed(self, message: SearchBar.Changed) -> None:
        from tui_params.core.query.query import parse_query

        query = parse_query(message.text)
        self.query_now = query if query.terms or query.errors else None
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
        self.found = None
        if query is None or query.is_empty:
            self.matching = -1
            self.tree_view.set_spans(None)
            self.tree_view.keep_only(None)
        else:
            found = self.found = look(query, opened, self.pages, desk, self._key("scan"))
            self.matching = len(found.indices)
            self.tree_view.set_spans(query.name_spans)
            self.tree_view.set_empty_text(found.in_place_of_rows)
            self.tree_view.keep_only(opened.positions[index] for index in found.indices)
            if found.coming:
                self._ask_for_rows()
        self.search.note(*note_of(query, self.found, self.search.note_width))
        self._update_bars()

    def on_search_bar_closed(self, message: SearchBar.Closed) -> None:
        if not message.is_kept:
            self.search.clear()
            self._apply_filter()
        self.tree_view.search_anchor = None
        self.search.display = False
        self.tree_view.focus()
        self._update_bars()

    def on_search_bar_stepped(self, message: SearchBar.Stepped) -> None:
        self.tree_view.search_anchor = None
        self.tree_view.action_cursor(message.step)

    # The strips

    @property
    def bar_state(self) -> BarState:
        """What the header and the status line show now."""
        desk, pages, tree, opened = self.desk, self.pages, self.tree_view, self.opened
        report = pages.report if pages is not None else None
        known = pages.troubles.all_findings() if pages is not None and report is None else ()
        focus: Focus = "tree"
        if self.search.display and not tree.has_focus:
            focus = "search"
        elif self.detail.field.has_focus:
            focus = "slice"
        elif self.detail.grid.has_focus:
            focus = "values"
        elif self.detail.facts.has_focus:
            focus = "facts"
        return BarState(
            glyphs=self.glyphs,
            label=self.opening.label,
            opened=opened,
            stale=self.stale,
            has_unknown_sizes=pages is not None and pages.has_unknown_sizes,
            sort=self.sort,
            sort_read=self.sort_read,
            activity=self.activity,
            sweep=self.sweep,
            is_comparing=desk is not None and desk.is_comparing,
            report=report,
            errors=sum(finding.severity == "error" for finding in known),
            query=self.query_now,
            found=self.found,
            is_searching=self.search.display,
            note_width=self.search.note_width,
            said=self.said,
            focus=focus,
            is_tensor=opened is not None and tree.cursor is not None and not opened.tree.is_module(tree.cursor),
            has_tables=self.detail.grid.has_tables,
            keys=getattr(getattr(self.app, "settings", None), "keys", {}),
        )

    def _update_bars(self) -> None:
        if not self.is_mounted:
            return
        state = self.bar_state
        self.query_one("#header", StripBar).show(lambda width: header_lines(state, width))
        self.query_one("#status", StripBar).show(lambda width: status_lines(state, width))

    def on_resize(self) -> None:
        # The room for the note in the search bar is another one.
        self.call_after_refresh(self._update_bars)

    def on_descendant_focus(self) -> None:
        self._unsay()
        self._update_bars()
