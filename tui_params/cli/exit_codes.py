"""What the exit code of every command says."""

from __future__ import annotations

OK = 0
FOUND = 1
"""The answer is no: something is wrong, or differs."""

USAGE = 2
FAILED = 3
"""Something could not be opened, read or written."""

FAULT = 70
"""A fault of this program, which is no answer (EX_SOFTWARE of sysexits.h)."""

INTERRUPTED = 130
"""128 + SIGINT: ctrl+c."""

BROKEN_PIPE = 141
"""128 + SIGPIPE, which the shell reports of ``cat`` in the same place."""
