"""Whatever else fsspec opens: ftp, github, a memory of this process, and what its plugins add."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import fsspec
from fsspec.core import url_to_fs

from tui_params.core.text import clean
from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.sources.remote.address import Address
from tui_params.sources.remote.faults import without_secrets
from tui_params.sources.remote.paths import inside, joined
from tui_params.sources.remote.transport import Entry, Piece

MOST_ENTRIES = 100_000
"""The most files and folders of one folder that are listed."""

_TAGS = ("ETag", "etag", "e_tag", "sha", "md5Hash", "checksum")
_TIMES = ("mtime", "modified", "modify", "last_modified", "LastModified", "created")
_T = TypeVar("_T")


class FsspecTransport:
    """The files below an address of fsspec; a Transport. One call at a time: not all of its file systems bear more."""

    def __init__(self, address: Address) -> None:
        """Opens the file system. Raises OpenError."""
        self.address = address.shown
        self._lock = threading.Lock()
        self._is_closed = False
        try:
            fsspec.get_filesystem_class(address.scheme)
        except (ValueError, ImportError) as error:
            needs = f": {without_secrets(str(error))}" if isinstance(error, ImportError) else ""
            raise OpenError(f"nothing that is installed opens {address.scheme}:// addresses{needs}") from None
        try:
            # What fsspec remembers of folders would hide that a file has changed.
            found: Any = url_to_fs(address.base, use_listings_cache=False, skip_instance_cache=True)
        except Exception as error:  # noqa: BLE001 - each file system raises what it likes
            raise OpenError(f"{self.address} cannot be opened: {without_secrets(str(error))}") from None
        self._files, root = found
        self._root = str(root).rstrip("/")

    def __repr__(self) -> str:
        return f"FsspecTransport({self.address!r})"

    def look(self, path: str) -> Entry:
        """What lies at a path."""
        if not path:
            return Entry("", is_folder=True)
        return _entry(path.rpartition("/")[2], self._asked(path, lambda: self._files.info(self._full(path))))

    def entries(self, path: str) -> tuple[Entry, ...]:
        """What lies in a folder."""
        full = self._full(path)
        found = self._asked(path, lambda: self._files.ls(full, detail=True))
        if len(found) > MOST_ENTRIES:
            raise ReadError(f"{clean(joined(self.address, path), 200)} has more than {MOST_ENTRIES:,} files")
        names = [str(each["name"]).rstrip("/").rpartition("/")[2] for each in found]
        own = full.strip("/")
        return tuple(
            _entry(name, each)
            for name, each in zip(names, found, strict=True)
            if name and str(each["name"]).strip("/") != own
        )

    def fetch(self, path: str, begin: int, end: int, version: str | None = None) -> Piece:
        """The bytes ``begin:end`` of a file."""
        full = self._full(path)

        def attempt() -> Piece:
            entry = _entry("", self._files.info(full))
            if entry.is_folder or entry.size is None:
                raise ReadError(f"{clean(path, 120)} is no file of a known size")
            if version is not None and entry.version != version:
                raise SourceChangedError(f"{clean(path, 120)} was changed after it was opened; open it again")
            stop = min(end, entry.size)
            if begin >= stop:
                return Piece(b"", entry.size, entry.version, entry.modified_ns)
            # Not cat_file: by default, and in some plugins, it reads more than the range.
            with self._files.open(full, "rb", cache_type="none") as file:
                file.seek(begin)
                data = file.read(stop - begin)
            if len(data) != stop - begin:
                raise ReadError(f"{clean(path, 120)} ends early: {len(data):,} of {stop - begin:,} bytes were sent")
            return Piece(bytes(data), entry.size, entry.version, entry.modified_ns)

        return self._asked(path, attempt)

    def renew(self) -> None:
        """Nothing is kept of what was listed."""

    def close(self) -> None:
        """Nothing is asked any more; the file system ends its connections when it is no longer used."""
        self._is_closed = True

    def _full(self, path: str) -> str:
        return f"{self._root}/{inside(path)}" if path else self._root

    def _asked(self, path: str, call: Callable[[], _T]) -> _T:
        shown = clean(path, 120) or self.address
        with self._lock:
            if self._is_closed:
                raise ReadError("the connection was closed")
            try:
                return call()
            except ReadError:
                raise
            except FileNotFoundError:
                raise FileNotFoundError(f"{self.address} has no {shown}") from None
            except PermissionError:
                raise ReadError(f"{self.address} does not allow access to {shown}") from None
            except TimeoutError:
                raise ReadError(f"{self.address} did not answer in time") from None
            except Exception as error:  # noqa: BLE001 - each file system raises what it likes
                reason = without_secrets(str(error)) or type(error).__name__
                raise ReadError(f"{shown} of {self.address} cannot be read: {reason}") from None


def _entry(name: str, info: Any) -> Entry:
    """What fsspec's info says, whose keys differ from one file system to the next."""
    if info.get("type") == "directory":
        return Entry(name, is_folder=True)
    nbytes = info.get("size")
    nbytes = nbytes if isinstance(nbytes, int) and nbytes >= 0 else None
    tag = next((str(info[key]) for key in _TAGS if info.get(key)), None)
    time = next((info[key] for key in _TIMES if info.get(key)), None)
    if tag is None and time is not None:
        tag = f"{time}, {nbytes} bytes"
    return Entry(name, size=nbytes, version=tag, modified_ns=_nanoseconds(time))


def _nanoseconds(time: object) -> int:
    if isinstance(time, datetime):
        time = time.timestamp()
    return int(time * 1000) * 1_000_000 if isinstance(time, (int, float)) else 0
