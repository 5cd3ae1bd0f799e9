"""ExplorerScreen: what each key of the main screen does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widget import Widget
from textual.widgets import Input

from tui_params.core import text
from tui_params.core.tree.rows import Rows
from tui_params.tui import keys
from tui_params.tui.desk.messages import Checked, SourceSorted
from tui_params.tui.pages import Pages
from tui_params.tui.screens.explorer.wiring import WANT_DELAY, Wiring
from tui_params.tui.state.sorting import Shown, SortChoice, shown_of
from tui_params.tui.widgets.bars import Divider
from tui_params.tui.widgets.detail.detail_lines import summary_line
from tui_params.tui.widgets.detail.tensor_detail import SliceField, TensorDetail
from tui_params.tui.widgets.detail.value_grid import ValueGrid
from tui_params.tui.widgets.tree.module_tree import ModuleTree

if TYPE_CHECKING:
    from tui_params.tui.state.finding_groups import Problem


class ExplorerScreen(Wiring):
    """The main screen."""

    BINDINGS = keys.bindings(keys.SCREEN)
    _shown: Shown | None = None
    _sort_keeps: str | None = None

    def action_search(self) -> None:
        self.tree_view.search_anchor = self.tree_view.cursor
        self.search.open()
        self._update_bars()

    def action_clear(self) -> None:
        if not self.tree_view.has_focus:
            self.tree_view.focus()
        elif self.has_class("-enlarged"):
            self.action_enlarge()
        elif self.desk is not None and self.desk.is_sweeping:
            self.desk.stop_sweep()
            self._want()
        elif self.query_now is not None:
            self.search.clear()
        self.set_class(False, "-values")

    def on_slice_field_left(self, message: SliceField.Left) -> None:
        if not self.detail.grid.is_right:
            self.detail.field.value = ""  # a wrong slice would be wrong for the next tensor, too
        self.action_clear()

    def action_values(self) -> None:
        self._show_detail()
        if self.detail.info is None:
            self.say("Values are shown of a tensor: move to one first.")
            return
        self.set_class(True, "-values")
        self.detail.field.focus()

    def on_value_grid_refused(self, message: ValueGrid.Refused) -> None:
        self.say(message.why)

    def action_gradient(self) -> None:
        opened = self.opened
        if opened is None or self.pages is None:
            return
        if not opened.source.listing.gradients:
            self.say("No gradients here: a model has them after backward().")
            return
        if self.pages.tensor_at(self.tree_view.cursor) is None:
            self.say("A gradient is shown of a tensor: move to one first.")
            return
        self.pages.is_gradient = not self.pages.is_gradient
        self._show_detail()
        self._ask_for_rows()

    def action_log_counts(self) -> None:
        pages = self._pages_with_histogram()
        if pages is not None:
            pages.is_log_counts = not pages.is_log_counts
            self._show_detail()

    def action_log_axis(self) -> None:
        pages = self._pages_with_histogram()
        if pages is not None:
            pages.is_log_axis = not pages.is_log_axis
            self._show_detail()

    def _pages_with_histogram(self) -> Pages | None:
        """The pages, if there is a histogram at the cursor or one to come; else it is said why there is none."""
        why = self.pages.why_no_histogram(self.tree_view.cursor) if self.pages is not None else None
        if why is not None:
            self.say(why)
            return None
        return self.pages

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
        if self.has_class("-enlarged"):
            self.say(f"The detail has the whole width: {self._key('enlarge')} gives it back.")
        elif self.has_class("-stacked"):
            self.say("The panes stand one above the other here.")
        else:
            before, after = self.tree_view.outer_size.width, max(20, min(width, self.size.width - 24))
            self.tree_view.styles.width = after
            if after == before != width:
                self.say("There is no room for more." if width > before else "The tree needs this width.")

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
        facts.scroll_lines(facts.top + step * max(1, facts.size.height // 2))

    def action_copy_name(self) -> None:
        opened, node = self.opened, self.tree_view.cursor
        if opened is not None and node is not None:
            self._copy(opened.tree.name(node), "Copied the name")
        else:
            self.say("There is nothing to copy here.")

    def action_copy_line(self) -> None:
        info = self.pages.tensor_at(self.tree_view.cursor) if self.pages is not None else None
        if info is None or self.desk is None:
            self.action_copy_name()
        else:
            self._copy(summary_line(info, self.desk.figures(info.name)), "Copied the summary")

    def _copy(self, words: str, said: str) -> None:
        # A name out of a file may hold a newline and a command: it would run where it is pasted.
        self.app.copy_to_clipboard(text.clean(words))
        self.notify(f"{said}: {text.clean(words, 60)}", markup=False)

    def action_reload(self) -> None:
        opened, node = self.opened, self.tree_view.cursor
        if opened is None:
            return
        self._return_to = opened.tree.name(node) if node is not None else None
        self.opening.start()
        self._listen()

    def action_scan(self) -> None:
        if self.desk is None:
            return
        if self.desk.sweep():
            self._want()
        elif self.desk.is_comparing:
            self.say("Everything is read; the tensors are being compared.")
        else:
            self.say(f"Every tensor has been checked; {self._key('problems')} lists what was found.")

    def action_problems(self) -> None:
        if self.pages is None:
            return
        from tui_params.tui.screens.problems import ProblemsScreen

        self.app.push_screen(ProblemsScreen(self.pages, self.glyphs), self._go_to_problem)

    def _go_to_problem(self, problem: Problem | None) -> None:
        """Go to the tensor of a problem, or the parameter of that gradient, and to the place in its values."""
        opened, pages = self.opened, self.pages
        if problem is None or problem.tensor is None or opened is None or pages is None:
            return
        node = opened.tree.find(problem.tensor)
        parameters = (name for name, info in opened.source.listing.gradients.items() if info.name == problem.tensor)
        parameter = next(parameters, None) if node is None else None
        if parameter is not None:
            node = opened.tree.find(parameter)
        if node is None:
            return
        pages.is_gradient = parameter is not None
        pages.go_to(problem.tensor, problem.rule)
        self._leave_filter(node)
        self.tree_view.reveal(node)
        self._show_soon(0.0)
        self._ask_for_rows()

    def on_tensor_detail_went_to_place(self, message: TensorDetail.WentToPlace) -> None:
        # Where the terminal is too low for values beside the facts, they stay until the cursor moves on.
        self._is_at_place = not self.has_class("-values")
        self.set_class(True, "-values", "-at-place")

    def _leave_filter(self, node: int) -> None:
        """Drop the filter if it leaves a node out that must be seen."""
        rows = self.tree_view.rows
        if rows is not None and rows.is_filtered and rows.row_of(node) is None:
            self.search.clear()

    def action_sort(self) -> None:
        from tui_params.tui.screens.sort import SortScreen

        def chosen(sort: SortChoice | None) -> None:
            if sort is not None and self.desk is not None:
                self.sort = sort
                self._rebuild_tree()

        self.app.push_screen(SortScreen(self.glyphs, self.sort), chosen)

    def _rebuild_tree(self, *, is_again: bool = False) -> None:
        """Build the tree again in the chosen order, off this thread; answered by SourceSorted."""
        opened, desk, node = self.opened, self.desk, self.tree_view.cursor
        if opened is None or desk is None:
            return
        # What is largest is what was asked for; who was only waiting for the rest stays where they are.
        self._sort_keeps = opened.tree.name(node) if is_again and node is not None else None
        # What is read between now and the sorting may take part in it, but what is said to have, has.
        self._shown = shown_of(self.sort, opened.tensors, desk.figures)
        read = self._shown.read if self._shown is not None else None
        self.sort_read = (
            (len(read), len(opened.tensors)) if read is not None and len(read) < len(opened.tensors) else None
        )
        desk.sort(self.sort)

    def on_checked(self, message: Checked) -> None:
        if message.generation == self.generation and self.sort_read is not None:
            self._rebuild_tree(is_again=True)

    def on_source_sorted(self, message: SourceSorted) -> None:
        desk, pages = self.desk, self.pages
        if desk is None or pages is None or message.generation != self.generation:
            return
        before = self.tree_view.rows
        opened_paths = before.expanded_paths() if before is not None else set()
        desk.opened = message.opened
        tree = message.opened.tree
        pages.troubles = pages.troubles.moved_to(tree)
        rows = Rows(tree)
        rows.expand_paths(opened_paths)
        self.tree_view.set_order(self._shown, is_flat=self.sort.is_flat)
        self.tree_view.show(rows, desk.figures, pages.troubles)
        kept = tree.find(self._sort_keeps) if self._sort_keeps is not None else None
        if kept is not None:
            self.tree_view.reveal(kept)
        else:
            self.tree_view.scroll_to(y=0, animate=False)
        if self.query_now is not None:
            self._apply_filter()
        self._update_bars()
        if self.sort_read is not None:
            # The cursor has moved, which takes back what was said before.
            self._later("sorted", WANT_DELAY, self._say_what_is_sorted)

    def _say_what_is_sorted(self) -> None:
        if self.sort_read is None or self.desk is None or self.pages is None:
            return
        read, tensors = self.sort_read
        words = f"By the {read:,} of {text.plural(tensors, 'tensor')} read so far" if read else "No tensor is read yet"
        if self.desk.is_sweeping:
            self.say(f"{words}; again when all is read.")
        elif read + len(self.pages.troubles.unread) < tensors:
            self.say(f"{words}; {self._key('scan')} reads all.")

    def action_help(self) -> None:
        from tui_params.tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self.glyphs, at_filter=self.search.display))
