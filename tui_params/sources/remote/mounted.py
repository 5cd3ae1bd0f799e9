"""Mounted: a server as readers see it, with its folders, its files, and a count of what came over the line."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from tui_params.core.source import Traffic
from tui_params.errors import ReadError
from tui_params.sources.bytes.far import FOLDER, FarEntry, FarFile, FarStatus
from tui_params.sources.remote.crew import Crew
from tui_params.sources.remote.guessed import guess_entries
from tui_params.sources.remote.ranged_file import RangedFile, Version
from tui_params.sources.remote.transport import Entry, Piece, Transport

HEAD_NBYTES = 1024
"""What is fetched of a file to learn its size: as much as detection looks at, so that this costs no request more."""

_ASKED_FIRST = ("model.safetensors.index.json", "pytorch_model.bin.index.json", "config.json", "adapter_config.json")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
_MOST_EARLY = 200
_MOST_EARLY_NBYTES = 4 << 20

_MOST_HELD = 64 << 20
"""Bytes of all files of a server that are held in memory."""


class Keeper(Protocol):
    """Keeps parts of files for later sessions. A key stands for one version of one file."""

    def spans(self, key: str) -> Sequence[tuple[int, int]]:
        """The parts that are kept."""

    def get(self, key: str, begin: int, end: int) -> bytes | None:
        """One of ``spans``; None if it is gone or damaged."""

    def put(self, key: str, begin: int, data: bytes) -> None:
        """Keep a part. Raises nothing: what cannot be kept is fetched again."""


class Mounted:
    """The mount of one transport. ``name`` is what its path is called."""

    def __init__(self, transport: Transport, name: str, keeper: Keeper | None = None) -> None:
        self.address = transport.address.rstrip("/")
        self.name = name
        self._transport = transport
        self._keeper = keeper
        self._crew = Crew()
        self._lock = threading.Lock()
        self._files: dict[str, RangedFile] = {}
        self._folders: dict[str, dict[str, Entry]] = {}
        self._guessed: set[str] = set()
        self._held: OrderedDict[tuple[int, int], tuple[RangedFile, int]] = OrderedDict()
        self._held_nbytes = 0
        self._nbytes = 0
        self._requests = 0

    @property
    def traffic(self) -> Traffic:
        return Traffic(self._nbytes, self._requests)

    def lacking(self, path: Path, begin: int, end: int) -> int:
        below = os.fspath(path).removeprefix(f"//{self.name}").strip("/")
        with self._lock:
            file = self._files.get(below)
        return end - begin if file is None else file.lacking(begin, end)

    def renew(self) -> None:
        """Forget what was listed: it may have changed. Files that are open stay what they were."""
        with self._lock:
            self._files.clear()
            self._folders.clear()
        self._transport.renew()

    def close(self) -> None:
        self._transport.close()

    # What readers ask

    def status(self, path: str) -> FarStatus:
        known = self._entry(path)
        if known is None and not self._may_be_file(path):
            known = self._look(path)
        if known is not None and known.is_folder:
            return FOLDER
        if known is not None and known.size is not None:
            return self._file(path, known).status()
        try:
            return self.opened(path).status()
        except (FileNotFoundError, IsADirectoryError):
            if self.entries(path):
                return FOLDER
            raise

    def is_there(self, path: str) -> bool:
        if self._entry(path) is None:
            self.status(path)
        return True

    def entries(self, path: str) -> Sequence[FarEntry]:
        start = f"//{self.name}/{path}/" if path else f"//{self.name}/"
        found = self._listed(path).values()
        return [FarEntry(entry.name, start + entry.name, entry.is_folder) for entry in found]

    def is_guessed(self, path: str) -> bool:
        return path in self._guessed

    def opened(self, path: str) -> FarFile:
        with self._lock:
            known = self._files.get(path)
        if known is not None:
            return known
        entry = self._entry(path)
        if entry is not None and entry.is_folder:
            raise IsADirectoryError(f"{path} is a folder")
        if entry is not None and entry.size is not None:
            return self._file(path, entry)
        try:
            piece = self.fetch(path, 0, HEAD_NBYTES, None)
        except ReadError as error:
            raise OSError(str(error)) from None
        digest = None if entry is None else entry.digest
        file = RangedFile(self, path, Version(piece.size, piece.version, piece.modified_ns, digest))
        file.add(0, piece.data)
        with self._lock:
            return self._files.setdefault(path, file)

    def _file(self, path: str, entry: Entry) -> RangedFile:
        assert entry.size is not None
        with self._lock:
            known = self._files.get(path)
        if known is not None:
            return known
        file = RangedFile(self, path, Version(entry.size, entry.version, entry.modified_ns, entry.digest))
        with self._lock:
            return self._files.setdefault(path, file)

    def _entry(self, path: str) -> Entry | None:
        """What is known of a path from the lists of the folders around it; None if there is no list of its own.

        Raises FileNotFoundError, also where a folder on the way is in none of them.
        """
        known: Entry | None = None
        folder = ""
        for name in path.split("/") if path else ():
            with self._lock:
                listed = self._folders.get(folder)
            known = None if listed is None else listed.get(name)
            if listed is not None and known is None:
                raise FileNotFoundError(f"there is no {folder}{'/' if folder else ''}{name}")
            folder = f"{folder}/{name}" if folder else name
        return known

    def _look(self, path: str) -> Entry | None:
        try:
            return self._transport.look(path)
        except ReadError as error:
            raise OSError(str(error)) from None

    def _may_be_file(self, path: str) -> bool:
        """Whether a path is named as files are: its first bytes are then worth a request before any other."""
        return "." in path.rpartition("/")[2].lstrip(".")

    def _listed(self, path: str) -> dict[str, Entry]:
        with self._lock:
            known = self._folders.get(path)
        if known is not None:
            return known
        self._entry(path)
        try:
            found = self._transport.entries(path)
        except ReadError as error:
            raise OSError(str(error)) from None
        self._requests += 1
        named = guess_entries(self, path) if found is None else {entry.name: entry for entry in found}
        named = {name: entry for name, entry in named.items() if _is_one_part(name)}
        with self._lock:
            listed = self._folders.setdefault(path, named)
            if found is None:
                self._guessed.add(path)
        if listed is named:
            self._begin_early(path, named)
        return listed

    def _begin_early(self, folder: str, listed: Mapping[str, Entry]) -> None:
        """Fetch what every reader of a folder begins with: its configuration, and the first bytes of its shards."""
        shards = [name for name in listed if _SHARD.search(name)]
        for name in [*_ASKED_FIRST, *shards[:_MOST_EARLY]]:
            entry = listed.get(name)
            if entry is not None and entry.size is not None and not entry.is_folder:
                count = HEAD_NBYTES if name in shards else entry.size
                if count <= _MOST_EARLY_NBYTES:
                    path = f"{folder}/{name}" if folder else name
                    self._file(path, entry).ask(0, count)

    # What its files ask

    def fetch(self, path: str, begin: int, end: int, version: str | None) -> Piece:
        self._requests += 1
        piece = self._transport.fetch(path, begin, end, version)
        with self._lock:
            self._nbytes += len(piece.data)
        return piece

    def call(self, work: partial[None]) -> None:
        self._crew.call(work)

    def holds(self, file: RangedFile, begin: int, nbytes: int) -> None:
        out = []
        with self._lock:
            self._held[id(file), begin] = (file, nbytes)
            self._held_nbytes += nbytes
            while self._held_nbytes > _MOST_HELD and len(self._held) > 1:
                (_, first), (other, count) = self._held.popitem(last=False)
                self._held_nbytes -= count
                out.append((other, first))
        for other, first in out:
            other.forget(first)

    def kept(self, key: str) -> Sequence[tuple[int, int]]:
        return () if self._keeper is None else self._keeper.spans(key)

    def keep(self, key: str, begin: int, data: bytes) -> bool:
        if self._keeper is None:
            return False
        self._keeper.put(key, begin, data)
        return True

    def load(self, key: str, begin: int, end: int) -> bytes | None:
        return None if self._keeper is None else self._keeper.get(key, begin, end)


def _is_one_part(name: str) -> bool:
    """Whether a name that a server gave is that of something in the folder itself."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name
