"""Travel: back and forward through the tensors that were looked at, bookmarks, and going on where one left."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from textual.app import App

from tui_params.core import text
from tui_params.sources.given import is_address
from tui_params.tui.screens.explorer import delays, packed
from tui_params.tui.screens.explorer.delays import Delays
from tui_params.tui.screens.explorer.filter import Filter
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.order import Order
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.state.view import View
from tui_params.tui.state.visits import Visits
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.bars import SearchBar
from tui_params.tui.widgets.tree.module_tree import ModuleTree

if TYPE_CHECKING:
    from tui_params.cache.choices import Choices


class Travel:
    """Where the cursor has been, and where the user wants to find it again."""

    def __init__(
        self,
        session: Session,
        tree: ModuleTree,
        filter: Filter,
        order: Order,
        search: SearchBar,
        waiting: Delays,
        notice: Notice,
        choices: Choices | None,
        glyphs: Glyphs,
    ) -> None:
        self._session = session
        self._tree = tree
        self._filter = filter
        self._order = order
        self._search = search
        self._waiting = waiting
        self._notice = notice
        self._choices = choices
        self._glyphs = glyphs
        self._visits = Visits()
        self._bookmarks: dict[str, str] = {}

    def begin(self) -> None:
        """Take the bookmarks that were kept for the source that was opened."""
        if self._choices is not None and self._place is not None:
            self._bookmarks = {**self._choices.bookmarks(self._place), **self._bookmarks}

    @property
    def _place(self) -> str | None:
        """What bookmarks are kept under; None for a model in memory, whose names may be those of another model."""
        opened = self._session.opened
        if opened is None or opened.content.is_live:
            return None
        label = self._session.pending.label
        return label if is_address(label) else os.path.abspath(label)

    def visit(self) -> None:
        """The page of the row at the cursor is shown."""
        opened, node = self._session.opened, self._tree.cursor
        info = opened.tree.tensor(node) if opened is not None and node is not None else None
        if info is not None:
            self._visits.visit(info.name)

    def step(self, step: int) -> None:
        """Go back or forward."""
        name = self._visits.step(step)
        if name is None:
            self._notice.say(f"There is no {'earlier' if step < 0 else 'later'} tensor to go to.")
        else:
            self.go_to(name)

    def go_to(self, name: str) -> None:
        """Put the cursor on a tensor or a module; a filter that leaves it out is dropped."""
        opened = self._session.opened
        node = opened.tree.find(name) if opened is not None else None
        if node is None:
            self._notice.say(f"{text.clean(name, 60)} is not here any more.")
            return
        self._filter.leave_for(node)
        self._tree.reveal(node)

    @property
    def view(self) -> View | None:
        """Where the user is; None before anything was opened."""
        rows, node = self._tree.rows, self._tree.cursor
        if rows is None:
            return None
        cursor = rows.tree.name(node) if node is not None else None
        # The field is gone when the app has ended; the filter remembers its text.
        query = self._filter.query
        return View(cursor, frozenset(rows.expanded_paths()), query.text if query else "", self._order.choice)

    def go_on(self, view: View | None) -> None:
        """Go where the user was when the same source was left or opened again."""
        opened = self._session.opened
        if view is None or opened is None:
            return
        name, words = view.cursor, view.filter
        node = opened.tree.find(name) if name is not None else None
        if name is not None and node is None:
            node = opened.tree.find(packed.place_of(opened, name))
            if node is not None and self._filter.query is not None:
                self._filter.apply()
                self._filter.leave_for(node)
                words = ""
        if node is not None:
            self._tree.reveal(node)
        if words and self._filter.query is None:
            self._search.set_text(words)
            self._filter.change(words)
        if not view.order.is_default:
            self._order.choose(view.order, view.cursor)
            # Of what is on screen, the figures are there by then.
            self._waiting.call("sort", delays.SORT_AGAIN, self._order.sort_again)

    def set_bookmark(self, app: App[object]) -> None:
        opened, node = self._session.opened, self._tree.cursor
        if opened is None or node is None:
            self._notice.say("There is nothing here to set a bookmark on.")
            return
        from tui_params.tui.screens.bookmarks import BookmarksScreen

        name = opened.tree.name(node)

        def chosen(letter: str | None) -> None:
            if letter is None:
                return
            self._bookmarks[letter] = name
            if self._choices is not None and self._place is not None:
                self._choices.keep_bookmarks(self._place, self._bookmarks)
            self._notice.say(f"Bookmark {letter} is on {text.clean(name, 60)}")

        app.push_screen(BookmarksScreen(self._glyphs, self._bookmarks, name), chosen)

    def go_to_bookmark(self, app: App[object]) -> None:
        if not self._bookmarks:
            self._notice.say("There are no bookmarks yet.")
            return
        from tui_params.tui.screens.bookmarks import BookmarksScreen

        def chosen(letter: str | None) -> None:
            if letter is not None and letter in self._bookmarks:
                self.go_to(self._bookmarks[letter])
            elif letter is not None:
                self._notice.say(f"There is no bookmark {letter}.")

        app.push_screen(BookmarksScreen(self._glyphs, self._bookmarks), chosen)
