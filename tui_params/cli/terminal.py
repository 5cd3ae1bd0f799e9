"""Whether there is a terminal, and the explorer in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_params.cli.reader_option import Reader


def has_terminal() -> bool:
    """Whether a full-screen program can run here. Textual does not ask: it would send its escapes into any pipe."""
    try:
        # Textual draws on stderr.
        is_terminal = sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):  # a stream that is closed, or none at all
        return False
    return is_terminal and os.environ.get("TERM", "") not in {"", "dumb"}


def open_explorer(path: str, hint: str = "", reader: Reader | None = None, other: str | None = None) -> int | None:
    """Open the explorer on a checkpoint and return its exit code, or return None where there is no terminal for it.

    ``hint`` is what its first screen says, ``reader`` how the source is read, ``other`` what it is compared with.
    """
    if not has_terminal():
        return None
    from tui_params.cli.interrupts import exiting_at_once

    # The explorer imports while it already opens the file, and holds signals itself while it has the terminal.
    with exiting_at_once():
        from tui_params.tui.explore import run_path

        if reader is None:
            return run_path(path, hint, other=other)
        return run_path(path, hint, reader.format, is_logical=reader.is_logical, other=other)


def open_timeline(paths: Sequence[str], reader: str | None = None) -> int | None:
    """Open the timeline of some checkpoints and return its exit code, or return None where there is no terminal."""
    if not has_terminal():
        return None
    from tui_params.cli.interrupts import exiting_at_once

    with exiting_at_once():
        from tui_params.tui.explore import run_timeline

        return run_timeline(paths, reader)
