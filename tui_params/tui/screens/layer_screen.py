"""LayerScreen: what the screens of kinds and layers have in common: the title, the line of keys, and looking again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from textual.screen import Screen

from tui_params.tui.keys import Key
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.tensor.header import key_line
from tui_params.tui.state.layer_book import LayerBook
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import Part, StripBar, spread
from tui_params.tui.widgets.canvas import line_width
from tui_params.tui.widgets.detail.module_page import ModuleView

AGAIN = 0.5
"""Seconds after which what has become known meanwhile is shown."""


class Way(msgspec.Struct, frozen=True):
    """Where to go from such a screen: to a tensor, or to the other screen, at the place of that tensor."""

    tensor: str = ""
    screen: Literal["", "kinds", "matrix"] = ""


class Layers(msgspec.Struct, frozen=True):
    """What such a screen is made from. ``book`` is None as long as the tensors are being grouped.

    ``read`` begins the reading of all tensors; it says in the notice what is to be said, or asks there first.
    ``is_reading`` says whether it goes on. ``page`` gives what the page of a kind shows.
    """

    book: Callable[[], LayerBook | None]
    label: Callable[[], str]
    read: Callable[[Notice], None]
    is_reading: Callable[[], bool]
    page: Callable[[int], ModuleView]


class LayerScreen(Screen[Way]):
    """A screen above the tree."""

    KEYS: tuple[Key, ...] = ()
    TITLE_OF = ""

    def __init__(self, made: Layers, glyphs: Glyphs, at: str = "") -> None:
        super().__init__()
        self.made = made
        self.glyphs = glyphs
        self.notice = Notice(self, self.update_bars)
        self.title_bar, self.key_bar = StripBar(id="layers-title"), StripBar(id="layers-keys")
        self._at = at

    @property
    def is_settled(self) -> bool:
        """Whether everything that is known is shown; for tests and pictures."""
        return self.made.book() is not None

    def on_mount(self) -> None:
        self.set_class(self.glyphs.is_ascii, "-ascii")
        self.set_interval(AGAIN, self.fill)
        self.call_after_refresh(self.begin)

    def begin(self) -> None:
        """Show what is known, with the cursor at the tensor that one came from."""
        book = self.made.book()
        if book is not None:
            at = book.table.position.get(self._at)
            self._at = ""
            book.look()
            self.show(book)
            if at is not None:
                self.go_to(at)
        else:
            self.show(None)
        self.update_bars()

    def fill(self) -> None:
        """Show what is known by now."""
        book = self.made.book()
        if book is not None and self._at:
            self.begin()
        elif book is not None and (book.look() or book is not self.shown):
            self.show(book)
        self.update_bars()

    @property
    def shown(self) -> LayerBook | None:
        """The book that is on screen."""
        raise NotImplementedError

    def show(self, book: LayerBook | None) -> None:
        raise NotImplementedError

    def go_to(self, tensor: int) -> None:
        """Put the cursor on the tensor at a position."""
        raise NotImplementedError

    @property
    def current_tensor(self) -> int | None:
        raise NotImplementedError

    @property
    def nearest_tensor(self) -> int | None:
        """The tensor at which the other screen begins."""
        return self.current_tensor

    def title_parts(self, book: LayerBook) -> list[Part]:
        """What is shown, for the title."""
        raise NotImplementedError

    @property
    def hints(self) -> Sequence[str]:
        """Ids of the keys that matter now, the most important first."""
        raise NotImplementedError

    @property
    def can_read(self) -> bool:
        """Whether something is left to be read for what is shown, and is not being read already."""
        book = self.shown
        read, lost, total = book.column.counts() if book is not None else (0, 0, 1)
        return read + lost < total and not self.made.is_reading()

    # The bars

    def update_bars(self) -> None:
        if self.is_mounted:
            self.title_bar.show(lambda width: [self._title_line(width)])
            self.key_bar.show(lambda width: [self._key_line(width)])

    def _title_line(self, width: int) -> Line:
        book = self.shown  # what is on screen, also while it is being filled anew
        left: list[Part] = [(f" {self.TITLE_OF}", "title")]
        if book is None:
            return spread([*left, ("  grouping the tensors", "dim")], [], width)
        left += self.title_parts(book)
        read, lost, total = book.column.counts()
        words = f"{read:,} of {total:,} {'compared' if book.statistic.origin == 'change' else 'read'}"
        reading = "  reading" if self.made.is_reading() else ""
        right: list[Part] = [
            (f"{reading}  {book.statistic.title}", "accent"),
            (f", {words}{',' if lost else ''} ", "dim"),
        ]
        if lost:
            right.append((f"{lost:,} cannot be ", "warning"))
        while left[-1][1] == "dim" and line_width([*left, *right]) > width:
            left.pop()
        return spread(left, right, width)

    def _key_line(self, width: int) -> Line:
        changed = self._changed_keys
        hints = [next(key for key in self.KEYS if key.id == name) for name in self.hints]
        return key_line(self.notice.words, "", hints, changed, width)

    @property
    def _changed_keys(self) -> dict[str, str]:
        return getattr(getattr(self.app, "settings", None), "keys", {})

    # Keys

    def action_statistic(self, by: int) -> None:
        book = self.made.book()
        if book is not None:
            self.notice.clear()
            book.turn(by)
            self.fill()

    def action_read(self) -> None:
        self.made.read(self.notice)
        self.fill()

    def action_leave(self, screen: Literal["", "kinds", "matrix"] = "") -> None:
        """Back to the tree, or to the other screen; a question that stands there is taken back first."""
        if not screen and self.notice.withdraw():
            return
        book, at = self.made.book(), self.nearest_tensor
        name = book.table.tensors[at].name if book is not None and at is not None and screen else ""
        self.dismiss(Way(name, screen))

    def go_there(self) -> None:
        """To the tensor at the cursor, in the tree."""
        book, at = self.made.book(), self.current_tensor
        if book is not None and at is not None:
            self.dismiss(Way(book.table.tensors[at].name))

    def action_help(self) -> None:
        from tui_params.tui.screens.layer_help import LayerHelp

        self.app.push_screen(LayerHelp(self.glyphs, self.TITLE_OF, self.KEYS, self.notes))

    @property
    def notes(self) -> Sequence[str]:
        """What the signs mean, for the help."""
        return ()
