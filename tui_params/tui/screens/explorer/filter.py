"""Filter: what the search bar asks for, and the tree with only what matches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_params.tui.screens.explorer import delays
from tui_params.tui.screens.explorer.delays import Delays
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.state.searching import Found, look, note_of
from tui_params.tui.widgets.bars import SearchBar
from tui_params.tui.widgets.tree.module_tree import ModuleTree

if TYPE_CHECKING:
    from tui_params.core.query.query import Query

_MANY = 20_000
"""Tensors from which on filtering takes so long that it waits until a word is typed."""


class Filter:
    """The filter that is on, and the tensors that match as far as they have been read.

    ``changed`` is called whenever it shows something else; ``scan_key`` gives the key that checks everything.
    """

    def __init__(
        self,
        session: Session,
        tree: ModuleTree,
        search: SearchBar,
        waiting: Delays,
        changed: Callable[[], None],
        scan_key: Callable[[], str],
    ) -> None:
        self.query: Query | None = None
        self.found: Found | None = None
        """What matches; None where no filter is on."""
        self._session = session
        self._tree = tree
        self._search = search
        self._waiting = waiting
        self._changed = changed
        self._scan_key = scan_key

    @property
    def needs_figures(self) -> bool:
        """Whether it asks for statistics, so that more may match when more has been read."""
        return self.query is not None and self.query.needs_figures

    @property
    def kept_names(self) -> frozenset[str] | None:
        """The names of the tensors that match; None where no filter is on."""
        opened = self._session.opened
        if self.found is None or opened is None:
            return None
        return frozenset(opened.tensors[index].name for index in self.found.indices)

    def change(self, text: str) -> None:
        """Take another text, and apply it: at once, or where there are many tensors after a moment."""
        from tui_params.core.query.query import parse_query

        query = parse_query(text)
        self.query = query if query.terms or query.errors else None
        opened = self._session.opened
        if opened is not None and len(opened.tensors) > _MANY and delays.FILTER_DELAY:
            self._waiting.call("filter", delays.FILTER_DELAY, self.apply)
        else:
            self.apply()

    def apply(self) -> None:
        """Show what matches, by what is known now."""
        desk, pages, query = self._session.desk, self._session.pages, self.query
        if desk is None or pages is None:
            return
        opened = desk.opened
        self.found = None
        if query is None or query.is_empty:
            self._tree.set_spans(None)
            self._tree.keep_only(None)
        else:
            found = self.found = look(
                query, opened, desk.figures, pages.marks, pages.lost_tensors(), pages.coverage, self._scan_key(),
                pages.changes,
            )  # fmt: skip
            self._tree.set_spans(query.name_spans)
            self._tree.set_empty_text(found.in_place_of_rows)
            self._tree.keep_only(opened.positions[index] for index in found.indices)
        self._search.note(*note_of(query, self.found, self._search.note_width))
        self._changed()

    def take_changes(self) -> None:
        """Apply it again, if it asks for what has moved since an earlier look, of which more is known now."""
        if self.query is not None and self.query.needs_changes:
            self.apply_again_soon(is_asked=True)

    def apply_again_soon(self, *, is_asked: bool = False) -> None:
        """Apply it again, if it asks for statistics, a moment after the first of many that arrive."""
        opened = self._session.opened
        if (is_asked or self.needs_figures) and opened is not None and not self._waiting.is_waiting("filter"):
            self._waiting.call("filter", delays.FILTER_AGAIN * (1 + len(opened.tensors) // _MANY), self.apply)

    def close_search(self, is_kept: bool) -> None:
        """Close the search bar and go back to the tree, with the filter or without it."""
        if not is_kept:
            self._search.clear()
            self.apply()
        self._tree.search_anchor = None
        self._search.display = False
        self._tree.focus()
        self._changed()

    def leave_for(self, node: int) -> None:
        """Drop the filter if it leaves out a node that must be seen."""
        rows = self._tree.rows
        if rows is not None and rows.is_filtered and rows.row_of(node) is None:
            # At once, not by way of a message: the cursor goes there next.
            self._search.set_text("")
            self.query = None
            self.apply()
