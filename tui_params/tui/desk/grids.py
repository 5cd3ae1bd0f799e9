"""Grids: windows of values for the page, read on the thread of a worker."""

from __future__ import annotations

from collections.abc import Callable

from textual.message import Message

from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.tui.desk.messages import GridReady
from tui_params.tui.desk.worker import Worker


class Grids:
    """Answers GridReady; of each slot only the last question."""

    def __init__(self, source: Source, post: Callable[[Message], object], worker: Worker) -> None:
        self._source = source
        self._post = post
        self._worker = worker
        self._keys: dict[str, object] = {}
        self._is_closed = False

    def want(self, key: object, info: TensorInfo, expression: str, rows: int, width: int, slot: str) -> None:
        """Ask for the values at a slice."""
        if self._is_closed:
            return
        self._keys[slot] = key
        self._worker.do(lambda: self._read(key, info, expression, rows, width, slot))

    def close(self) -> None:
        """Read no more."""
        self._is_closed = True

    def _read(self, key: object, info: TensorInfo, expression: str, rows: int, width: int, slot: str) -> None:
        if key != self._keys[slot] or self._is_closed:
            return
        from tui_params.core.reading.grid import fit_grid
        from tui_params.core.reading.outcome import attempt

        self._post(GridReady(key, *attempt(lambda: fit_grid(self._source, info, expression, rows, width))))
