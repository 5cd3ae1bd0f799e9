"""A source being opened in a thread of its own, and what the screen needs of it. Knows nothing of Textual.

It starts before Textual is imported, so that both go on at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import msgspec

from tui_params.core.collector import collector_paused
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.order import Sort
from tui_params.core.tree.tree import Tree
from tui_params.errors import TuiParamsError


class Opened(msgspec.Struct, frozen=True):
    """A source with its tree built and its names in lower case, all made off the screen's thread."""

    source: Source
    tree: Tree
    tensors: tuple[TensorInfo, ...]
    positions: tuple[int, ...]
    lowered: tuple[str, ...]


def prepare(source: Source, sort: Sort | None = None) -> Opened:
    """Build what the screen needs of a source; ``tensors`` are in the order of the tree."""
    with collector_paused():
        tree = Tree(source.listing, sort)
        positions = [place for place, leaf in enumerate(tree.leaves) if isinstance(leaf, TensorInfo)]
        tensors = tuple(leaf for leaf in tree.leaves if isinstance(leaf, TensorInfo))
        return Opened(source, tree, tensors, tuple(positions), tuple(info.name.lower() for info in tensors))


class Opening:
    """A source being opened in a thread that starts at once, while the terminal is still being set up."""

    def __init__(self, label: str, open_it: Callable[[], Source]) -> None:
        self.label = label
        self._open_it = open_it
        self._future: Future[Opened] = Future()
        self.start()

    def start(self) -> None:
        """Open the source, again if it was opened before."""
        future: Future[Opened] = Future()
        self._future = future

        def work() -> None:
            try:
                future.set_result(prepare(self._open_it()))
            except TuiParamsError as error:
                future.set_exception(error)
            except (MemoryError, OSError) as error:
                future.set_exception(TuiParamsError(f"{self.label}: {str(error) or type(error).__name__}"))

        threading.Thread(target=work, name="open", daemon=True).start()

    def when_done(self, call: Callable[[Future[Opened]], object]) -> None:
        """Call with the finished future, from whichever thread finished it (or at once).

        Not if the source is being opened again by then: what was opened before is closed unseen.
        """

        def done(future: Future[Opened]) -> None:
            if future is self._future:
                call(future)
            elif future.exception() is None:
                future.result().source.close()

        self._future.add_done_callback(done)
