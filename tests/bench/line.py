"""One measured promise, as the table of the benchmarks shows it."""

from __future__ import annotations

from typing import NamedTuple


class Line(NamedTuple):
    """What was measured, the result, the promise, and whether it holds (None if there is no promise)."""

    what: str
    measured: str
    target: str
    ok: bool | None
