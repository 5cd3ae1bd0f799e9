"""The cache of computed statistics on disk, so that a tensor that was read once is not read again next time.

Only exact, final statistics of tensors in files are kept, and only for the state of the file that they were computed
from. Nothing here raises: a cache that is damaged, full, owned by somebody else or unreadable counts as empty, with a
complaint.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import msgspec

from tui_params.cache.folder import CacheFolder, Stamp, Usage
from tui_params.cache.records import Identity, file_name, pack, tensor_key, unpack
from tui_params.core.channels import Channels
from tui_params.core.figure_records import Measured, decode_record, encode_record
from tui_params.core.figures import Figures
from tui_params.core.reading.readable import FileStamp
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import UnknownTensorError
from tui_params.sources.bytes import files
from tui_params.sources.bytes.far import is_far

if TYPE_CHECKING:
    from tui_params.cache.pieces import PieceCache

__all__ = ["FigureCache", "Measured", "SourceCache"]

ENVIRONMENT = "TUI_PARAMS_CACHE"
OFF = frozenset({"0", "off"})
MAX_BYTES = 64 * 1024 * 1024
"""Bytes of the whole cache: enough for 130,000 tensors and more, with their rows and columns."""

MAX_FILES = 4096
MIN_FILE_BYTES = 1024 * 1024
"""Smaller data files are read again faster than anybody notices."""

SETTLED_NS = 2_000_000_000
"""A file that changed within the last two seconds (the mtime of FAT has that step) may change again unseen."""

FLUSH_SECONDS = 1.0
"""A flush that has taken this long writes no further file."""

REST = 20
"""A cache file that took t seconds to write is not written again for 20 t: writing takes at most 5 % of the time."""

RETRY_SECONDS = 60.0


class FigureCache:
    """The cache in one folder: by default the one that ``TUI_PARAMS_CACHE`` names, else the user's own.

    ``folder`` is None where the environment turns it off (``0`` or ``off``), or where the user has no home.
    """

    def __init__(self, folder: Path | None = None, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
        path, self._complaint = (Path(os.path.realpath(folder)), None) if folder is not None else _chosen_folder()
        self._folder = None if path is None else CacheFolder(path, max_bytes, max_files)

    @property
    def folder(self) -> Path | None:
        return None if self._folder is None else self._folder.path

    @property
    def store(self) -> CacheFolder | None:
        """The folder, for what else is kept there within the same bounds: compiled loops, and choices of the user."""
        return self._folder

    @property
    def complaint(self) -> str | None:
        """One sentence about what went wrong last, or None. Statistics are never wrong because of it."""
        return self._complaint if self._folder is None else self._folder.complaint

    def for_source(self, source: Source) -> SourceCache | None:
        """The part of the cache for ``source``; None if the cache is off or no tensor is in a file that is worth it.

        Call this before the first value is read, because it looks whether each file is at rest. It costs one stat for
        each file.
        """
        if self._folder is None:
            return None
        files: dict[Path, FileStamp] = {}
        for info in source.listing.tensors:
            found = source.data_file(info)
            if found is not None:
                files[found[0].path] = found[0]
        kept = {path: made for path, file in files.items() if (made := _look_at(file)) is not None}
        return SourceCache(self._folder, source, kept) if kept else None

    def usage(self) -> Usage:
        """How many files the cache has, parts of remote files included, and their bytes."""
        if self._folder is None:
            return Usage(0, 0)
        return _sum(self._folder.usage(), self._pieces().usage())

    def clear(self) -> Usage:
        """Delete everything that is kept, even while others use it; return how much that was."""
        if self._folder is None:
            return Usage(0, 0)
        return _sum(self._folder.clear(), self._pieces().clear())

    def _pieces(self) -> PieceCache:
        from tui_params.cache.pieces import FOLDER, PieceCache

        assert self._folder is not None
        return PieceCache(self._folder.path / FOLDER)


class _Kept:
    """What is known about the tensors of one data file: read from the disk (``stored``), or new (``fresh``).

    ``lock`` guards all of it. ``is_settled`` means that the data file was at rest when it was first looked at.
    """

    def __init__(self, path: Path, identity: Identity, is_settled: bool) -> None:
        self.path = path
        self.identity = identity
        self.is_settled = is_settled
        self.name = file_name(identity.path)
        self.lock = Lock()
        self.is_loaded = False
        self.stamp: Stamp | None = None
        self.stored: dict[bytes, bytes | msgspec.Raw] = {}
        self.fresh: dict[bytes, bytes] = {}
        self.not_before = -math.inf

    def has_changed(self) -> bool:
        return _identify(self.path) != self.identity


class SourceCache:
    """The kept statistics of the tensors of one source. May be used from any thread."""

    def __init__(self, folder: CacheFolder, source: Source, kept: Mapping[Path, _Kept]) -> None:
        self._folder = folder
        self._source = source
        self._kept = kept
        self._flushing = Lock()

    def load(self) -> None:
        """Read every cache file of the source now, and not each at its first use."""
        for kept in self._kept.values():
            self._load(kept)

    def get(self, info: TensorInfo) -> Measured | None:
        """The statistics of ``info`` for the file as it was opened, or None. Reads each cache file at most once."""
        found = self._find(info)
        if found is None:
            return None
        kept, key = found
        self._load(kept)
        with kept.lock:
            record = kept.fresh.get(key) or kept.stored.get(key)
        measured = None if record is None else decode_record(record)
        return measured if measured is not None and measured.figures.numel == info.numel else None

    def put(self, info: TensorInfo, figures: Figures, channels: Channels | None) -> None:
        """Remember the statistics of ``info`` in memory, unless they are of a sample or of a file not at rest.

        A file must have been at rest before its first value was read: if it is written twice within one step of its
        clock, it looks the same after both (git's Documentation/technical/racy-git.txt).
        """
        found = self._find(info) if figures.is_exact and not figures.is_sampled else None
        if found is None:
            return
        kept, key = found
        record = encode_record(figures, channels)
        with kept.lock:
            is_less = channels is None and (key in kept.fresh or key in kept.stored)
            if kept.is_settled and not is_less:
                kept.fresh[key] = record

    def flush(self, *, is_last: bool = False) -> None:
        """Write what is new to disk, and begin no further file after FLUSH_SECONDS; never raises.

        Unless ``is_last``, it does nothing while another thread flushes, and skips a file that was written a moment
        ago.
        """
        if not self._flushing.acquire(blocking=is_last):
            return
        try:
            began = time.monotonic()
            has_written = False
            for kept in self._kept.values():
                now = time.monotonic()
                if now - began > FLUSH_SECONDS:
                    break
                if kept.fresh and (is_last or now >= kept.not_before):
                    has_written |= self._write(kept)
                    kept.not_before = max(kept.not_before, time.monotonic() + REST * (time.monotonic() - now))
            if has_written:
                self._folder.evict()
        finally:
            self._flushing.release()

    def _find(self, info: TensorInfo) -> tuple[_Kept, bytes] | None:
        """The file of a tensor and its key in there; a tied tensor has those of its first name."""
        if info.unreadable is not None:
            return None
        if info.tied_to is not None:
            try:
                info = self._source.find(info.tied_to)
            except UnknownTensorError:
                return None
        found = self._source.data_file(info)
        kept = None if found is None else self._kept.get(found[0].path)
        return None if found is None or kept is None else (kept, tensor_key(found[1]))

    def _load(self, kept: _Kept) -> None:
        if kept.is_loaded:
            return
        with kept.lock:
            if not kept.is_loaded:
                kept.stored, kept.stamp = self._read(kept)
                kept.is_loaded = True

    def _read(self, kept: _Kept) -> tuple[dict[bytes, bytes | msgspec.Raw], Stamp | None]:
        """The records on disk, if they are for this state of the data file."""
        found = self._folder.read(kept.name)
        if found is None:
            return {}, None
        data, stamp = found
        try:
            identity, records = unpack(data)
        except ValueError as error:
            self._folder.complain(f"a file of kept statistics is ignored: {error}")
            return {}, stamp
        return ({**records} if identity == kept.identity else {}), stamp

    def _write(self, kept: _Kept) -> bool:
        if kept.has_changed():
            # It is not known which state of the file the statistics are for, and nobody will ask for them.
            with kept.lock:
                kept.is_settled = False
                kept.fresh.clear()
                kept.stored = {}
            return False
        # Keep what another process has written since. If it writes again before we do, that is lost and computed anew.
        others, stamp = None, self._folder.stamp(kept.name)
        if not kept.is_loaded or stamp != kept.stamp:
            others, stamp = self._read(kept)
        with kept.lock:
            kept.is_loaded = True
            kept.stored |= others or {}
            new = dict(kept.fresh)
            records = kept.stored | new
        written = self._folder.write(kept.name, pack(kept.identity, records))
        if written is None:
            kept.not_before = time.monotonic() + RETRY_SECONDS
            return False
        with kept.lock:
            kept.stamp = written
            kept.stored = records
            for key, record in new.items():
                if kept.fresh.get(key) is record:
                    del kept.fresh[key]
        return True


def identity_at_rest(file: FileStamp) -> Identity | None:
    """The state of a data file; None if it is small, no longer the one that was opened, or changed a moment ago."""
    kept = _look_at(file)
    return kept.identity if kept is not None and kept.is_settled else None


def _look_at(file: FileStamp) -> _Kept | None:
    """A place for what is known about a data file; None if it is small, or no longer the one that was opened."""
    if file.size < MIN_FILE_BYTES:
        return None
    identity = _identify(file.path)
    if identity is None or (identity.size, identity.mtime_ns, identity.inode, identity.device) != (
        file.size,
        file.mtime_ns,
        file.inode,
        file.device,
    ):
        return None
    is_settled = is_far(file.path) or time.time_ns() - max(identity.mtime_ns, identity.ctime_ns) > SETTLED_NS
    return _Kept(file.path, identity, is_settled)


def _identify(path: Path) -> Identity | None:
    if is_far(path):
        return _identify_far(path)
    try:
        status = os.stat(path)
        resolved = os.fsencode(os.path.realpath(path))
    except OSError:
        return None
    return Identity(resolved, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _sum(a: Usage, b: Usage) -> Usage:
    return Usage(a.files + b.files, a.nbytes + b.nbytes)


def _identify_far(path: Path) -> Identity | None:
    """A file on a server, by its address and version; None where the server gives no version."""
    try:
        now = files.status(path)
    except OSError:
        return None
    if not now.st_ino:
        return None
    return Identity(os.fsencode(files.real(path)), now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, 0)


def chosen_folder() -> Path | None:
    """The folder of the cache; None where there is none."""
    return _chosen_folder()[0]


def _chosen_folder() -> tuple[Path | None, str | None]:
    """The folder that the environment or the system names; or None, with the reason unless it was turned off."""
    named = os.environ.get(ENVIRONMENT, "").strip()
    if named.lower() in OFF:
        return None, None
    if named:
        return Path(os.path.realpath(os.path.expanduser(named))), None
    from platformdirs import user_cache_path

    folder = user_cache_path("tui-params") / "figures"
    if not folder.is_absolute():
        return None, "no statistics are kept, because this user has no home folder"
    return folder, None
