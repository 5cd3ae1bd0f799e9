"""KindsScreen: the tensors folded to kinds, each with its figures over the layers, and the page of the one at hand."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from textual.app import ComposeResult
from textual.containers import Container

from tui_params.core import text
from tui_params.core.layers import odd
from tui_params.tui import keys
from tui_params.tui.later import Later
from tui_params.tui.screens.layer_screen import LayerScreen
from tui_params.tui.state.layer_book import LayerBook
from tui_params.tui.widgets.bars import Divider, Part
from tui_params.tui.widgets.canvas import LinesView
from tui_params.tui.widgets.kinds.kind_list import KindList
from tui_params.tui.widgets.kinds.kind_page import kind_page

_PAGE_DELAY = 0.08

_LARGE, _PAGE_AGAIN = 3_000, 5.0
"""Tensors of a kind from which on its page is made anew at most once in so many seconds."""


class KindsScreen(LayerScreen):
    """The list of kinds, and beside or below it the page of the kind at the cursor."""

    KEYS = keys.KINDS
    BINDINGS = keys.bindings(keys.KINDS)
    TITLE_OF = "Kinds"
    AUTO_FOCUS = "KindList"

    _came_from: int | None = None
    _is_page_old = False
    _page_at = 0.0
    _page_timer: Later | None = None
    _page_of: tuple[LayerBook, int] | None = None

    def compose(self) -> ComposeResult:
        yield self.title_bar
        with Container(id="kinds-body"):
            yield KindList(self.glyphs, id="kinds")
            yield Divider(self.glyphs, id="kinds-divider")
            yield LinesView(id="kind-page")
        yield self.key_bar

    @property
    def rows(self) -> KindList:
        return self.query_one(KindList)

    @property
    def shown(self) -> LayerBook | None:
        return self.rows.book

    @property
    def current_tensor(self) -> int | None:
        return self.rows.current_tensor

    @property
    def nearest_tensor(self) -> int | None:
        """The tensor at the cursor; of a kind, the one that one came from, or one that stands out, or the first."""
        book, current = self.rows.book, self.rows.current
        if self.current_tensor is not None or book is None or current is None:
            return self.current_tensor
        kind, _ = current
        if self._came_from is not None and book.kind_of[self._came_from] == kind:
            return self._came_from
        odd = book.usual(kind).odd
        return book.table.members[kind].indices[odd[0].place if odd else 0]

    def show(self, book: LayerBook | None) -> None:
        if book is None:
            self.rows.words = "The tensors are being grouped by their names."
            self.rows.fill()
            return
        self.rows.words = "There are no tensors here."
        self.rows.show(book)
        self._is_page_old = True

    def fill(self) -> None:
        super().fill()
        book, current = self.rows.book, self.rows.current
        if self._is_page_old and book is not None and current is not None:
            # A page of many tensors costs more than everything else on screen.
            is_large = book.table.kinds[current[0]].count > _LARGE
            if not is_large or monotonic() - self._page_at >= _PAGE_AGAIN:
                self._show_page()

    def begin(self) -> None:
        super().begin()
        self._show_page()

    @property
    def hints(self) -> Sequence[str]:
        read = ("kinds.read",) if self.can_read else ()
        return ("kinds.enter", "kinds.statistic", *read, "kinds.matrix", "kinds.back", "kinds.help")

    def go_to(self, tensor: int) -> None:
        book = self.rows.book
        if book is not None:
            self._came_from = tensor
            self.rows.go_to_kind(book.kind_of[tensor])

    def title_parts(self, book: LayerBook) -> list[Part]:
        kinds, tensors = len(book.table.kinds), len(book.table.tensors)
        words = f"{text.plural(kinds, 'kind')} of {text.plural(tensors, 'tensor')}"
        return [(f"  {words}", "text"), (f"  {text.clean(self.made.label(), 60)}", "dim")]

    def _show_page(self) -> None:
        book, current = self.rows.book, self.rows.current
        page = self.query_one("#kind-page", LinesView)
        self._is_page_old, self._page_at, self._page_timer = False, monotonic(), None
        if book is None or current is None or page.size.width <= 0:
            page.set_lines([])
            return
        kind = current[0]
        view = self.made.page(kind)
        lines = kind_page(book, kind, view, page.size.width, page.size.height, self.glyphs)
        page.set_lines(lines, from_top=(book, kind) != self._page_of)
        self._page_of = (book, kind)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_page)

    def on_kind_list_moved(self, message: KindList.Moved) -> None:
        self.notice.clear()
        # A page of thousands of tensors is not made for every row that the cursor passes.
        if self._page_timer is not None:
            self._page_timer.stop()
        self._page_timer = Later(self, _PAGE_DELAY, self._show_page)

    @property
    def is_settled(self) -> bool:
        return super().is_settled and self._page_timer is None

    # Keys

    def action_move(self, by: int) -> None:
        self.rows.move(by)

    def action_page(self, by: int) -> None:
        self.rows.page(by)

    def action_edge(self, by: int) -> None:
        self.rows.edge(by)

    def action_scroll_page(self, by: int) -> None:
        page = self.query_one("#kind-page", LinesView)
        page.scroll_lines(page.top + by * max(1, page.size.height - 2))

    def action_into(self) -> None:
        if not self.rows.toggle(opens=True):
            self.notice.say("There is nothing to open here: enter goes to the tensor.")

    def action_out(self) -> None:
        if not self.rows.toggle(opens=False):
            self.notice.say("There is nothing to close here.")

    def action_enter(self) -> None:
        """Open or close a kind of several tensors; go to a tensor."""
        if self.rows.current_tensor is not None:
            self.go_there()
        else:
            self.rows.toggle()

    @property
    def notes(self) -> Sequence[str]:
        return (
            "A kind is all tensors whose names differ in numbers only. The strip has a cell for each layer of its "
            "stack: a bar as high as the value beside the greatest of the kind. Of several tensors in a cell, one with "
            "a NaN counts, then an odd one, then the greatest. A blank: no such tensor in that layer.",
            f"{self.glyphs.unknown} not read yet, - no such value, {self.glyphs.unreadable} cannot be read, "
            "N has a NaN or an infinity.",
            ODD_NOTE,
        )


ODD_NOTE = (
    f"A tensor is odd if it is at least {odd.TIMES:g} times the median of its kind (or the median that many times it; "
    f"of shares, {100 * odd.POINTS:g} points away), and that is beyond {odd.SPREADS:g} robust standard deviations, "
    f"1.4826 times the median distance from the median. It takes {odd.LEAST_KNOWN} tensors that are known. "
    "A tensor with a NaN or an infinity is always odd."
)
