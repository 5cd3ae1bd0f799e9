"""Takes keys one after the other: each waits until everything that the key before it did is finished.

Textual sends a key to the widget that has the focus at that moment, even if the key before it is about to move the
focus, or to open or close a screen. ``/q_proj`` typed at once would then quit the app. So a Mark is sent after each key
along the same way (widget, its parents, screen, app), and the next key waits until the Mark has arrived and the focus
no longer moves. Over SSH keys arrive in bunches, so this is not rare.
"""

from __future__ import annotations

from collections import deque
from time import monotonic

from textual import events
from textual.app import App
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

from tui_params.tui.later import Later

MOST_ROUNDS = 8
"""After so many marks the next key is sent, even if the focus still moves."""

PATIENCE = 1.0
"""Seconds after which another mark is sent: one that was sent to a closing screen never arrives."""

LOOK_SECONDS = 0.05


class Mark(Message):
    """What is sent after a key; its ``number`` distinguishes it from marks that were given up."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__()


class KeyOrder(App[None]):
    """An app that takes keys one after the other, each when the last is done."""

    def __init__(self) -> None:
        self._held: deque[events.Key | events.Paste] = deque()
        self._number = 0
        self._rounds = 0
        self._is_busy = False
        self._sent_to: tuple[Screen[object] | None, Widget | None] = (None, None)
        self._sent_at = 0.0
        super().__init__()

    @property
    def is_holding_keys(self) -> bool:
        """Whether a key is still being handled, or is waiting for its turn."""
        return self._is_busy

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            if self._is_busy:
                self._held.append(event)
                return
            self._is_busy, self._rounds = True, 0
            await super().on_event(event)
            self._send_mark()
            return
        await super().on_event(event)

    def _place(self) -> tuple[Screen[object] | None, Widget | None]:
        """Where a key would go now."""
        screen = self.screen_stack[-1] if self.screen_stack else None
        return screen, None if screen is None else screen.focused

    def _send_mark(self) -> None:
        self._number += 1
        self._rounds += 1
        self._sent_to = screen, focused = self._place()
        self._sent_at = monotonic()
        target = focused or screen
        if target is None or not target.post_message(Mark(self._number)):
            self.call_later(self._arrived, self._number)
        else:
            Later(self, LOOK_SECONDS, self._look)

    def on_mark(self, mark: Mark) -> None:
        mark.stop()
        # After what the action itself has left for later: setting the focus, for example.
        self.call_later(self._arrived, mark.number)

    def _look(self) -> None:
        """A mark that was sent into a closing screen never arrives."""
        if not self._is_busy:
            return
        screen, _ = self._sent_to
        is_lost = screen is None or not screen.is_running or screen is not self._place()[0]
        if is_lost or monotonic() - self._sent_at > PATIENCE:
            self._send_mark()
        else:
            Later(self, LOOK_SECONDS, self._look)

    async def _arrived(self, number: int) -> None:
        if number != self._number or not self._is_busy:
            return
        if self._place() != self._sent_to and self._rounds < MOST_ROUNDS:
            self._send_mark()
            return
        self._is_busy = False
        if self._held:
            await self.on_event(self._held.popleft())
