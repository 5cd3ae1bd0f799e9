"""Bars: the header and the status line of the main screen, kept up to date."""

from __future__ import annotations

from collections.abc import Mapping

from tui_params.tui.screens.explorer.against import Against
from tui_params.tui.screens.explorer.answers import Answers
from tui_params.tui.screens.explorer.bar_state import BarState, Focus
from tui_params.tui.screens.explorer.editing import Editing
from tui_params.tui.screens.explorer.filter import Filter
from tui_params.tui.screens.explorer.meter import Meter
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.order import Order
from tui_params.tui.screens.explorer.pulse import Pulse
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.screens.explorer.status import (
    header_lines,
    key_at_header,
    key_at_status,
    status_lines,
)
from tui_params.tui.screens.explorer.verification import Verification
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.bars import SearchBar, StripBar
from tui_params.tui.widgets.detail.tensor_detail import TensorDetail
from tui_params.tui.widgets.tree.module_tree import ModuleTree

_COMPARED = ("same", "equal", "moved", "dtype")
"""The states of a tensor whose values were compared with those of its partner."""


class Bars:
    """Gathers a BarState from the parts of the screen, and paints it."""

    def __init__(
        self,
        session: Session,
        filter: Filter,
        answers: Answers,
        order: Order,
        notice: Notice,
        verification: Verification,
        editing: Editing,
        tree: ModuleTree,
        detail: TensorDetail,
        search: SearchBar,
        glyphs: Glyphs,
        pulse: Pulse,
        against: Against,
        meter: Meter,
    ) -> None:
        self.header = StripBar(id="header")
        self.status = StripBar(id="status")
        self.keys: Mapping[str, str] = {}
        """The keys that the user has changed, by id."""
        self._pulse = pulse
        self._against = against
        self._meter = meter
        self._session = session
        self._filter = filter
        self._answers = answers
        self._order = order
        self._notice = notice
        self._verification = verification
        self._editing = editing
        self._tree = tree
        self._detail = detail
        self._search = search
        self._glyphs = glyphs

    @property
    def state(self) -> BarState:
        """What there is to show now."""
        desk, pages, opened, node = self._session.desk, self._session.pages, self._session.opened, self._tree.cursor
        report = pages.report if pages is not None else None
        return BarState(
            glyphs=self._glyphs,
            label=self._session.pending.label,
            opened=opened,
            stale=self._session.stale,
            has_codes=opened is not None and opened.has_codes,
            is_logical=self._session.pending.is_logical,
            pulse=self._pulse.words,
            fetched=(self._meter.amount, self._meter.rate),
            has_unknown_sizes=pages is not None and pages.modules.has_unknown_sizes,
            sort=self._order.choice,
            sort_read=self._order.read,
            compared=pages.changes.words if pages is not None else ("", "", ""),
            # What is read anew again and again would flicker.
            activity=self._answers.activity if self._pulse.is_held or not self._pulse.words else None,
            sweep=self._answers.sweep,
            verifying=self._verification.progress,
            comparing=self._against.progress,
            is_cross_checking=desk is not None and desk.is_cross_checking,
            report=report,
            errors=pages.reports.errors(pages.marks) if pages is not None and report is None else 0,
            query=self._filter.query,
            found=self._filter.found,
            is_searching=self._search.display,
            note_width=self._search.note_width,
            said=self._notice.words,
            running=self._notice.running,
            focus=self._focus,
            is_tensor=opened is not None and node is not None and not opened.tree.is_module(node),
            has_difference=self._has_difference(node),
            editing=self._editing.words,
            has_tables=self._detail.grid.has_tables,
            keys=self.keys,
        )

    def _has_difference(self, node: int | None) -> bool:
        pages = self._session.pages
        info = pages.tensor_at(node) if pages is not None else None
        change = pages.changes.of(info.name) if pages is not None and info is not None else None
        return change is not None and change.state in _COMPARED

    @property
    def _focus(self) -> Focus:
        if self._search.display and not self._tree.has_focus:
            return "search"
        if self._detail.field.has_focus:
            return "slice"
        if self._detail.grid.has_focus:
            return "values"
        return "facts" if self._detail.facts.has_focus else "tree"

    def update(self) -> None:
        state = self.state
        self.header.show(lambda width: header_lines(state, width))
        self.status.show(lambda width: status_lines(state, width))

    def key_at(self, bar: StripBar, x: int, y: int) -> str | None:
        """The id of the key that a click on one of the bars stands for."""
        state, width = self.state, bar.size.width
        return key_at_header(state, width, x, y) if bar is self.header else key_at_status(state, width, x)
