"""Order: by what the tree is sorted, and the tree that is built anew when that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tui_params.core import text
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.rows import Rows
from tui_params.tui.desk.messages import SourceSorted
from tui_params.tui.screens.explorer import delays
from tui_params.tui.screens.explorer.delays import Delays
from tui_params.tui.screens.explorer.filter import Filter
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.state.columns import BY_NAME
from tui_params.tui.state.sorting import Shown, SortChoice, shown_of
from tui_params.tui.widgets.tree.module_tree import ModuleTree

_MANY = 20_000
"""Tensors for which a tree is built anew within about 0.1 s: where there are more, it is done less often."""


class Order:
    """The order of the tree. Where it is by statistics, tensors that were not read stand last, and it says so.

    ``changed`` is called to paint the header; ``scan_key`` gives the key that reads everything.
    """

    def __init__(
        self,
        session: Session,
        tree: ModuleTree,
        filter: Filter,
        notice: Notice,
        waiting: Delays,
        changed: Callable[[], None],
        scan_key: Callable[[], str],
    ) -> None:
        self.choice = SortChoice("name")
        self.read: tuple[int, int] | None = None
        """How many tensors were read when they were sorted, and how many there are; None if all were, or need not."""
        self._shown: Shown | None = None
        self._stays_on: str | None = None
        self._is_quiet = False
        self._kept: frozenset[str] | None = None
        self._asked, self._asked_of = 0, 0
        self._session = session
        self._tree = tree
        self._filter = filter
        self._notice = notice
        self._waiting = waiting
        self._changed = changed
        self._scan_key = scan_key

    @property
    def is_settled(self) -> bool:
        """Whether every order that was asked for is shown; for tests and pictures."""
        return not self._asked or self._asked_of != self._session.generation

    def reset(self) -> None:
        """Go back to the order of a source that has just been opened."""
        self.choice = SortChoice("name")
        self.read = self._kept = None
        self._tree.set_order(None)

    def choose(self, choice: SortChoice, stays_on: str | None = None) -> None:
        """Sort the tree; the cursor goes to the first row, because the largest is what was asked for, or stays."""
        self.choice = choice
        self._stays_on = stays_on
        self._sort()

    def choose_column(self, column: str) -> None:
        """Sort by a column, or the other way round if the tree is sorted by it already."""
        name = BY_NAME[column].sort if column in BY_NAME else column
        if not name:
            self._notice.say("The tree cannot be sorted by this column.")
            return
        now = self.choice
        self.choose(SortChoice(name, now.name == name and not now.is_reversed, now.is_flat))

    def sort_again(self) -> None:
        """Sort what was sorted before all was read; the cursor stays where it is."""
        if self.read is not None:
            self._sort_around_cursor()

    def sort_changed(self) -> None:
        """Sort by what is known once values have changed; again when the changed ones have been read."""
        if not self.choice.is_default:
            self._sort_around_cursor()
            self._waiting.call("sort", delays.SORT_AGAIN, self.sort_again)

    def take_figures(self, names: Iterable[str]) -> None:
        """Sort anew a moment after figures have arrived of tensors that decide the order under the filter that is on.

        Without a filter only those on screen are read: it would bring others there, and these would be read in turn.
        """
        key, kept = self.choice.key, self._kept
        if kept is None or self.read is None or not key.is_measured or self._waiting.is_waiting("sort"):
            return
        of = [name.removesuffix(".grad") for name in names] if key.name == "grad" else names
        if any(name in kept for name in of):
            opened = self._session.opened
            many = len(opened.tensors) // _MANY if opened is not None else 0
            self._waiting.call("sort", delays.SORT_AGAIN * (1 + many), self._sort_quietly)

    def _sort_quietly(self) -> None:
        """Sort anew without a word about how much was read: the header says it."""
        self._is_quiet = True
        self._sort_around_cursor()

    def take_changes(self) -> None:
        """Sort anew if the tree is sorted by what has changed; the cursor stays where it is."""
        if self.choice.name in ("change", "gradchange", "across", "cosine", "share"):
            self._sort_around_cursor()

    def take_filter(self) -> None:
        """Sort by what the filter leaves now: a module stands where its tensors that are shown put it."""
        if not self.choice.is_default and self._kept != self._filter.kept_names:
            self._waiting.call("sort", delays.WANT_DELAY, self._sort_around_cursor)

    def _sort_around_cursor(self) -> None:
        opened, node = self._session.opened, self._tree.cursor
        if opened is not None:
            self._stays_on = opened.tree.name(node) if node is not None else None
            self._sort()

    def _sort(self) -> None:
        """Have the tree built in this order, off the thread of the screen; answered by SourceSorted."""
        desk, pages = self._session.desk, self._session.pages
        if desk is None or pages is None:
            return
        tensors: Sequence[TensorInfo] = desk.opened.tensors
        if self.choice.name == "grad":
            gradients = desk.opened.source.listing.gradients
            tensors = [info for info in tensors if info.name in gradients]
        kept = self._kept = self._filter.kept_names
        if kept is not None:
            tensors = [info for info in tensors if info.name in kept]
        # Tensors read between now and the sorting may take part in it; but those that are said to have, have.
        change_of = pages.changes.value_of(self.choice.name)
        self._shown = shown_of(self.choice, tensors, desk.figures, change_of)
        read = self._shown.read if self._shown is not None else None
        self.read = (len(read), len(tensors)) if read is not None and len(read) < len(tensors) else None
        self._asked = 1 if self.is_settled else self._asked + 1
        self._asked_of = self._session.generation
        desk.sort(self.choice, kept, change_of)

    def take_sorted(self, message: SourceSorted) -> None:
        """Show the tree in its new order, with the same modules open."""
        desk, pages = self._session.desk, self._session.pages
        if desk is None or pages is None or message.generation != self._session.generation:
            return
        self._asked -= 1
        is_quiet, self._is_quiet = self._is_quiet, False
        before = self._tree.rows
        opened_paths = before.expanded_paths() if before is not None else set()
        desk.opened = message.opened
        tree = message.opened.tree
        gradients = message.opened.source.listing.gradients
        pages.marks = pages.marks.moved_to(tree)
        pages.changes.moved_to(tree)
        rows = Rows(tree)
        rows.expand_paths(opened_paths)
        self._tree.set_order(self._shown, is_flat=self.choice.is_flat)
        self._tree.show(rows, self._session.figures, pages.marks, message.opened.content, gradients)
        kept = tree.find(self._stays_on) if self._stays_on is not None else None
        if kept is not None:
            self._tree.reveal(kept)
        else:
            self._tree.scroll_to(y=0, animate=False)
        if self._filter.query is not None:
            self._filter.apply()
        self._changed()
        if self.read is not None and not is_quiet:
            # The cursor has moved, which clears the notice.
            self._waiting.call("sorted", delays.WANT_DELAY, self._say_how_much_was_read)

    def _lost(self, unread: Iterable[str]) -> int:
        """How many of the tensors that decide the order cannot be read."""
        return sum(self._kept is None or name in self._kept for name in unread)

    def _say_how_much_was_read(self) -> None:
        desk, pages = self._session.desk, self._session.pages
        if self.read is None or desk is None or pages is None:
            return
        read, tensors = self.read
        words = f"By the {read:,} of {text.plural(tensors, 'tensor')} read so far" if read else "No tensor is read yet"
        if desk.is_sweeping:
            self._notice.say(f"{words}; again when all is read.")
        elif self.choice.key.of_figures is not None and read + self._lost(pages.marks.unread) < tensors:
            self._notice.say(f"{words}; {self._scan_key()} reads all.")
