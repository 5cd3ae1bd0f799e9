"""PageChoices: what the page shows of a tensor: its gradient, its values at a slice, the scales of its histogram."""

from __future__ import annotations

from tui_params.tui.pages.pages import Pages
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.panes import Panes
from tui_params.tui.screens.explorer.questions import Questions
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.widgets.tree.module_tree import ModuleTree


class PageChoices:
    """The keys that change the page; a notice says why one does nothing."""

    def __init__(self, session: Session, tree: ModuleTree, questions: Questions, panes: Panes, notice: Notice) -> None:
        self._session = session
        self._tree = tree
        self._questions = questions
        self._panes = panes
        self._notice = notice

    def edit_values(self) -> None:
        self._questions.show()
        pages = self._session.pages
        if pages is None or pages.pane.info is None:
            self._notice.say("Only a tensor has values: move to one first.")
            return
        self._panes.edit_slice()

    def toggle_gradient(self) -> None:
        opened, pages = self._session.opened, self._session.pages
        if opened is None or pages is None:
            return
        if not opened.source.listing.gradients:
            self._notice.say("No gradients here: a model has them after backward().")
            return
        if pages.tensor_at(self._tree.cursor) is None:
            self._notice.say("Only a tensor has a gradient: move to one first.")
            return
        pages.is_gradient = not pages.is_gradient
        self._questions.show()
        self._questions.ask_soon()

    def toggle_log_counts(self) -> None:
        pages = self._pages_with_histogram()
        if pages is not None:
            pages.histogram.is_log_counts = not pages.histogram.is_log_counts
            self._questions.show()

    def toggle_log_axis(self) -> None:
        pages = self._pages_with_histogram()
        if pages is not None:
            pages.histogram.is_log_axis = not pages.histogram.is_log_axis
            self._questions.show()

    def _pages_with_histogram(self) -> Pages | None:
        """The pages, if there is a histogram at the cursor or one to come; else say why there is none."""
        pages = self._session.pages
        why = pages.why_no_histogram(self._tree.cursor) if pages is not None else None
        if why is not None:
            self._notice.say(why)
            return None
        return pages
