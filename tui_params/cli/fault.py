"""How the command reports a fault of its own: in one sentence, and how to get the traceback."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress

from tui_params import __version__
from tui_params.cli.exit_codes import FAULT
from tui_params.cli.output import complain
from tui_params.cli.streams import flush_output, losing_complaints
from tui_params.core.faults import named, place_of

DEBUG = "TUI_PARAMS_DEBUG"


def tell(error: Exception) -> int:
    """Say on stderr that ``error`` is a fault of ours and how to report it; return the exit code for it."""
    is_debugged = os.environ.get(DEBUG, "") not in ("", "0")
    if is_debugged and sys.stderr is not None:
        with losing_complaints():
            traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    complain(f"this is a fault of tui-params {__version__}, not an answer: {named(error)}{place_of(error)}")
    if is_debugged:
        complain("please report it to the project, with the traceback above")
    else:
        complain(f"please report it to the project, with what the same command prints under {DEBUG}=1")
    with suppress(OSError):
        flush_output()
    return FAULT
