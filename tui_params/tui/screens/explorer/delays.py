"""Delays: calls that wait a moment, so that a key that is held down asks only once; and how long each kind waits."""

from __future__ import annotations

from collections.abc import Callable

from textual.message_pump import MessagePump

from tui_params.tui.later import Later

DETAIL_DELAY = 0.08
"""From a move of the cursor to the page of the new row."""
WANT_DELAY = 0.03
"""From a change of the rows on screen to the question for their figures."""
FILTER_DELAY = 0.06
"""From a letter of the filter to the filtered tree, where there are so many tensors that filtering takes long."""
FILTER_AGAIN = 0.3
"""From new figures to a filter on statistics that takes them into account; longer where there are many tensors."""
SORT_AGAIN = 0.5
"""From going on in a tree that was sorted by a statistic to sorting it by what has been read by then."""
MODULE_DELAY = 0.5
"""From new figures to the page of a module that counts them."""
BUSY_DELAY = 0.4
"""From the beginning of a reading to the words about it: most end before."""
RECORD_DELAY = 0.4
"""From the first picture of a model to the reading of what the next look at it needs."""
RECORD_QUIET = 0.25
"""From a move of the cursor to when that reading goes on."""
WATCH_EVERY = 5.0
"""From one look at whether the source has changed to the next."""
METER_EVERY = 0.5
"""From one look at what has come over the line to the next."""


class Delays:
    """Calls by name that wait: of several under one name, only the last is made."""

    def __init__(self, node: MessagePump) -> None:
        self._node = node
        self._waiting: dict[str, Later] = {}

    def call(self, what: str, seconds: float, call: Callable[[], None]) -> None:
        """Call after ``seconds``, unless asked again under the same name meanwhile."""
        self.drop(what)

        def due() -> None:
            self._waiting.pop(what, None)
            call()

        self._waiting[what] = Later(self._node, seconds, due)

    def drop(self, what: str) -> None:
        """Do not make the call under that name."""
        later = self._waiting.pop(what, None)
        if later is not None:
            later.stop()

    def is_waiting(self, what: str) -> bool:
        """Whether a call under that name is still to come."""
        return what in self._waiting

    @property
    def is_empty(self) -> bool:
        return not self._waiting
