"""Dialogs: the screens that lie over the main one, and what becomes of their answers. Each is imported when opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import App

from tui_params.tui.screens.explorer.column_choice import ColumnChoice
from tui_params.tui.screens.explorer.filter import Filter
from tui_params.tui.screens.explorer.order import Order
from tui_params.tui.screens.explorer.questions import Questions
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.state.sorting import SortChoice
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.tree.module_tree import ModuleTree

if TYPE_CHECKING:
    from tui_params.tui.state.finding_groups import ListedFinding


class Dialogs:
    """Opens the problems, the orders, the columns and the help."""

    def __init__(
        self,
        session: Session,
        tree: ModuleTree,
        filter: Filter,
        questions: Questions,
        order: Order,
        columns: ColumnChoice,
        glyphs: Glyphs,
    ) -> None:
        self._session = session
        self._tree = tree
        self._filter = filter
        self._questions = questions
        self._order = order
        self._columns = columns
        self._glyphs = glyphs

    def problems(self, app: App[object]) -> None:
        pages = self._session.pages
        if pages is None:
            return
        from tui_params.tui.screens.problems import ProblemsScreen

        app.push_screen(ProblemsScreen(pages, self._glyphs), self.go_to_finding)

    def go_to_finding(self, finding: ListedFinding | None) -> None:
        """Go to the tensor of a finding, or the parameter of that gradient, and to the place in its values."""
        pages = self._session.pages
        if finding is None or finding.tensor is None or pages is None:
            return
        node = pages.go_to(finding.tensor, finding.rule)
        if node is not None:
            self._filter.leave_for(node)
            self._tree.reveal(node)
            self._questions.show_soon(0.0)
            self._questions.ask_soon()

    def sort(self, app: App[object]) -> None:
        from tui_params.tui.screens.sort import SortScreen

        def chosen(choice: SortChoice | None) -> None:
            if choice is not None:
                self._order.choose(choice)

        live, across = self._columns.is_live, self._columns.is_across
        app.push_screen(SortScreen(self._glyphs, self._order.choice, is_live=live, is_across=across), chosen)

    def columns(self, app: App[object]) -> None:
        if self._session.opened is None:
            return
        from tui_params.tui.screens.columns import ColumnsScreen

        columns = self._columns
        app.push_screen(
            ColumnsScreen(
                self._glyphs,
                columns.chosen,
                columns.shown,
                columns.change,
                is_live=columns.is_live,
                is_across=columns.is_across,
            )
        )

    def help(self, app: App[object], *, at_filter: bool) -> None:
        from tui_params.tui.screens.help import HelpScreen

        app.push_screen(HelpScreen(self._glyphs, at_filter=at_filter))
