"""Notice: one sentence in the status line, such as why a key did nothing."""

from __future__ import annotations

from collections.abc import Callable

from textual.timer import Timer

from tui_params.tui.screens.explorer.delays import SetTimer

SAID_FOR = 5.0
"""Seconds after which the sentence goes by itself."""


class Notice:
    """The sentence, which goes when the cursor moves or some seconds are over; ``changed`` is called to paint it.

    One that ``stays`` is not gone by itself.
    """

    def __init__(self, set_timer: SetTimer, changed: Callable[[], None]) -> None:
        self.words = ""
        self._set_timer = set_timer
        self._changed = changed
        self._timer: Timer | None = None

    def say(self, words: str, *, stays: bool = False) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._set_timer(SAID_FOR, self.clear) if words and not stays else None
        if words != self.words:
            self.words = words
            self._changed()

    def clear(self) -> None:
        self.say("")
