"""Hold: keeps the thread that trains at the end of a step, until its viewer lets it go.

The thread sleeps a little, again and again, without the GIL. It goes on when it is released; when the viewer has gone,
because the thread that serves the viewer waits for what comes from its connection, and closes the hold when that ends,
however the viewer died; and in any case when the limit is over.
"""

from __future__ import annotations

import time

POLL_SECONDS = 0.01
MAX_SECONDS = 86_400.0


class Hold:
    """What one viewer wants held, for at most ``limit`` seconds each time."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.step = 0
        """The step at whose end a thread stands because of this hold; 0 if none does."""

        self.is_wanted = False
        self._is_closed = False
        self._until = 0.0

    @property
    def left(self) -> float:
        """Seconds until the thread goes on by itself; 0 if none stands."""
        return max(self._until - time.monotonic(), 0.0) if self.step else 0.0

    def want(self) -> None:
        """Have the thread stand at the end of the step that it is in."""
        self.is_wanted = not self._is_closed

    def release(self) -> None:
        """Let the thread go on."""
        self.is_wanted = False

    def close(self) -> None:
        """Let the thread go on, and never hold it again."""
        self._is_closed = True
        self.is_wanted = False

    def lasts(self, step: int) -> bool:
        """Whether the thread, which is at the end of ``step``, is to stand. Called by that thread alone."""
        if self.is_wanted and not self.step:
            self.step, self._until = step, time.monotonic() + self.limit
        # Closed meanwhile by the thread of the viewer, which is not waited for with a lock.
        if self.is_wanted and not self._is_closed and time.monotonic() < self._until:
            return True
        self.is_wanted = False
        self.step = 0
        return False
