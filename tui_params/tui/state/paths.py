"""Paths as they are typed: what can follow, and how far all that can follow is the same."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tui_params.sources.given import is_address

MOST_READ = 20_000
"""Entries of a folder that are looked at."""


def complete(typed: str) -> tuple[str, Sequence[str]]:
    """The path with what all entries that begin so have in common, and their names; folders end with a slash.

    ``~`` stays as it was typed. A folder that cannot be read has no entries, and nothing is asked of a server.
    """
    if is_address(typed):
        return typed, ()
    folder, start = os.path.split(typed)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            found = sorted(
                entry.name + ("/" if entry.is_dir() else "")
                for _, entry in zip(range(MOST_READ), entries, strict=False)
                if entry.name.startswith(start) and (start or not entry.name.startswith("."))
            )
    except OSError:
        return typed, ()
    if not found:
        return typed, ()
    first, last = found[0], found[-1]
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return os.path.join(folder, first[:same]), tuple(found)
