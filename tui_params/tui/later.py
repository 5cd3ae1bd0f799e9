"""Later: a call that is made once, after a while, on the thread of the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from textual.message_pump import MessagePump


class Later:
    """A call that is made so many seconds after the message that is being handled, between two messages of ``node``.

    It is not made any more once ``node``, or the app, is being closed.

    Textual's own ``set_timer`` forgets a call where the processor is taken away for longer than ``seconds`` between two
    readings of the clock: of 60,000 timers of 1 ms on a busy core, 84 never came (textual 8.2.8).
    """

    def __init__(self, node: MessagePump, seconds: float, call: Callable[[], object]) -> None:
        self._node = node
        self._seconds = seconds
        self._call = call
        self._is_stopped = False
        self._loop = asyncio.get_running_loop()
        # Nothing else goes on while a message is handled: that time does not count.
        self._handle = self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._handle = self._loop.call_later(self._seconds, self._node.call_next, self._make)

    def _make(self) -> None:
        # A node that is being closed makes its calls, too, when what is inside it is gone already.
        if not self._is_stopped and self._node.is_running and self._node.app.is_running:
            self._call()

    def stop(self) -> None:
        """Do not make the call; nothing happens if it was made."""
        # It may be on its way already, behind the message that is being handled.
        self._is_stopped = True
        self._handle.cancel()
