"""Visits: the tensors whose page was looked at, to go back and forward among them as in a browser."""

from __future__ import annotations

MOST = 200


class Visits:
    """Names in the order of their visits, and the one that is shown now."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._at = -1

    def visit(self, name: str) -> None:
        """A page is shown. What was ahead is forgotten, unless the page is one that was gone back or forward to."""
        if self._at >= 0 and self._names[self._at] == name:
            return
        del self._names[self._at + 1 :]
        self._names.append(name)
        del self._names[:-MOST]
        self._at = len(self._names) - 1

    def step(self, step: int) -> str | None:
        """Go one visit back (-1) or forward (1): its name, or None if there is none."""
        to = self._at + step
        if not 0 <= to < len(self._names):
            return None
        self._at = to
        return self._names[to]
