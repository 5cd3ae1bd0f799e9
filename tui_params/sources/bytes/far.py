"""Files that lie elsewhere: a mount stands for a server, and paths below it begin with two slashes.

``//NAME/...`` is what POSIX leaves to the system, Linux and macOS read as ``/NAME/...``, and pathlib keeps apart. So
readers go on to use paths, and what they ask of such a path goes to the mount of that name.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from stat import S_IFDIR, S_IFREG
from typing import Protocol

import msgspec

from tui_params.core.source import Line

_ROOT = "//"


class NoPlaceError(FileNotFoundError):
    """There is not even what a file would lie in: a repository, its revision, a bucket. The text is a sentence."""


class FarStatus(msgspec.Struct, frozen=True, gc=False):
    """What is known of a file or folder elsewhere, in the words of ``os.stat_result``.

    ``st_dev`` is made of its address and ``st_ino`` of its version, 0 where the server gives none.
    """

    st_mode: int
    st_size: int
    st_mtime_ns: int = 0
    st_ino: int = 0
    st_dev: int = 0

    @property
    def st_mtime(self) -> float:
        return self.st_mtime_ns / 1e9


FOLDER = FarStatus(S_IFDIR, 0)
REGULAR = S_IFREG


class FarEntry(msgspec.Struct, frozen=True, gc=False):
    """A file or folder in a folder elsewhere, in the words of ``os.DirEntry``. There are no links."""

    name: str
    path: str
    is_folder: bool

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self.is_folder

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return not self.is_folder

    def stat(self, *, follow_symlinks: bool = True) -> FarStatus:
        """Raises OSError."""
        mount, below = find(self.path)
        return mount.status(below)


class FarFile(Protocol):
    """A file elsewhere, in the version in which it was opened. May be used from several threads at once.

    What reads from it raises OSError, whose text is a sentence, and SourceChangedError.
    """

    def status(self) -> FarStatus:
        """What was known of it when it was opened."""

    def digest(self) -> str | None:
        """The SHA-256 that the server keeps of it, in hex; None if it keeps none."""

    def changed(self) -> str | None:
        """One sentence if it has been seen to have changed since, else None. Asks nobody."""

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes at ``offset``, fewer only at the end of the file."""

    def coming(self, spans: Sequence[tuple[int, int]]) -> AbstractContextManager[None]:
        """Inside the ``with``, the bytes ``begin:end`` of each span are read, in order: a few are fetched early."""

    def expecting(self, spans: Sequence[tuple[int, int]]) -> AbstractContextManager[None]:
        """Inside the ``with``, all these spans are read sooner or later: neighbours may come in one request."""


class Mount(Line, Protocol):
    """A server with files. Paths are relative to its address, ``""`` is the address itself."""

    def status(self, path: str) -> FarStatus:
        """What lies at a path. Raises OSError, FileNotFoundError."""

    def is_there(self, path: str) -> bool:
        """Whether anything lies at a path; the list of its folder tells without a request. Raises OSError."""

    def entries(self, path: str) -> Sequence[FarEntry]:
        """What lies in a folder. Raises OSError."""

    def is_guessed(self, path: str) -> bool:
        """Whether the server lists no folders, so that only files of the usual names were looked for in this one."""

    def opened(self, path: str) -> FarFile:
        """A file, in the version that is there now or was listed. Raises OSError."""


_MOUNTS: dict[str, Mount] = {}
_LOCK = threading.Lock()


def add_mount(name: str, mount: Mount) -> Path:
    """The path of a mount; it gets that ``name``, or one like it where another has that. One part of a path."""
    with _LOCK:
        free, number = name, 1
        while free in _MOUNTS and _MOUNTS[free] is not mount:
            number += 1
            free = f"{name}~{number}"
        _MOUNTS[free] = mount
    return Path(_ROOT + free)


def is_far(path: str | os.PathLike[str]) -> bool:
    """Whether a path is below a mount."""
    return os.fspath(path).startswith(_ROOT)


def find(path: str | os.PathLike[str]) -> tuple[Mount, str]:
    """The mount of a path, and the path below it. Raises FileNotFoundError."""
    name, _, below = os.fspath(path).removeprefix(_ROOT).partition("/")
    mount = _MOUNTS.get(name)
    if mount is None:
        raise FileNotFoundError(f"there is no mount {name}")
    return mount, below.strip("/")


def is_mounted(path: str | os.PathLike[str]) -> bool:
    """Whether there is a mount of the name with which a path begins."""
    return is_far(path) and os.fspath(path).removeprefix(_ROOT).partition("/")[0] in _MOUNTS


def line_of(path: str | os.PathLike[str]) -> Line | None:
    """What the files below a path are read over; None of files on this disk."""
    return find(path)[0] if is_mounted(path) else None


def is_guessed(path: str | os.PathLike[str]) -> bool:
    """Whether no list of a folder is to be had, so that only files of the usual names were looked for."""
    if not is_mounted(path):
        return False
    mount, below = find(path)
    return mount.is_guessed(below)


def shown(path: str | os.PathLike[str]) -> str:
    """A path as the user knows it: of one below a mount, the address."""
    if not is_far(path):
        return os.fspath(path)
    try:
        mount, below = find(path)
    except FileNotFoundError:
        return os.fspath(path)
    return f"{mount.address}/{below}" if below else mount.address
