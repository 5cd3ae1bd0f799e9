"""What lies at a path, on this disk or below a mount: what readers ask in place of ``os`` and ``pathlib``.

All raise OSError as ``os`` does, unless they say otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Protocol

from tui_params.sources.bytes import far
from tui_params.sources.bytes.local import POOL
from tui_params.sources.bytes.system_calls import retried


class Status(Protocol):
    """What is known of a file or folder, in the words of ``os.stat_result``."""

    @property
    def st_mode(self) -> int: ...
    @property
    def st_size(self) -> int: ...
    @property
    def st_mtime(self) -> float: ...
    @property
    def st_mtime_ns(self) -> int: ...
    @property
    def st_ino(self) -> int: ...
    @property
    def st_dev(self) -> int: ...


class FolderEntry(Protocol):
    """A file or folder in a folder, in the words of ``os.DirEntry``."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    def is_dir(self, *, follow_symlinks: bool = True) -> bool: ...
    def is_file(self, *, follow_symlinks: bool = True) -> bool: ...
    def stat(self, *, follow_symlinks: bool = True) -> Status: ...


def status(path: Path) -> Status:
    """What lies at a path; a link counts as what it leads to."""
    if far.is_far(path):
        mount, below = far.find(path)
        return mount.status(below)
    return retried(partial(os.stat, path))


def is_file(path: Path) -> bool:
    """Whether a regular file is there. Raises nothing."""
    try:
        return S_ISREG(status(path).st_mode)
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there. Raises nothing."""
    try:
        return S_ISDIR(status(path).st_mode)
    except (OSError, ValueError):
        return False


def is_there(path: Path) -> bool:
    """Whether there is anything of that name, a link that leads nowhere too. Raises nothing."""
    if not far.is_far(path):
        return os.path.lexists(path)
    try:
        mount, below = far.find(path)
        return mount.is_there(below)
    except OSError:
        return False


def scan(path: Path) -> AbstractContextManager[Iterator[FolderEntry]]:
    """What lies in a folder, in no order, inside a ``with``."""
    if far.is_far(path):
        mount, below = far.find(path)
        found: Sequence[FolderEntry] = mount.entries(below)
        return nullcontext(iter(found))
    return POOL.make_room_for(lambda: os.scandir(path))


def names_in(path: Path) -> list[str]:
    """The names of what lies in a folder, in no order."""
    with scan(path) as entries:
        return [entry.name for entry in entries]


def real(path: Path) -> str:
    """The path without links in it; below a mount there are none, and it is the address."""
    return far.shown(path) if far.is_far(path) else os.path.realpath(path)


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file in the same folder."""
    return name == os.path.basename(name) and name not in ("", ".", "..") and "\0" not in name and "\\" not in name


def own_name(path: Path, *, is_linked: bool = False) -> str:
    """The last part of a folder's path, also where it was given as ``.``; with ``is_linked``, behind all links."""
    if far.is_far(path):
        return far.shown(path).rstrip("/").rpartition("/")[2]
    return path.resolve().name if is_linked or path.name in ("", "..") else path.name
