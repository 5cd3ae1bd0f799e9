"""JointLine: what two sources are read over, of which at least one is elsewhere."""

from __future__ import annotations

from pathlib import Path

from tui_params.core.source import Line, Traffic


class JointLine:
    """The lines of two servers as one. Of a file of either, ``lacking`` says nothing: each source knows its own."""

    def __init__(self, a: Line, b: Line) -> None:
        self.address = f"{a.address} and {b.address}"
        self._both = a, b

    @property
    def traffic(self) -> Traffic:
        of_a, of_b = (line.traffic for line in self._both)
        return Traffic(of_a.nbytes + of_b.nbytes, of_a.requests + of_b.requests)

    def lacking(self, path: Path, begin: int, end: int) -> int:
        return end - begin


def joint_line(a: Line | None, b: Line | None) -> Line | None:
    """The line of two sources: that of the one that is elsewhere, or of both."""
    if a is None or b is None or a is b:
        return a if a is not None else b
    return JointLine(a, b)
