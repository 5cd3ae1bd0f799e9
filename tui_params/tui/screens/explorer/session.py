"""Session: what is open on the main screen, from one opening of the source to the next."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.tui.desk.carried import Carried
from tui_params.tui.desk.desk import Desk
from tui_params.tui.desk.messages import SourceFailed, SourceOpened
from tui_params.tui.desk.pending_source import PendingSource
from tui_params.tui.pages.pages import Pages
from tui_params.tui.state.opened import Opened

if TYPE_CHECKING:
    from tui_params.core.figures import Figures
    from tui_params.core.numbers.summary import Summary


class Session:
    """The desk and the pages of the source, both made anew whenever it is opened (``R`` opens it again).

    ``generation`` counts the openings. Each answer carries the one it was asked in, so that a late one can be dropped.
    """

    def __init__(
        self,
        pending: PendingSource,
        post: Callable[[Message], object],
        make_desk: Callable[[Opened, int], Desk],
        make_pages: Callable[[Desk], Pages],
        *,
        is_editable: bool = False,
    ) -> None:
        self.pending = pending
        self.generation = 0
        self.desk: Desk | None = None
        self.pages: Pages | None = None
        self.stale: str | None = None
        """Why what is shown is no longer what is there."""
        self.carried: Carried | None = None
        """What is known of a model that can be edited, for the desk that follows an edit."""
        self._post = post
        self._make_desk = make_desk
        self._make_pages = make_pages
        self._is_editable = is_editable

    @property
    def opened(self) -> Opened | None:
        return self.desk.opened if self.desk is not None else None

    def listen(self) -> None:
        """Post SourceOpened or SourceFailed when the source has been opened, or cannot be."""

        def done(future: Future[Opened]) -> None:
            error = future.exception()
            self._post(SourceFailed(str(error)) if error is not None else SourceOpened(future.result()))

        self.pending.when_done(done)

    def open_again(self) -> None:
        self.pending.start()
        self.listen()

    def begin(self, opened: Opened) -> tuple[Desk, Pages]:
        """Close what was open before, and make the desk and the pages of what is open now."""
        if self.desk is not None:
            self.desk.close()
        self.stale = None
        is_training = opened.source.beat() is not None
        self.carried = Carried() if self._is_editable or is_training else None
        return self._start(opened)

    def renew(self, touched: Collection[str], *, keeps_figures: bool = False) -> None:
        """Make the desk and the pages anew, because values have changed: nothing that was read of them is kept.

        What was read of other tensors is, and answers to what was asked before are dropped. With ``keeps_figures`` the
        old figures are shown until there are new ones.
        """
        desk = self.desk
        if desk is None or self.carried is None:
            return
        desk.close(keeps_source=True)
        self.carried = self.carried.without(touched, keeps_figures=keeps_figures)
        self._start(desk.opened)

    def figures(self, name: str) -> Figures | None:
        """The exact figures of a tensor, if they are known by now."""
        figures = self.desk.figures(name) if self.desk is not None else None
        # The desk that follows an edit takes what is carried a moment later.
        return self.carried.figures(name) if figures is None and self.carried is not None else figures

    def summary_of(self, name: str) -> Summary | None:
        """The counts of a tensor that was read for its figures, as long as they are kept. From any thread."""
        scanner = self.desk.scanner if self.desk is not None else None
        return scanner.summary_of(name) if scanner is not None else None

    def _start(self, opened: Opened) -> tuple[Desk, Pages]:
        self.generation += 1
        desk = self.desk = self._make_desk(opened, self.generation)
        pages = self._make_pages(desk)
        if self.pages is not None:
            pages.keep_choices_of(self.pages)
        self.pages = pages
        return desk, pages

    def look_for_changes(self) -> None:
        """Ask whether the source is still what was opened; answered by SourceStale if it is not."""
        if self.desk is not None and self.stale is None:
            self.desk.look_for_changes()

    def close(self, wait: float) -> None:
        """Stop reading and release the files; waits at most ``wait`` seconds."""
        if self.desk is not None:
            self.desk.close(wait)
