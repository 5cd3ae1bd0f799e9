"""Whether there is a terminal, and the explorer in it."""

from __future__ import annotations

import os
import sys


def has_terminal() -> bool:
    """Whether a full-screen program can run here: textual itself would send its escapes into any pipe."""
    try:
        # Textual draws on stderr.
        is_terminal = sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):  # a stream that is closed, or none at all
        return False
    return is_terminal and os.environ.get("TERM", "") not in {"", "dumb"}


def open_explorer(path: str) -> int:
    """The explorer on a checkpoint, or its listing where no explorer can be shown."""
    if has_terminal():
        from tui_params.tui.explore import run_path

        return run_path(path)
    from tui_params.cli.app import run

    return run(["ls", "--", path])
