"""QuickScreen: a screen that is painted sooner after an answer has come."""

from __future__ import annotations

from textual.screen import Screen
from textual.timer import Timer

FRAME = 1 / 120
"""Seconds from one paint to the next. Textual's timer waits between one and two of its frames once it has painted: with
60 in a second up to 33 ms, most of what a key waits for its values."""


class QuickScreen(Screen[None]):
    """A screen with short frames; nothing is painted more often, but for a key held down on a quick keyboard.

    This relies on two private things of Textual 8 (``Screen._update_timer``, ``Timer._interval``).
    """

    @property
    def _update_timer(self) -> Timer:
        timer = super()._update_timer
        timer._interval = FRAME
        return timer
