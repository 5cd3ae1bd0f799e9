"""ExplorerScreen: the main screen: what it is made of, and which part of it each message goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.notifications import SeverityLevel

from tui_params.core import text
from tui_params.core.collector import go_on_collecting
from tui_params.core.tree.rows import Rows
from tui_params.settings import Settings
from tui_params.tui import keys
from tui_params.tui.desk import messages
from tui_params.tui.desk.desk import Desk
from tui_params.tui.desk.pending_source import PendingSource
from tui_params.tui.pages.pages import Pages
from tui_params.tui.screens.explorer import delays
from tui_params.tui.screens.explorer.actions import Actions
from tui_params.tui.screens.explorer.answers import Answers
from tui_params.tui.screens.explorer.axis_choice import AxisChoice
from tui_params.tui.screens.explorer.bars import Bars
from tui_params.tui.screens.explorer.column_choice import ColumnChoice
from tui_params.tui.screens.explorer.comparing import Comparing
from tui_params.tui.screens.explorer.copying import Copying
from tui_params.tui.screens.explorer.delays import Delays
from tui_params.tui.screens.explorer.dialogs import Dialogs
from tui_params.tui.screens.explorer.editing import Editing
from tui_params.tui.screens.explorer.exporting import Exporting
from tui_params.tui.screens.explorer.filter import Filter
from tui_params.tui.screens.explorer.inside import Inside
from tui_params.tui.screens.explorer.layers import Layers
from tui_params.tui.screens.explorer.meter import Meter
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.order import Order
from tui_params.tui.screens.explorer.page_choices import PageChoices
from tui_params.tui.screens.explorer.panes import Panes
from tui_params.tui.screens.explorer.pulse import Pulse
from tui_params.tui.screens.explorer.questions import Questions
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.screens.explorer.transfer import Transfer
from tui_params.tui.screens.explorer.travel import Travel
from tui_params.tui.screens.explorer.verification import Verification
from tui_params.tui.state.looks import Looks
from tui_params.tui.state.opened import Opened
from tui_params.tui.state.searches import Searches
from tui_params.tui.state.view import View
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.bars import Divider, SearchBar, StripBar
from tui_params.tui.widgets.detail.tensor_detail import Facts, SliceField, TensorDetail
from tui_params.tui.widgets.detail.value_grid import ValueGrid
from tui_params.tui.widgets.tree import tree_messages
from tui_params.tui.widgets.tree.module_tree import ModuleTree

if TYPE_CHECKING:
    from tui_params.cache.choices import Choices
    from tui_params.cache.figures import FigureCache
    from tui_params.core.edits import Editor


class ExplorerScreen(Actions):
    """The tree, the detail pane and the bars of one source."""

    AUTO_FOCUS = "ModuleTree"

    def __init__(
        self,
        pending: PendingSource,
        glyphs: Glyphs,
        cache: FigureCache | None = None,
        choices: Choices | None = None,
        left: View | None = None,
        hint: str = "",
        looks: Looks | None = None,
        editor: Editor | None = None,
    ) -> None:
        super().__init__()
        self.left = left
        self.glyphs = glyphs
        self.hint = hint
        self.tree_view = tree = ModuleTree(glyphs, id="tree")
        self.detail = TensorDetail(glyphs, id="detail")
        self.search = SearchBar(id="search")
        self.searches = Searches(choices.searches, choices.keep_searches) if choices is not None else Searches()

        def make_desk(opened: Opened, generation: int) -> Desk:
            chosen = getattr(self.app, "settings", None) or Settings()
            kept = self.session.carried or cache
            return Desk(opened, generation, self.post_message, kept, chosen.limits, chosen.fetch_below)

        def make_pages(desk: Desk) -> Pages:
            words = "" if pending.is_logical else f"packed codes: {self.key_of('logical')} shows the weight"
            return Pages(desk, self.detail, glyphs, self.questions.show_soon, self.key_of("fetch"), words)

        def scan_key() -> str:
            return self.key_of("scan")

        self.waiting = waiting = Delays(self)
        self.notice = notice = Notice(self, self.update_bars)
        self.session = session = Session(pending, self.post_message, make_desk, make_pages, is_editable=bool(editor))
        self.filter = Filter(session, tree, self.search, waiting, self._filtered, scan_key)
        self.questions = Questions(session, tree, self.filter, waiting, self.update_bars)
        self.answers = Answers(session, tree, self.filter, self.questions, waiting, self.update_bars)
        self.order = Order(session, tree, self.filter, notice, waiting, self.update_bars, scan_key)
        self.comparing = Comparing(
            session, looks, tree, self.answers, self.questions, self.order, self.filter, waiting, notice,
            self.post_message, self.update_bars, self.key_of,
        )  # fmt: skip
        self.meter = meter = Meter(session, self.set_interval, self.update_bars)
        self.transfer = Transfer(
            session, tree, self.questions, self.comparing.against, meter, waiting, notice, self.key_of,
            lambda: self.size.width,
        )  # fmt: skip
        self.axis_choice = AxisChoice(session, tree, notice)
        self.columns = columns = ColumnChoice(session, tree, choices)
        self.dialogs = Dialogs(session, tree, self.filter, self.questions, self.order, columns, glyphs)
        self.travel = Travel(session, tree, self.filter, self.order, self.search, waiting, notice, choices, glyphs)
        self.exporting = Exporting(session, self, self.detail, self.filter, self.order, columns, notice, glyphs)
        self.copying = Copying(session, tree, notice, lambda: self.app)
        self.verification = verifying = Verification(session, notice, self.post_message, self.update_bars, self.key_of)
        self.editing = editing = Editing(
            editor, session, self, self.detail, notice, glyphs, self.update_bars, self._renew, self.key_of
        )
        self.pulse = Pulse(session, self, self.questions, self.update_bars)
        self.inside = Inside(session, tree, self.questions, notice, glyphs, self.pulse, lambda: self.app)
        self.folded = Layers(session, tree, self.travel, notice, glyphs, self, self.scan, self.key_of)
        self.bars = Bars(
            session, self.filter, self.answers, self.order, notice, verifying, editing, tree, self.detail, self.search,
            glyphs, self.pulse, self.comparing.against, meter,
        )  # fmt: skip
        self.panes = Panes(self, tree, self.detail, notice, lambda: self.key_of("enlarge"))
        self.page_choices = PageChoices(session, tree, self.questions, self.panes, notice)

    def compose(self) -> ComposeResult:
        yield self.bars.header
        with Horizontal(id="body"):
            yield self.tree_view
            yield Divider(self.glyphs, id="divider")
            yield self.detail
        yield self.search
        yield self.bars.status

    @property
    def pages(self) -> Pages | None:
        return self.session.pages

    @property
    def opened(self) -> Opened | None:
        return self.session.opened

    @property
    def is_settled(self) -> bool:
        """Whether every question has its answer and every answer is shown; for tests and pictures."""
        pages = self.pages
        is_at_rest = pages is not None and pages.is_settled and not (pages.desk.is_busy or self.verification.progress)
        is_at_rest = is_at_rest and self.waiting.is_empty and self.questions.are_answered
        parts = (self.comparing, self.editing, self.order, self.folded, self.meter)
        return is_at_rest and all(part.is_settled for part in parts)

    def key_of(self, name: str) -> str:
        """The key of that id, as the user has it."""
        return keys.first(name, self.bars.keys)

    # Opening

    def on_mount(self) -> None:
        self.bars.keys = getattr(getattr(self.app, "settings", None), "keys", {})
        self.hint = keys.fill_in(self.hint, self.bars.keys)
        self.detail.grid.has_cursor = self.editing.is_editable
        self.search.display = False
        self.set_class(self.glyphs.is_ascii, "-ascii")
        self.tree_view.set_empty_text(f"opening {text.clean(self.session.pending.label, 200)}")
        self.update_bars()
        self.session.listen()
        self.set_interval(delays.WATCH_EVERY, self.session.look_for_changes)

    def on_unmount(self) -> None:
        self.verification.stop()
        self.comparing.stop()
        self.exporting.close(wait=2.0)
        self.editing.close()
        self.session.close(wait=0.2)

    def on_source_failed(self, message: messages.SourceFailed) -> None:
        if self.desk is None:
            self.app.failure = message.reason  # type: ignore[attr-defined]
            self.app.exit(return_code=3)
            return
        if self.comparing.against.take_failure(message.reason):
            return
        # Opening again failed: what is on screen stays, and says so.
        self._say_stale(f"not opened again: {message.reason}", message.reason, "Not opened again", "error")

    def on_source_opened(self, message: messages.SourceOpened) -> None:
        self.verification.stop()
        self.exporting.stop()
        _, pages = self.session.begin(message.opened)
        self.questions.changed = ()
        self.answers.reset()
        self.order.reset()
        self.tree_view.set_axis(None)  # it asks the desk that is closed
        self.columns.begin()
        self.travel.begin()
        self.hint = self.hint or self.folded.offer(message.opened)
        view, rows = self.left, Rows(message.opened.tree)
        if view is None:
            rows.open_initially(max(12, self.tree_view.size.height))
        else:
            rows.expand_paths(view.expanded)
        self.tree_view.set_empty_text("no tensors here")
        gradients = message.opened.source.listing.gradients
        self.tree_view.show(rows, self.session.figures, pages.marks, message.opened.content, gradients)
        self.comparing.begin()
        self.pulse.begin()
        self.meter.begin()
        self.travel.go_on(view)
        if self.filter.query is not None:
            self.filter.apply()
        self.update_bars()
        self.questions.show_soon(0.0)
        self.questions.ask_soon()
        self.call_after_refresh(go_on_collecting)  # off while starting, see explore.py

    def _renew(self, touched: frozenset[str]) -> None:
        """Values of these tensors were edited: forget what was read of them, and read them again."""
        pages, desk = self.pages, self.desk
        if pages is None or desk is None or not touched:
            return
        reads_all = desk.is_sweeping or pages.report is not None
        self.session.renew(touched)
        self.answers.reset()
        self.questions.changed = tuple(sorted(touched))
        if self.session.pages is not None:
            self.tree_view.marks = self.session.pages.marks
        self.tree_view.refresh()
        self.comparing.begin()
        self.filter.apply_again_soon()
        self.order.sort_changed()
        self.questions.show()
        self.detail.grid.reload()
        self.questions.ask_soon()
        if reads_all and self.desk is not None:
            self.desk.sweep()

    def on_source_stale(self, message: messages.SourceStale) -> None:
        if message.generation == self.session.generation and self.session.stale is None:
            title = "Changed since it was opened" if self.pulse.words == "" else "No longer read"
            self._say_stale(message.sentence, message.sentence, title, "warning")

    def _say_stale(self, sentence: str, whole: str, title: str, severity: SeverityLevel) -> None:
        """Say in the header why what is shown is not what is there; a toast has room for the ``whole`` of it."""
        self.session.stale = sentence
        self.notify(text.clean(whole, 500), title=title, severity=severity, timeout=30, markup=False)
        self.update_bars()

    # What the widgets say

    def on_module_tree_moved(self, message: tree_messages.Moved) -> None:
        # The first move is the one to the first row.
        self.hint = "" if self.notice.move_on(message.at, self.hint) else self.hint
        self.comparing.stir()
        self.panes.leave_place()
        if self.pages is not None:
            self.pages.hold(delays.DETAIL_DELAY)
        self.questions.show_soon(delays.DETAIL_DELAY)
        self.questions.ask_soon()
        self.waiting.call("visit", delays.DETAIL_DELAY, self.travel.visit)

    def on_module_tree_exposed(self, message: tree_messages.Exposed) -> None:
        self.questions.ask_soon()

    def on_module_tree_refused(self, message: tree_messages.Refused) -> None:
        self.notice.say(message.why)

    def on_value_grid_refused(self, message: ValueGrid.Refused) -> None:
        self.notice.say(message.why)

    def on_value_grid_wanted(self, message: ValueGrid.Wanted) -> None:
        if self.pages is not None:
            self.pages.ask_for_values(message.expression)

    def on_facts_resized(self, message: Facts.Resized) -> None:
        self.questions.show_soon(delays.WANT_DELAY)

    def on_search_bar_changed(self, message: SearchBar.Changed) -> None:
        self.comparing.stir()
        self.searches.begin()
        self.filter.change(message.text)

    def on_search_bar_closed(self, message: SearchBar.Closed) -> None:
        if message.is_kept:
            self.searches.add(self.search.text)
        self.filter.close_search(message.is_kept)

    def on_search_bar_recalled(self, message: SearchBar.Recalled) -> None:
        found = self.searches.step(message.step, self.search.text)
        if found is not None:
            self.search.recall(found)
            self.filter.change(found)

    def on_search_bar_stepped(self, message: SearchBar.Stepped) -> None:
        self.tree_view.search_anchor = None
        self.tree_view.action_cursor(message.step)

    def on_descendant_focus(self) -> None:
        self.notice.clear()
        self.update_bars()

    # What the desk says

    def on_measured(self, message: messages.Measured) -> None:
        self.answers.take_measured(message)
        if message.generation == self.session.generation:
            names = [outcome.name for outcome, _ in message.outcomes]
            for part in (self.order, self.inside, self.folded):
                part.take_figures(names)

    def on_working(self, message: messages.Working) -> None:
        self.answers.take_working(message)
        self.transfer.take_activity(message.activity)

    def on_cross_checking(self, message: messages.CrossChecking) -> None:
        if message.generation == self.session.generation:
            self.update_bars()

    def on_checked(self, message: messages.Checked) -> None:
        self.answers.take_checked(message)
        if message.generation == self.session.generation:
            self.order.sort_again()

    def on_files_verified(self, message: messages.FilesVerified) -> None:
        self.verification.take(message)

    def on_located(self, message: messages.Located) -> None:
        self.answers.take_located(message)

    def on_adapters_found(self, message: messages.AdaptersFound) -> None:
        self.answers.take_adapters(message)

    def on_changes_found(self, message: messages.ChangesFound) -> None:
        self.answers.take_changes(message)

    def on_pieces_found(self, message: messages.PiecesFound) -> None:
        self.answers.take_pieces(message)

    def on_histogram_ready(self, message: messages.HistogramReady) -> None:
        self.answers.take_histogram(message)

    def on_grid_ready(self, message: messages.GridReady) -> None:
        self.answers.take_grid(message)

    def on_proposed(self, message: messages.Proposed) -> None:
        self.editing.take_proposed(message)

    def on_edited(self, message: messages.Edited) -> None:
        self.editing.take_edited(message)

    def on_source_sorted(self, message: messages.SourceSorted) -> None:
        self.order.take_sorted(message)

    def on_compared(self, message: messages.Compared) -> None:
        self.comparing.take(message)
        self.folded.take_figures(message.changes)

    def on_exported(self, message: messages.Exported) -> None:
        self.exporting.take(message)

    # The bars

    def _filtered(self) -> None:
        self.order.take_filter()
        if self.filter.found is not None and self.filter.found.coming:
            self.questions.ask_soon()
        self.update_bars()

    def update_bars(self) -> None:
        if self.is_mounted:
            self.bars.update()
            self.inside.look()

    def on_resize(self) -> None:
        # The room for the note in the search bar is another one.
        self.call_after_refresh(self.update_bars)

    # What the bars and the panes say

    def on_slice_field_left(self, message: SliceField.Left) -> None:
        if not self.detail.grid.is_right:
            self.detail.field.value = ""  # a wrong slice would be wrong for the next tensor, too
        self.action_clear()

    def on_divider_dragged(self, message: Divider.Dragged) -> None:
        self.panes.set_tree_width(message.column)

    async def on_strip_bar_clicked(self, message: StripBar.Clicked) -> None:
        name = self.bars.key_at(message.bar, message.x, message.y)
        if name:
            await self.app.run_action(keys.action(name), self.tree_view if name.startswith("tree.") else self)
