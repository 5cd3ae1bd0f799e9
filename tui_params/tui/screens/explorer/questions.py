"""Questions: what the main screen asks of the desk and of the pages, each a moment after what gave rise to it."""

from __future__ import annotations

from collections.abc import Callable

from tui_params.tui.desk.desk import Desk
from tui_params.tui.pages.pages import Pages
from tui_params.tui.screens.explorer import delays
from tui_params.tui.screens.explorer.delays import Delays
from tui_params.tui.screens.explorer.filter import Filter
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.widgets.tree.module_tree import ModuleTree


class Questions:
    """Asks for the figures of what is on screen, and for the page of the row at the cursor.

    ``painted`` is called with the page, so that the hints for its row are sent in one piece with it.
    """

    def __init__(
        self, session: Session, tree: ModuleTree, filter: Filter, waiting: Delays, painted: Callable[[], None]
    ) -> None:
        self.wanted: list[str] = []
        self.changed: tuple[str, ...] = ()
        """Tensors that were edited: they are read even if they are not on screen."""
        self.inside: str | None = None
        """The tensor that is looked into."""
        self._session = session
        self._tree = tree
        self._filter = filter
        self._waiting = waiting
        self._painted = painted

    def ask_soon(self) -> None:
        self._waiting.call("want", delays.WANT_DELAY, self.ask)

    def ask(self) -> None:
        """Ask for the tensor at the cursor, then those on screen, then all that a filter on statistics needs.

        Of a source elsewhere those alone that are small, or that the user asked for; a filter needs the sweep there.
        """
        desk, pages = self._session.desk, self._session.pages
        if desk is None or pages is None:
            return
        names = [info.name for info in self._tree.tensors_on_screen()]
        shown = pages.tensor_at(self._tree.cursor)
        if shown is not None:
            names.insert(0, shown.name)
            gradient = desk.opened.source.listing.gradients.get(shown.name)
            if gradient is not None:
                names.insert(1, gradient.name)  # it stands beside
        names[:0] = [self.inside] if self.inside is not None else []
        names += self.changed
        query = self._filter.query
        is_far = desk.fetching.is_far
        if query is not None and query.needs_figures and not desk.is_sweeping and not is_far:
            # A filter on statistics needs them all, which a sweep reads anyway; what is on screen goes first.
            names += [info.name for info in desk.opened.tensors] if query.needs_tensors else []
            if query.needs_gradients:
                names += [info.name for info in desk.opened.source.listing.gradients.values()]
        if is_far:
            names = [name for name in (*names, *desk.fetching.agreed) if self._is_free(name, desk, pages)]
        self.wanted = [name for name in dict.fromkeys(names) if name not in pages.reasons]
        desk.want(self.wanted)

    @staticmethod
    def _is_free(name: str, desk: Desk, pages: Pages) -> bool:
        """Whether a tensor is read although it has to be fetched: it is small, or the user asked for it."""
        info = pages.find(name)
        return info is not None and (desk.figures(name) is not None or not desk.fetching.figures_toll(info))

    def show_soon(self, seconds: float) -> None:
        self._waiting.call("detail", seconds, self.show)

    def show(self) -> None:
        """Show the page of the row at the cursor, which asks for what it lacks."""
        pages = self._session.pages
        if pages is not None:
            pages.show(self._tree.cursor)
            if not pages.is_held:
                self._painted()

    @property
    def are_answered(self) -> bool:
        """Whether everything that was asked for is known, or known to be unreadable."""
        pages = self._session.pages
        return pages is not None and all(
            pages.desk.figures(name) is not None or name in pages.reasons for name in self.wanted
        )
