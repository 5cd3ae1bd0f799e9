"""The folder of the cache: small private files that are replaced as a whole, and removed when there are too many.

Nothing here raises OSError: a cache that cannot be used counts as empty, and says why. Everything goes through a
descriptor of the folder and never through a symbolic link in it, so nobody can put another folder in its place.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG

import msgspec

from tui_params.core.text import clean, size

TOUCH_SECONDS = 24 * 3600
LEFTOVER_SECONDS = 3600
"""A temporary file that is older than this was left by a process that died."""

_OURS = re.compile(r"[0-9a-f]{32}\.(figures|code|choices|listing|moments)")
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """What distinguishes two versions of a cache file."""

    inode: int
    size: int
    mtime_ns: int


class Usage(msgspec.Struct, frozen=True, gc=False):
    """How many cache files there are, and their bytes."""

    files: int
    nbytes: int


class CacheFolder:
    """Files by name, at most ``max_files`` with at most ``max_bytes`` in total; the least recently used are removed.

    ``complaint`` is one sentence about what went wrong last. May be used from several threads and processes.
    """

    def __init__(self, path: Path, max_bytes: int, max_files: int, names: re.Pattern[str] = _OURS) -> None:
        """``names`` are those of its files: nothing else in the folder is ever touched."""
        self.path = path
        self._names = names
        self._temporary = re.compile(rf"\.(?:{names.pattern})\.[0-9a-f]+\.part")
        self.max_bytes = max_bytes
        self.max_files = max_files
        self.complaint: str | None = None

    def read(self, name: str) -> tuple[bytes, Stamp] | None:
        """The bytes and the version of a file, or None. Reading counts as using it."""
        try:
            with self._opened() as folder:
                # O_NONBLOCK: should a FIFO have this name, open still returns at once.
                descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _FLAGS, dir_fd=folder)
                try:
                    return self._read(descriptor)
                finally:
                    os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.complain(f"what is kept in {self._shown} cannot be read: {_reason(error)}")
            return None

    def _read(self, descriptor: int) -> tuple[bytes, Stamp]:
        status = os.fstat(descriptor)
        if not S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "a file there is not one of yours")
        if status.st_size > self.max_bytes:
            raise OSError(errno.EFBIG, "a file there is too large")
        pieces = []
        left = status.st_size
        while left > 0 and (piece := os.read(descriptor, left)):
            pieces.append(piece)
            left -= len(piece)
        if time.time() - status.st_mtime > TOUCH_SECONDS:
            with suppress(OSError):
                os.utime(descriptor)
                status = os.fstat(descriptor)
        return b"".join(pieces), _stamp(status)

    def stamp(self, name: str) -> Stamp | None:
        """The version of a file that is there now, or None."""
        try:
            with self._opened() as folder:
                return _stamp(os.stat(name, dir_fd=folder, follow_symlinks=False))
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> Stamp | None:
        """Replace a file atomically by ``data``. Returns None if that failed; the old file is then still there.

        Nothing is synced to the disk: a file that a power cut left incomplete does not match its checksum.
        """
        if len(data) > self.max_bytes:
            self.complain(f"{size(len(data))} are more than the cache of {size(self.max_bytes)} holds")
            return None
        try:
            self._make()
            with self._opened() as folder:
                return _replace(folder, name, data)
        except OSError as error:
            self.complain(f"nothing can be kept in {self._shown}: {_reason(error)}")
            return None

    def names(self) -> list[str]:
        """The names of the files, in no order."""
        try:
            with self._opened() as folder, os.scandir(folder) as entries:
                return [entry.name for entry in entries if self._names.fullmatch(entry.name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            self.complain(f"what is kept in {self._shown} cannot be listed: {_reason(error)}")
            return []

    def evict(self) -> None:
        """Remove the least recently used files until the rest is within the bounds, and leftovers of dead processes."""
        try:
            with self._opened() as folder:
                found = _files(folder, self._names)
                nbytes = sum(status.st_size for _, status in found)
                for place, (name, status) in enumerate(found):
                    if nbytes <= self.max_bytes and len(found) - place <= self.max_files:
                        break
                    nbytes -= status.st_size
                    _remove(folder, name)
                now = time.time()
                for name, status in _files(folder, self._temporary):
                    if now - status.st_mtime > LEFTOVER_SECONDS:
                        _remove(folder, name)
        except FileNotFoundError:
            return
        except OSError as error:
            self.complain(f"what is old in {self._shown} cannot be removed: {_reason(error)}")

    def usage(self) -> Usage:
        """How many files of the cache there are, and their bytes."""
        try:
            with self._opened() as folder:
                found = _files(folder, self._names)
        except FileNotFoundError:
            found = []
        except OSError as error:
            self.complain(f"what is kept in {self._shown} cannot be counted: {_reason(error)}")
            found = []
        return Usage(len(found), sum(status.st_size for _, status in found))

    def clear(self) -> Usage:
        """Remove every file of the cache and nothing else; return how much that was."""
        count = nbytes = 0
        try:
            with self._opened() as folder:
                for name, status in [*_files(folder, self._names), *_files(folder, self._temporary)]:
                    _remove(folder, name)
                    count += 1
                    nbytes += status.st_size
        except FileNotFoundError:
            pass
        except OSError as error:
            self.complain(f"what is kept in {self._shown} cannot be removed: {_reason(error)}")
        return Usage(count, nbytes)

    def complain(self, sentence: str) -> None:
        """Remember what went wrong, for ``complaint``."""
        self.complaint = sentence

    @property
    def _shown(self) -> str:
        return clean(str(self.path), 200)

    def _make(self) -> None:
        if not self.path.is_dir():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """A descriptor of the folder, if nobody else may write to it. Raises OSError."""
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
        try:
            status = os.fstat(folder)
            if status.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "the folder belongs to another user")
            if status.st_mode & 0o022:
                raise PermissionError(errno.EPERM, "other users may write to the folder")
            yield folder
        finally:
            os.close(folder)


def _replace(folder: int, name: str, data: bytes) -> Stamp:
    temporary = f".{name}.{os.urandom(8).hex()}.part"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600, dir_fd=folder)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            stamp = _stamp(os.fstat(descriptor))
        finally:
            os.close(descriptor)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    return stamp


def _files(folder: int, pattern: re.Pattern[str]) -> list[tuple[str, os.stat_result]]:
    """The files of the cache in the folder, the least recently used first."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name):
                # Another process may remove it at any time.
                with suppress(FileNotFoundError):
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
    return sorted(found, key=lambda file: (file[1].st_mtime_ns, file[0]))


def _remove(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns)


def _reason(error: OSError) -> str:
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
