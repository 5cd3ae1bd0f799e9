"""Answers: what the desk says, on its way to the pages, the tree and the header."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_params.tui.desk.messages import (
    AdaptersFound,
    ChangesFound,
    Checked,
    GridReady,
    HistogramReady,
    Located,
    Measured,
    PiecesFound,
    SweepProgress,
    Working,
)
from tui_params.tui.screens.explorer import delays
from tui_params.tui.screens.explorer.delays import Delays
from tui_params.tui.screens.explorer.filter import Filter
from tui_params.tui.screens.explorer.questions import Questions
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.widgets.tree.module_tree import ModuleTree

if TYPE_CHECKING:
    from tui_params.core.reading.scanner import Activity


class Answers:
    """Takes each answer, unless it was asked for in an earlier opening; ``changed`` is called to paint the header."""

    def __init__(
        self,
        session: Session,
        tree: ModuleTree,
        filter: Filter,
        questions: Questions,
        waiting: Delays,
        changed: Callable[[], None],
    ) -> None:
        self.activity: Activity | None = None
        """What is being read, once that has taken a moment."""
        self._latest: Activity | None = None
        self.sweep: SweepProgress | None = None
        self._session = session
        self._tree = tree
        self._filter = filter
        self._questions = questions
        self._waiting = waiting
        self._changed = changed

    @property
    def is_reading(self) -> bool:
        """Whether something is being read, however short a time."""
        return self._latest is not None or self.sweep is not None

    def reset(self) -> None:
        """Forget what an earlier opening was reading."""
        self.activity = self._latest = self.sweep = None
        self._waiting.drop("busy")

    def take_measured(self, message: Measured) -> None:
        pages = self._session.pages
        if pages is None or message.generation != self._session.generation:
            return
        for outcome, findings in message.outcomes:
            pages.take_outcome(outcome, findings)
        names = [outcome.name for outcome, _ in message.outcomes]
        marked = {outcome.name for outcome, findings in message.outcomes if findings or outcome.reason is not None}
        self._tree.figures_changed(names, marked)
        if marked:
            self._changed()
        shown = pages.tensor_at(self._tree.cursor)
        if shown is None:
            # Figures that arrive without a pause must not put it off for ever.
            if not self._waiting.is_waiting("detail"):
                self._questions.show_soon(delays.MODULE_DELAY)
        elif shown.name in names or f"{shown.name}.grad" in names:
            self._questions.show_soon(delays.WANT_DELAY)
        self._filter.apply_again_soon()

    def take_working(self, message: Working) -> None:
        # A sweep that was stopped may still have said something: that is stale.
        desk = self._session.desk
        sweep = message.sweep if desk is not None and desk.is_sweeping else None
        if message.activity is None:
            self._waiting.drop("busy")
        elif self._latest is None:
            self._waiting.call("busy", delays.BUSY_DELAY, self._show_activity)
        self._latest = message.activity
        is_shown = self.activity is not None
        if is_shown:
            self.activity = message.activity
        if is_shown or sweep is not None or self.sweep is not None:
            self.sweep = sweep
            self._changed()

    def _show_activity(self) -> None:
        self.activity = self._latest
        self._changed()

    def take_checked(self, message: Checked) -> None:
        pages = self._session.pages
        if pages is None or message.generation != self._session.generation:
            return
        pages.take_report(message.report)
        self._tree.refresh()
        self._changed()
        self._questions.show_soon(0.0)
        if self._filter.needs_figures:
            self._filter.apply()

    def take_located(self, message: Located) -> None:
        if self._session.pages is not None and message.generation == self._session.generation:
            self._session.pages.take_places(message)

    def take_adapters(self, message: AdaptersFound) -> None:
        if self._session.pages is not None and message.generation == self._session.generation:
            self._session.pages.modules.adapters.take(message.adapters)
            self._questions.show_soon(0.0)

    def take_changes(self, message: ChangesFound) -> None:
        if self._session.pages is not None and message.generation == self._session.generation:
            self._session.pages.modules.adapters.take_changes(message.path, message.changes)
            self._questions.show_soon(0.0)

    def take_pieces(self, message: PiecesFound) -> None:
        if self._session.pages is not None and message.generation == self._session.generation:
            self._session.pages.take_pieces(message)

    def take_histogram(self, message: HistogramReady) -> None:
        if self._session.pages is not None:
            self._session.pages.take_histogram(message)  # its key has the generation

    def take_grid(self, message: GridReady) -> None:
        if self._session.pages is not None:
            self._session.pages.take_grid(message)  # its key has the generation
