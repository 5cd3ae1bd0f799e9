"""Layers: the way from the tree to the kinds and the matrix, and what these are told of what is read meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Literal

from textual.screen import Screen as TextualScreen

from tui_params.tui.desk.messages import Faulted
from tui_params.tui.desk.worker import begin
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.screens.explorer.travel import Travel
from tui_params.tui.state.opened import Opened
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.tree.module_tree import ModuleTree

if TYPE_CHECKING:
    from threading import Thread

    from tui_params.core.tensor import TensorInfo
    from tui_params.tui.desk.desk import Desk
    from tui_params.tui.pages.kind_views import KindViews
    from tui_params.tui.pages.pages import Pages
    from tui_params.tui.screens.layer_screen import Way
    from tui_params.tui.state.layer_book import Asked, LayerBook
    from tui_params.tui.widgets.detail.module_page import ModuleView

AT_ONCE = 3_000
"""Tensors that are grouped and filled in within 20 ms, so that no key waits; more than these are, in a thread."""

OFFERED_FROM = 2_000
"""Tensors from which on the kinds are offered when a source is opened: the tree is long then."""

Screen = Literal["kinds", "matrix"]


class Layers:
    """Makes the book of a source when it is first wanted, keeps it up to date, and opens the two screens on it."""

    def __init__(
        self,
        session: Session,
        tree: ModuleTree,
        travel: Travel,
        notice: Notice,
        glyphs: Glyphs,
        screen: TextualScreen[None],
        read: Callable[[Notice, str], bool],
        key_of: Callable[[str], str],
    ) -> None:
        self._session = session
        self._tree = tree
        self._travel = travel
        self._notice = notice
        self._glyphs = glyphs
        self._screen = screen
        self._read = read
        self._key_of = key_of
        self._book: LayerBook | None = None
        self._views: KindViews | None = None
        self._opened: Opened | None = None
        self._filled: tuple[object, ...] = ()
        """What the book was filled from: the opening and the look before; then the marks, the tree and the report."""
        self._coming: set[str] = set()
        self._failed: tuple[object, ...] = ()
        """What a book could not be made of."""
        self._thread: Thread | None = None
        self._is_offered = False

    @property
    def is_settled(self) -> bool:
        """Whether no book is being made."""
        return self._thread is None or not self._thread.is_alive()

    def offer(self, opened: Opened) -> str:
        """A sentence for the status line where the tree is very long; only once."""
        if self._is_offered or len(opened.tensors) < OFFERED_FROM:
            return ""
        self._is_offered = True
        return f"{len(opened.tensors):,} tensors: {self._key_of('kinds')} folds them into kinds."

    # The book

    def book(self) -> LayerBook | None:
        """The book of what is open now; None as long as it is being made."""
        session = self._session
        desk, pages = session.desk, session.pages
        if desk is None or pages is None or not self.is_settled:
            return None
        opened = desk.opened
        state = (session.generation, pages.changes.since, pages.marks, opened.tree, pages.report)
        is_same = self._opened is not None and self._opened.source is opened.source
        if self._book is not None and is_same and state[:2] == self._filled[:2]:
            if state != self._filled:  # the tree has another order, or all marks are new
                self._book.ask(self._asked(desk, pages))
                self._filled, self._opened = state, opened
            names, self._coming = self._coming, set()
            self._book.take(names)
            return self._book
        before = self._book if is_same else None
        self._filled, self._opened, self._coming = state, opened, set()
        asked = self._asked(desk, pages)
        if len(opened.tensors) <= AT_ONCE:
            self._make(before, opened, asked)
            return self._book
        if self._failed != state:
            self._thread = begin("kinds", lambda: self._make(before, opened, asked), self._fail)
        return None

    def _fail(self, reason: str) -> None:
        self._failed = self._filled
        self._screen.post_message(Faulted(f"The tensors were not grouped: {reason}."))

    def _make(self, before: LayerBook | None, opened: Opened, asked: Asked) -> None:
        """Group the tensors, unless that is done, and take what is known of them."""
        from tui_params.core.layers.table import table_of
        from tui_params.tui.pages.kind_views import KindViews
        from tui_params.tui.state.layer_book import LayerBook

        if before is None:
            before = LayerBook(table_of(opened.tensors))
            modules = opened.source.listing.modules

            def class_of(info: TensorInfo) -> str | None:
                return modules.get(info.name.rpartition(".")[0])

            self._views = KindViews(before.table, self._session.figures, class_of)
        before.fill(asked)
        self._book = before

    def _asked(self, desk: Desk, pages: Pages) -> Asked:
        from tui_params.tui.state.layer_book import Asked

        reasons, gradients, changes = pages.reasons, desk.opened.source.listing.gradients, pages.changes
        figures, tree = self._session.figures, desk.opened.tree
        return Asked(
            figures,
            reasons.__contains__,
            changes.of,
            gradients,
            changes.since,
            pages.marks,
            tree,
            is_across=changes.is_across,
        )

    def take_figures(self, names: Collection[str]) -> None:
        """Something has become known of these tensors and gradients."""
        if self._filled:
            self._coming.update(names)

    # The screens

    def open(self, screen: Screen, at: str = "") -> None:
        """Show the kinds or the matrix, with the cursor at a tensor: that of the tree's cursor."""
        opened = self._session.opened
        if opened is None:
            return
        from tui_params.tui.screens.kinds import KindsScreen
        from tui_params.tui.screens.layer_screen import Layers as Made
        from tui_params.tui.screens.matrix import MatrixScreen

        self._notice.clear()
        node = self._tree.cursor
        info = opened.tree.tensor(node) if node is not None else None
        name = at or (info.name if info is not None else "")
        made = Made(self.book, self._label, partial(self._read_all, f"{screen}.read"), self._is_reading, self._page)
        kind = KindsScreen if screen == "kinds" else MatrixScreen
        self._screen.app.push_screen(kind(made, self._glyphs, name), self._go)

    def _go(self, way: Way | None) -> None:
        if way is None:
            return
        if way.screen:
            self.open(way.screen, way.tensor)
        elif way.tensor:
            self._travel.go_to(way.tensor)

    def _label(self) -> str:
        opened = self._session.opened
        return opened.source.label if opened is not None else ""

    def _page(self, kind: int) -> ModuleView:
        assert self._views is not None
        assert self._book is not None
        assert self._session.pages is not None
        return self._views.of(kind, self._book, self._session.pages.marks)

    def _read_all(self, key: str, notice: Notice) -> None:
        """Read everything, and say what is to be said; ``key`` is the id of the key that was pressed."""
        desk, pages = self._session.desk, self._session.pages
        if desk is None or pages is None:
            return
        if self._is_reading():
            notice.say("Every tensor is being read.")
        elif self._read(notice, key):
            notice.say("" if self._is_reading() else "Every tensor has been read.")

    def _is_reading(self) -> bool:
        return self._session.desk is not None and self._session.desk.is_sweeping
