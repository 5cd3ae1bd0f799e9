"""Searches: the filters that were kept before, to walk through them in the search bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence

MOST = 50


class Searches:
    """The texts of filters, the last one at the end. ``keep`` is called with them when they have changed."""

    def __init__(
        self, before: Sequence[str] = (), keep: Callable[[Sequence[str]], object] = lambda texts: None
    ) -> None:
        self._texts = list(before[-MOST:])
        self._keep = keep
        self._at: int | None = None
        self._present = ""

    def begin(self) -> None:
        """The search bar was opened, or something was typed: the next step starts from the present text."""
        self._at = None

    def step(self, step: int, text: str) -> str | None:
        """The text of the search before (-1) or after (1); after the last one what was typed. None if there is none."""
        if self._at is None:
            self._at, self._present = len(self._texts), text
        to = self._at + step
        # One that is the same as what stands there would look as if the key did nothing.
        while step < 0 <= to and self._texts[to] == text:
            to -= 1
        if not 0 <= to <= len(self._texts):
            return None
        self._at = to
        return self._present if to == len(self._texts) else self._texts[to]

    def add(self, text: str) -> None:
        """A filter was kept: it is the last search now."""
        self._at = None
        if not text.strip() or self._texts[-1:] == [text]:
            return
        self._texts = [*(other for other in self._texts if other != text), text][-MOST:]
        self._keep(tuple(self._texts))
