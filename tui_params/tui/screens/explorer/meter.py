"""Meter: how many bytes have come over the line of a source elsewhere, and how many come in a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from tui_params.core import text
from tui_params.tui.screens.explorer import delays
from tui_params.tui.screens.explorer.session import Session

_RATE_SECONDS = 3.0
"""What a rate is the mean over."""


class Meter:
    """Looks at the line twice a second; ``changed`` is called to paint the header where it says something else.

    There is nothing to look at in a source on this machine.
    """

    def __init__(
        self, session: Session, set_interval: Callable[[float, Callable[[], None]], object], changed: Callable[[], None]
    ) -> None:
        self.amount = ""
        """What has come since the server was first asked; empty where nothing is elsewhere."""
        self.rate = ""
        """What comes in a second, while something does."""
        self._session = session
        self._set_interval = set_interval
        self._changed = changed
        self._is_looking = False
        self._seen: deque[tuple[float, int]] = deque()

    @property
    def is_settled(self) -> bool:
        """Whether it shows all that has come. Of a model that trains, something comes all the time."""
        nbytes, opened = self._nbytes, self._session.opened
        if nbytes is None or (opened is not None and opened.source.beat() is not None):
            return True
        return not self.rate and bool(self._seen) and self._seen[-1][1] == nbytes

    @property
    def _nbytes(self) -> int | None:
        opened = self._session.opened
        line = opened.source.line if opened is not None else None
        return line.traffic.nbytes if line is not None else None

    def begin(self) -> None:
        """A source was opened."""
        self._seen.clear()
        self.amount = self.rate = ""
        self.look()
        if self.amount and not self._is_looking:
            self._is_looking = True
            self._set_interval(delays.METER_EVERY, self.look)

    def look(self) -> None:
        nbytes, now = self._nbytes, monotonic()
        if nbytes is None:
            return
        seen, before = self._seen, (self.amount, self.rate)
        self.rate = ""
        if seen and nbytes > seen[-1][1]:
            while len(seen) > 1 and now - seen[0][0] > _RATE_SECONDS:
                seen.popleft()
            self.rate = f"{text.size(int((nbytes - seen[0][1]) / max(now - seen[0][0], 1e-3)))}/s"
        elif seen:
            seen.clear()  # what comes next has a rate of its own
        seen.append((now, nbytes))
        self.amount = f"{text.size(nbytes)} fetched"
        if (self.amount, self.rate) != before:
            self._changed()
