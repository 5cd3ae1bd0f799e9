"""A source that is being opened in a thread of its own. Knows nothing of Textual.

It starts before Textual is imported, so that both go on at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from tui_params.core.source import Source
from tui_params.errors import TuiParamsError
from tui_params.tui.state.opened import Opened, prepare


class PendingSource:
    """A source that is being opened; the thread starts at once, while the terminal is still being set up."""

    def __init__(self, label: str, open_it: Callable[[], Source], *, is_logical: bool = False) -> None:
        self.label = label
        self.is_logical = is_logical
        """Whether packed weights are opened as what they mean."""
        self._open_it = open_it
        self._future: Future[Opened] = Future()
        self.start()

    def start(self) -> None:
        """Open the source, again if it was opened before."""
        future: Future[Opened] = Future()
        self._future = future
        is_logical = self.is_logical

        def work() -> None:
            try:
                future.set_result(prepare(self._open(is_logical)))
            except TuiParamsError as error:
                future.set_exception(error)
            except (MemoryError, OSError) as error:
                future.set_exception(TuiParamsError(f"{self.label}: {str(error) or type(error).__name__}"))

        threading.Thread(target=work, name="open", daemon=True).start()

    def _open(self, is_logical: bool) -> Source:
        source = self._open_it()
        if not is_logical:
            return source
        from tui_params.core.packed.logical import LogicalSource

        return LogicalSource(source)

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
