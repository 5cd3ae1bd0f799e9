"""A source that is being opened in a thread of its own. Knows nothing of Textual.

It starts before Textual is imported, so that both go on at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tui_params.core.source import Source
from tui_params.errors import TuiParamsError
from tui_params.tui.state.opened import Opened, prepare

if TYPE_CHECKING:
    from tui_params.core.compare.both import BothSources
    from tui_params.tui.desk.listing_process import ListingProcess


class PendingSource:
    """A source that is being opened; the thread starts at once, while the terminal is still being set up."""

    def __init__(
        self,
        label: str,
        open_it: Callable[[], Source],
        *,
        is_logical: bool = False,
        open_other: Callable[[], Source] | None = None,
        given: str | None = None,
        listing: ListingProcess | None = None,
    ) -> None:
        """``listing``: what lists the checkpoint already, the first time that it is opened."""
        self.label = label
        self.given = label if given is None else given
        """The path or the address that the user gave; an address may have a password in it, the label has none."""
        self.is_logical = is_logical
        """Whether packed weights are opened as what they mean."""
        self.open_other = open_other
        """What opens the other source, if it is compared with one."""
        self.is_auto_renamed = False
        """Whether the renames that are suggested for the comparison are applied."""
        self._open_it = open_it
        self._future: Future[Opened] = Future()
        self._listing = listing
        self.start()

    def start(self) -> None:
        """Open the source, again if it was opened before."""
        future: Future[Opened] = Future()
        self._future = future
        is_logical, open_other, renames = self.is_logical, self.open_other, self.is_auto_renamed

        listing, self._listing = self._listing, None

        def work() -> None:
            try:
                listed = _listed(listing) if listing is not None else None
                if listed is not None:
                    future.set_result(listed)
                elif open_other is None:
                    future.set_result(prepare(_open(self._open_it, is_logical)))
                else:
                    both = _open_both(self._open_it, open_other, is_logical, renames)
                    future.set_result(prepare(both, both=both))
            except TuiParamsError as error:
                future.set_exception(error)
            except (MemoryError, OSError) as error:
                future.set_exception(TuiParamsError(f"{self.label}: {str(error) or type(error).__name__}"))
            if listing is not None:
                listing.reap()

        threading.Thread(target=work, name="open", daemon=True).start()

    def when_done(self, call: Callable[[Future[Opened]], object]) -> None:
        """Call with the finished future, in the thread that finished it, or at once if it is finished.

        If the source is being opened again by then, what was opened first is closed unseen, and nothing is called.
        """

        def done(future: Future[Opened]) -> None:
            if future is self._future:
                call(future)
            elif future.exception() is None:
                future.result().source.close()

        self._future.add_done_callback(done)


def _listed(listing: ListingProcess) -> Opened | None:
    """The source that a process has listed; None if it has not."""
    data = listing.wait()
    if data is None:
        return None
    from tui_params.api.opening import ENGINE
    from tui_params.cache.listings import unpack

    found = unpack(data, listing.path)
    if found is None:
        return None
    source, tree = found
    source.engine = ENGINE
    return prepare(source, tree=tree)


def _open(open_it: Callable[[], Source], is_logical: bool) -> Source:
    source = open_it()
    if not is_logical:
        return source
    from tui_params.core.packed.logical import LogicalSource

    return LogicalSource(source)


def _open_both(
    open_it: Callable[[], Source], open_other: Callable[[], Source], is_logical: bool, is_auto_renamed: bool
) -> BothSources:
    """Both sources; the other one first, so that nothing is left open if that cannot be."""
    from tui_params.core.compare.both import BothSources

    b = _open(open_other, is_logical)
    with ExitStack() as stack:
        stack.callback(b.close)
        a = _open(open_it, is_logical)
        both = BothSources(a, b, auto_rename=is_auto_renamed)
        stack.pop_all()
        return both
