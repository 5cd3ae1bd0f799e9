"""The desk between the screen and a source: everything slow happens here, in threads, and answers come as messages.

A screen asks (``want``, ``want_histogram``, ``want_grid``) and returns at once. Each answer carries the generation of
the opening and the key of the question. Closing stops the scanner within one block.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.core.tensor import TensorInfo
from tui_params.errors import TuiParamsError
from tui_params.tui.messages import GridReady, HistogramReady, Measured, SourceStale, Working
from tui_params.tui.opening import Opened
from tui_params.tui.widgets.canvas import Line

if TYPE_CHECKING:
    from tui_params.core.figures import Figures, Histogram
    from tui_params.core.scan import Activity, HistogramOutcome, Outcome, Scanner

Post = Callable[[Message], object]


class Desk:
    """The threads of one opened source."""

    def __init__(self, opened: Opened, generation: int, post: Post) -> None:
        self.opened = opened
        self.generation = generation
        self._post = post
        self._scanner: Scanner | None = None
        self._is_closed = False
        self._wanted: list[str] = []
        self._values = Worker("values")
        self._grid_key: object = None

    # Statistics

    def figures(self, name: str) -> Figures | None:
        """What is known of a tensor at once: exact figures."""
        return self._scanner.figures(name) if self._scanner is not None else None

    def want(self, names: Iterable[str]) -> None:
        """Measure these tensors, in this order, and nothing that was wanted before."""
        if self._is_closed:
            return
        if self._scanner is None:
            # Imported here: the first screen is painted by now.
            from tui_params.core.scan import Scanner

            self._scanner = Scanner(self.opened.source, self._deliver, self._tell)
        self._scanner.want(list(names))

    def _deliver(self, outcome: Outcome) -> None:
        self._post(Measured(self.generation, outcome))

    def _tell(self, activity: Activity | None) -> None:
        self._post(Working(activity))

    def want_histogram(
        self, key: object, name: str, bins: int, draw: Callable[[Histogram], list[Line]], *, is_log_axis: bool
    ) -> None:
        """Ask for the histogram over the whole range of a tensor, drawn; answered by HistogramReady with ``key``."""
        if self._is_closed or self._scanner is None:
            return

        def ready(outcome: HistogramOutcome) -> None:
            histogram = outcome.histogram
            self._post(HistogramReady(key, tuple(draw(histogram)) if histogram is not None else (), outcome.reason))

        self._scanner.want_histogram(name, bins, None, None, is_log_axis, ready)

    def look_for_changes(self) -> None:
        """Ask whether what was opened is still what is there; answered by SourceStale if it is not."""

        def look() -> None:
            sentence = self.opened.source.changed()
            if sentence is not None and not self._is_closed:
                self._post(SourceStale(self.generation, sentence))

        if not self._is_closed:
            self._values.do(look)

    # Values

    def want_grid(self, key: object, info: TensorInfo, expression: str, rows: int, width: int) -> None:
        """Ask for the values at a slice; only the last question asked is answered, by GridReady with ``key``."""
        if self._is_closed:
            return
        self._grid_key = key
        self._values.do(lambda: self._read_grid(key, info, expression, rows, width))

    def _read_grid(self, key: object, info: TensorInfo, expression: str, rows: int, width: int) -> None:
        if key != self._grid_key or self._is_closed:
            return
        from tui_params.core.grid import fit_grid

        try:
            grid = fit_grid(self.opened.source, info, expression, rows, width)
        except TuiParamsError as error:
            self._post(GridReady(key, None, str(error)))
        except (MemoryError, OSError) as error:
            self._post(GridReady(key, None, f"cannot be read: {str(error) or type(error).__name__}"))
        else:
            self._post(GridReady(key, grid, None))

    def close(self, wait: float = 0.0) -> None:
        """Stop the threads, then release the files; waits for that at most ``wait`` seconds, because a disk may hang."""
        if self._is_closed:
            return
        self._is_closed = True
        self._values.stop()

        def release() -> None:
            if self._scanner is not None:
                self._scanner.close()
            self.opened.source.close()

        closing = threading.Thread(target=release, name="close", daemon=True)
        closing.start()
        closing.join(wait)


class Worker:
    """A daemon thread that does one thing after another; unlike an executor's, it never holds up the exit."""

    def __init__(self, name: str) -> None:
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._name = name
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._waiting.put(work)

    def stop(self) -> None:
        """Do nothing after what is being done now."""
        self._waiting.put(None)

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            work()
