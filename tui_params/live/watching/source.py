"""WatchedSource: the model of another process, which is also looked at step by step while it is on screen."""

from __future__ import annotations

from tui_params.live.attached.source import AttachedSource
from tui_params.live.watching.history import History
from tui_params.live.watching.watchpoints import Watchpoints


class WatchedSource(AttachedSource):
    """An AttachedSource with courses and a watch, from the first time that somebody asks for them. Raises OpenError."""

    _history: History | None = None
    _watchpoints: Watchpoints | None = None

    def courses(self) -> History:
        if self._history is None:
            self._history = History(self)
        return self._history

    def watching(self) -> Watchpoints:
        if self._watchpoints is None:
            self._watchpoints = Watchpoints(self, self.files_begin)
        return self._watchpoints

    def close(self) -> None:
        if self._history is not None:
            self._history.close()
        if self._watchpoints is not None:
            self._watchpoints.stop()
        super().close()
