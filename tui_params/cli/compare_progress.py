"""The progress of a comparison, as one line of a terminal."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_params.core.compare.verdict import Progress


class CompareProgress:
    """Draws the line over the one before, on stderr."""

    def __init__(self) -> None:
        self._started = monotonic()

    def __call__(self, progress: Progress) -> None:
        from tui_params.core.text import duration, percent, size

        taken = monotonic() - self._started
        line = f"{percent(progress.nbytes, progress.total_nbytes)}  {progress.tensors:,} of {progress.total_tensors:,}"
        if taken > 0.5 and progress.nbytes:
            rate = progress.nbytes / taken
            line += f"  {size(int(rate))}/s  {duration((progress.total_nbytes - progress.nbytes) / rate)} left"
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
