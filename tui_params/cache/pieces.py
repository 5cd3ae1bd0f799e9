"""The cache of what was fetched from servers: parts of remote files, each in a file of its own with a checksum.

A key stands for one version of one file, so nothing in here goes stale; what is used least goes first. Nothing here
raises: a part that is damaged or gone is fetched again. No address and no credential is written.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path

from tui_params.cache.folder import CacheFolder, Usage
from tui_params.core.crc32 import crc32

MAX_BYTES = 2 << 30
"""Bytes of all parts: the headers of every model that a user looks at, and some dozens of large tensors."""

MAX_FILES = 20_000
FOLDER = "pieces"

_NAME = re.compile(r"([0-9a-f]{32})-([0-9a-f]{1,16})-([0-9a-f]{1,16})\.piece")
_CRC_NBYTES = 4
_EVICT_NBYTES = 64 << 20
_EVICT_FILES = 1_000
"""After so much was written, the oldest parts may have to go."""


class PieceCache:
    """The parts in one folder. May be used from several threads and processes."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
        self._folder = CacheFolder(folder, max_bytes, max_files, names=_NAME)
        self._lock = threading.Lock()
        self._spans: dict[str, list[tuple[int, int]]] | None = None
        self._nbytes = 0
        self._files = 0

    def spans(self, key: str) -> Sequence[tuple[int, int]]:
        with self._lock:
            if self._spans is None:
                self._spans = {}
                for name in self._folder.names():
                    found = _NAME.fullmatch(name)
                    if found is not None:
                        begin, end = int(found[2], 16), int(found[3], 16)
                        self._spans.setdefault(found[1], []).append((begin, end))
            return sorted(self._spans.get(key, ()))

    def get(self, key: str, begin: int, end: int) -> bytes | None:
        read = self._folder.read(_name(key, begin, end))
        if read is None:
            return None
        data, crc = read[0][:-_CRC_NBYTES], read[0][-_CRC_NBYTES:]
        if len(data) != end - begin or crc != crc32(data).to_bytes(_CRC_NBYTES, "little"):
            return None
        return data

    def put(self, key: str, begin: int, data: bytes) -> None:
        crc = crc32(data).to_bytes(_CRC_NBYTES, "little")
        if self._folder.write(_name(key, begin, begin + len(data)), data + crc) is None:
            return
        with self._lock:
            if self._spans is not None:
                self._spans.setdefault(key, []).append((begin, begin + len(data)))
            self._nbytes += len(data)
            self._files += 1
            is_due = self._nbytes > _EVICT_NBYTES or self._files > _EVICT_FILES
            if is_due:
                self._nbytes = self._files = 0
        if is_due:
            self._folder.evict()

    @property
    def complaint(self) -> str | None:
        return self._folder.complaint

    def usage(self) -> Usage:
        return self._folder.usage()

    def clear(self) -> Usage:
        """Delete all parts; return how much that was."""
        with self._lock:
            self._spans = None
        return self._folder.clear()


def _name(key: str, begin: int, end: int) -> str:
    return f"{key}-{begin:x}-{end:x}.piece"
