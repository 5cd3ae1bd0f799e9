"""Notice: what the status line says: why a key did nothing, what came of a file, what is being written."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from textual.message_pump import MessagePump

from tui_params.tui.later import Later

SAID_FOR = 5.0
"""Seconds after which the sentence goes by itself."""


class Notice:
    """The sentence, which goes when the cursor moves or some seconds are over; ``changed`` is called to paint it.

    One that ``stays`` is not gone by itself.
    """

    def __init__(self, node: MessagePump, changed: Callable[[], None]) -> None:
        self.words = ""
        self.running = ""
        """What goes on, until it ends; it leaves room for the keys."""
        self._node = node
        self._changed = changed
        self._later: Later | None = None
        self._question = ""
        self._said = 0.0

    def say(self, words: str, seconds: float | None = None, *, stays: bool = False) -> None:
        if self._later is not None:
            self._later.stop()
        self._said = monotonic()
        lasts = SAID_FOR if seconds is None else seconds
        self._later = Later(self._node, lasts, self.clear) if words and not stays else None
        if words != self.words:
            self.words, self._question = words, ""
            self._changed()

    def move_on(self, moved: float, words: str) -> bool:
        """The cursor moved at that time of ``monotonic``: what was said before goes, and ``words`` stand there.

        False if something was said since: that answers to what came after, and stays.
        """
        if self._said > moved:
            return False
        self.say(words, stays=True)
        return True

    def ask(self, question: str, words: str) -> bool:
        """Ask before something is done: True if that question stands there already, because a key was pressed twice.

        It stays until something else is said. ``words`` may differ from one time to the next.
        """
        if self._question == question:
            self.clear()
            return True
        self.say(words, stays=True)
        self._question = question
        return False

    def withdraw(self) -> bool:
        """Take back a question; False if none stands there."""
        is_asking = bool(self._question)
        if is_asking:
            self.clear()
        return is_asking

    def keep(self, words: str) -> None:
        """Say what goes on, until it is called again; with nothing at the end."""
        if words != self.running:
            self.running = words
            self._changed()

    def clear(self) -> None:
        self.say("")
