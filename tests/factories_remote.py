"""A transport over a folder of this disk, which counts what it is asked and can be made to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from tui_params.errors import ReadError, SourceChangedError
from tui_params.sources.remote import mounting
from tui_params.sources.remote.mounted import Keeper, Mounted
from tui_params.sources.remote.transport import Entry, Piece


class FolderTransport:
    """Serves the files of ``folder``. With ``lists``, its folders can be listed; the version is a digest."""

    def __init__(self, folder: Path, *, lists: bool = True) -> None:
        self.address = "test://server/models"
        self.folder = folder
        self.lists = lists
        self.asked: list[tuple[str, int, int]] = []
        self.nbytes = 0
        self.is_closed = False
        self.before: Callable[[str, int, int], None] = lambda path, begin, end: None
        self._lock = threading.Lock()

    def look(self, path: str) -> Entry:
        target = self.folder / path
        if not target.exists():
            raise FileNotFoundError(path)
        return self._entry(target)

    def entries(self, path: str) -> tuple[Entry, ...] | None:
        if not self.lists:
            return None
        return tuple(self._entry(each) for each in sorted((self.folder / path).iterdir()))

    def _entry(self, target: Path) -> Entry:
        if target.is_dir():
            return Entry(target.name, True)
        return Entry(target.name, False, target.stat().st_size, self._version(target))

    def _version(self, target: Path) -> str:
        return sha256(target.read_bytes()).hexdigest()

    def fetch(self, path: str, begin: int, end: int, version: str | None = None) -> Piece:
        with self._lock:
            self.asked.append((path, begin, end))
        self.before(path, begin, end)
        target = self.folder / path
        if target.is_dir():
            raise ReadError(f"test://server/models/{path} is a folder")
        if version is not None and self._version(target) != version:
            raise SourceChangedError(f"{path} changed")
        content = target.read_bytes()  # raises FileNotFoundError
        data = content[begin:end]
        with self._lock:
            self.nbytes += len(data)
        return Piece(data, len(content), self._version(target))

    def renew(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


@contextmanager
def mounted(transport: FolderTransport, keeper: Keeper | None = None) -> Iterator[Path]:
    """The path at which the transport is mounted."""
    key = object()
    try:
        yield mounting.mount(key, lambda: transport, keeper)
    finally:
        mounting._MOUNTED.pop(key, None)


def mount_of(path: Path) -> Mounted:
    found = mounting.mounted_at(path)
    assert found is not None
    return found
