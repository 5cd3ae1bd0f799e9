"""Paths below the address of a Transport: only ever down."""

from __future__ import annotations

from tui_params.core.text import clean
from tui_params.errors import ReadError


def inside(path: str) -> str:
    """``path`` itself, if no part of it is empty or leads up. Raises ReadError.

    What an index on a server names may be anything: ``../`` and a leading ``/`` would lead out of what was opened.
    """
    if path and any(part in ("", ".", "..") for part in path.split("/")):
        raise ReadError(f"{clean(path, 120)} leads out of the address that was opened, so it is not asked for")
    return path


def joined(folder: str, name: str) -> str:
    """``folder/name``; either may be empty."""
    return f"{folder}/{name}" if folder and name else folder or name
