"""What the exit codes mean; they are the same for every command."""

from __future__ import annotations

OK = 0
FOUND = 1
"""The answer is no: something is wrong, or differs."""

USAGE = 2
FAILED = 3
"""Something could not be opened, read, compared or printed."""

FAULT = 70
"""A fault of this program, which answers nothing (EX_SOFTWARE of sysexits.h)."""

INTERRUPTED = 130
"""128 + SIGINT: ctrl+c."""

BROKEN_PIPE = 141
"""128 + SIGPIPE: what the shell reports when ``cat`` prints into a closed pipe."""
