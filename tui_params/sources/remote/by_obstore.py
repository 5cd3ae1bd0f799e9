"""Files in buckets of S3, Google and Azure, by obstore."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent import futures
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import obstore
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from tui_params.core.text import clean, size
from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.sources.remote.address import Address
from tui_params.sources.remote.bucket_faults import is_whole, meaning, status_of
from tui_params.sources.remote.bucket_login import find_login, may_be_in_a_cloud
from tui_params.sources.remote.deadline import Limits
from tui_params.sources.remote.paths import inside, joined
from tui_params.sources.remote.ranges import SMALL_NBYTES
from tui_params.sources.remote.retries import AgainError, Retries
from tui_params.sources.remote.transport import Entry, Piece

MOST_ENTRIES = 100_000
"""The most files and folders of one folder that are listed."""

_KINDS: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
_SLOWEST_PIECE = 300
"""Seconds for one whole answer: obstore's own 30 would break large pieces on a slow line."""

_T = TypeVar("_T")


class BucketTransport:
    """The files of a bucket below a prefix; a Transport. Keys are as they are, without escapes."""

    def __init__(self, address: Address, retries: Retries | None = None, limits: Limits | None = None) -> None:
        """Asks nothing yet. Raises OpenError."""
        self.address = address.shown
        self._scheme = address.scheme
        bucket, _, self._prefix = address.base.partition("://")[2].partition("/")
        self._bucket = f"{address.scheme}://{bucket}"
        self._retries = retries or Retries()
        self._limits = limits or Limits()
        login = find_login(address.scheme)
        self._hint = login.hint
        self._store = self._made(bucket, login.options)
        # Asked once by what the machine is in its cloud, if nobody in particular is refused.
        self._other = self._made(bucket, {}) if login.is_anonymous and may_be_in_a_cloud(address.scheme) else None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"BucketTransport({self.address!r})"

    def look(self, path: str) -> Entry:
        """What lies at a path: one request for a file, a second one where it may be a folder."""
        name = path.rpartition("/")[2]
        if not path:
            return Entry("", is_folder=True)
        key = self._key(path)
        try:
            return _entry(name, self._asked(path, lambda store: obstore.head(store, key)))
        except FileNotFoundError:
            if self.entries(path):
                return Entry(name, is_folder=True)
            raise

    def entries(self, path: str) -> tuple[Entry, ...]:
        """What lies in a folder; nothing, if there is no such folder: buckets have names only."""
        key = self._key(path)
        limit = self._limits.whole

        def listed(store: Any) -> Any:
            # Not the other call, which lists whole trees; this one has no limit but time.
            return _in_time(partial(obstore.list_with_delimiter, store, key or None), limit)

        try:
            found: Any = self._asked(path, listed)
        except (TimeoutError, futures.TimeoutError):
            raise ReadError(f"{self._named(path)} was not listed within {limit:g} s") from None
        folders = [Entry(each.rstrip("/").rpartition("/")[2], is_folder=True) for each in found["common_prefixes"]]
        files = [_entry(each["path"].rpartition("/")[2], each) for each in found["objects"] if each["path"] != key]
        if len(folders) + len(files) > MOST_ENTRIES:
            raise ReadError(f"{self._named(path)} has more than {MOST_ENTRIES:,} files")
        return tuple(entry for entry in (*folders, *files) if entry.name)

    def fetch(self, path: str, begin: int, end: int, version: str | None = None) -> Piece:
        """The bytes ``begin:end`` of a file; from its end on, a second request asks how long it is."""
        if not path:
            raise ReadError(f"{self.address} is a folder, not a file")
        key = self._key(path)
        last = max(begin + 1, end)
        options: dict[str, Any] = {"range": (begin, last)}
        if version is not None and version.startswith('"'):
            options["if_match"] = version

        def attempt(store: Any) -> Piece:
            try:
                result = obstore.get(store, key, options=options)
            except BaseError as error:
                if status_of(error) == 416:
                    entry = _entry("", obstore.head(store, key))
                    return Piece(b"", entry.size or 0, entry.version, entry.modified_ns)
                if is_whole(str(error)):
                    return self._from_whole(store, path, begin, last)
                raise
            entry = _entry("", result.meta)
            data = bytes(result.bytes())
            total = entry.size or 0
            if len(data) != min(last, total) - begin:
                raise AgainError(f"{self._bucket}: the answer has {len(data):,} bytes of {clean(path, 120)}, not all")
            return Piece(data, total, entry.version, entry.modified_ns)

        piece = self._asked(path, attempt)
        if version is not None and piece.version != version:
            raise self._changed(path)
        return piece if end > begin else Piece(b"", piece.size, piece.version, piece.modified_ns)

    def renew(self) -> None:
        """Nothing is kept of what was listed."""

    def close(self) -> None:
        """Nothing is attempted again. obstore gives its connections back when it is no longer used."""
        self._retries.stop()

    def _from_whole(self, store: Any, path: str, begin: int, end: int) -> Piece:
        """The range out of a whole file, if that is small: a server that sends no parts."""
        result = obstore.get(store, self._key(path))
        entry = _entry("", result.meta)
        total = entry.size or 0
        if total > SMALL_NBYTES:
            raise ReadError(
                f"{self._bucket} sends no parts of files, and {clean(path, 120)} of {size(total)} is not fetched as a"
                " whole: download it, then open it here"
            )
        return Piece(bytes(result.bytes())[begin:end], total, entry.version, entry.modified_ns)

    def _asked(self, path: str, call: Callable[[Any], _T]) -> _T:
        """What ``call`` returns of the store, attempted again after faults. Raises what a Transport raises."""

        def attempt() -> _T:
            try:
                return call(self._store)
            except PreconditionError:
                raise self._changed(path) from None
            except (BaseError, FileNotFoundError) as error:
                if status_of(error) in (401, 403) and self._asks_otherwise():
                    return attempt()
                raise meaning(error, self._bucket, clean(path, 120) or "its files", self._hint) from None

        return self._retries.run(attempt)

    def _asks_otherwise(self) -> bool:
        """Whether there is another who can be asked as; once."""
        with self._lock:
            if self._other is None:
                return False
            self._store, self._other = self._other, None
            return True

    def _made(self, bucket: str, options: dict[str, Any]) -> Any:
        limits = self._limits
        client: dict[str, Any] = {
            "connect_timeout": f"{limits.connect:g}s",
            "read_timeout": f"{int(limits.silence * 1000)}ms",
            "timeout": f"{_SLOWEST_PIECE}s",
            "allow_http": _has_plain_endpoint(),
        }
        try:
            return _KINDS[self._scheme](bucket, client_options=client, retry_config={"max_retries": 0}, **options)
        except (BaseError, ValueError) as error:
            if self._scheme == "az" and not os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"):
                raise OpenError("az:// needs the name of the account: set AZURE_STORAGE_ACCOUNT_NAME") from None
            raise OpenError(str(meaning(error, self._bucket, "its files", self._hint))) from None

    def _changed(self, path: str) -> SourceChangedError:
        return SourceChangedError(
            f"{clean(path, 120)} was changed in {self._bucket} after it was opened; open it again"
        )

    def _key(self, path: str) -> str:
        return joined(self._prefix, inside(path))

    def _named(self, path: str) -> str:
        return clean(joined(self.address, path), 200)


def _in_time(call: Callable[[], _T], limit: float) -> _T:
    """What ``call`` returns. Raises TimeoutError of futures if that takes longer than ``limit`` seconds.

    By a thread of ours and not by a coroutine of obstore: its thread still holds what it has handed over for a moment,
    and a process that ends in that moment is aborted (3 of 30 did).
    """
    future: futures.Future[_T] = futures.Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            future.set_exception(error)

    threading.Thread(target=run, name="tui-params list", daemon=True).start()
    return future.result(limit)


def _has_plain_endpoint() -> bool:
    """Whether the user's own settings name a server without TLS; else nothing is asked without it."""
    names = ("AWS_", "GOOGLE_", "AZURE_")
    return any("http://" in value for name, value in os.environ.items() if name.startswith(names))


def _entry(name: str, meta: Any) -> Entry:
    """What obstore's ObjectMeta says of a file."""
    modified: datetime = meta["last_modified"]
    version = meta["e_tag"] or f"{modified.isoformat()}, {meta['size']} bytes"
    return Entry(name, size=meta["size"], version=version, modified_ns=int(modified.timestamp() * 1000) * 1_000_000)
