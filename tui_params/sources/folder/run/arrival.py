"""Whether a checkpoint that has just appeared is still being written: its files are looked at, and never opened."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tui_params.sources.bytes.files import is_folder, scan, status

_MOST_FILES = 4096
_DEEPEST = 3


class FilesState(msgspec.Struct, frozen=True):
    """The files of a checkpoint as they are now: each with its size and time; ``newest`` is the latest of the times."""

    files: frozenset[tuple[str, int, int]]
    newest: int


def files_state(path: Path) -> FilesState:
    """The state of a file, or of all files in a folder; empty if it is gone."""
    found: set[tuple[str, int, int]] = set()
    _collect(path, found, 0)
    return FilesState(frozenset(found), max((time for _, _, time in found), default=0))


def _collect(path: Path, found: set[tuple[str, int, int]], depth: int) -> None:
    try:
        if is_folder(path):
            with scan(path) as entries:
                inside = [Path(entry.path) for entry in entries]
            for entry in inside if depth < _DEEPEST else ():
                if len(found) < _MOST_FILES:
                    _collect(entry, found, depth + 1)
            return
        now = status(path)
    except OSError:
        return  # gone meanwhile: that is a change, too
    found.add((str(path), now.st_size, now.st_mtime_ns))
