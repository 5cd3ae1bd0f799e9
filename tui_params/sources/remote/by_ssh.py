"""Files behind SSH, by SFTP: settings, known hosts, keys and agent are those of the user's ``ssh``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Coroutine
from stat import S_ISDIR
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncssh
import msgspec

from tui_params.core.text import clean
from tui_params.errors import ReadError, SourceChangedError
from tui_params.sources.bytes.system_calls import reason
from tui_params.sources.remote.address import Address
from tui_params.sources.remote.deadline import Limits
from tui_params.sources.remote.faults import broken, without_secrets
from tui_params.sources.remote.paths import inside
from tui_params.sources.remote.retries import AgainError, Patience, Retries
from tui_params.sources.remote.transport import Entry, Piece

MOST_ENTRIES = 100_000
"""The most files and folders of one folder that are listed."""

_MOST_OPEN = 64
_BLOCK_NBYTES = 1 << 18
"""Bytes of one request: what OpenSSH sends at once (it says so itself)."""

_T = TypeVar("_T")

# It writes to stderr what we say in a sentence.
logging.getLogger("asyncssh").addHandler(logging.NullHandler())


class _Session(msgspec.Struct):
    """One connection, with the files that are open on it."""

    connection: Any
    files: Any
    handles: OrderedDict[str, tuple[Any, Entry]]


class SshTransport:
    """The files of a host; a Transport. A path that begins with ``~/`` is below the user's home, others below ``/``.

    The connection is made when something is first asked for, in a thread of its own, and once more when it is lost.
    """

    def __init__(self, address: Address, limits: Limits | None = None, retries: Retries | None = None) -> None:
        self.address = address.shown
        parts = urlsplit(address.base)
        self._host = parts.hostname or ""
        # What is not in the address is left to ~/.ssh/config: asyncssh takes () for "not given".
        self._port: Any = parts.port or ()
        self._user: Any = parts.username or ()
        self._limits = limits or Limits()
        self._retries = retries or Retries(Patience(attempts=2))
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: _Session | None = None
        self._connecting: asyncio.Lock | None = None

    def __repr__(self) -> str:
        return f"SshTransport({self.address!r})"

    def look(self, path: str) -> Entry:
        """What lies at a path. A host has no size, so it is a folder."""
        name = path.rpartition("/")[2]

        async def ask(session: _Session) -> Entry:
            return _entry(name, await session.files.stat(_full(path)))

        found: Entry = self._asked(path, ask)
        return found

    def entries(self, path: str) -> tuple[Entry, ...]:
        """What lies in a folder. Links are followed by those who look at them: they are listed as files."""

        async def ask(session: _Session) -> tuple[Entry, ...]:
            found = []
            async for each in session.files.scandir(_full(path)):
                if each.filename in (".", ".."):
                    continue
                attributes = each.attrs
                if attributes.type == asyncssh.FILEXFER_TYPE_SYMLINK:
                    attributes = await _followed(session, f"{_full(path)}/{each.filename}", attributes)
                found.append(_entry(str(each.filename), attributes))
                if len(found) > MOST_ENTRIES:
                    raise ReadError(f"{clean(path, 120)} of {self.address} has more than {MOST_ENTRIES:,} files")
            return tuple(found)

        every: tuple[Entry, ...] = self._asked(path, ask)
        return every

    def fetch(self, path: str, begin: int, end: int, version: str | None = None) -> Piece:
        """The bytes ``begin:end`` of a file, in several requests at once."""

        async def ask(session: _Session) -> Piece:
            handle, entry = await self._opened(session, path)
            if entry.is_folder or entry.size is None:
                raise ReadError(f"{clean(path, 120)} is a folder, not a file")
            stop = min(end, entry.size)
            data, now = await asyncio.gather(
                handle.read(max(stop - begin, 0), begin) if stop > begin else _nothing(),
                session.files.stat(_full(path)),
            )
            if _entry("", now).version != entry.version:
                session.handles.pop(path, None)
                if version is not None:
                    raise self._changed(path)
                raise AgainError(f"{clean(path, 120)} is written to on {self._host} while it is read")
            if version is not None and version != entry.version:
                raise self._changed(path)
            if len(data) != max(stop - begin, 0):
                raise AgainError(f"{self._host} sends {len(data):,} of {stop - begin:,} bytes of {clean(path, 120)}")
            return Piece(data, entry.size, entry.version, entry.modified_ns)

        piece: Piece = self._asked(path, ask, nbytes=end - begin)
        return piece

    def renew(self) -> None:
        """Nothing is kept of what was listed."""

    def close(self) -> None:
        """Close the connection and end its thread; what waits fails at once."""
        self._retries.stop()
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(_stop, loop, self._session)

    async def _opened(self, session: _Session, path: str) -> tuple[Any, Entry]:
        if path not in session.handles:
            handle = await session.files.open(_full(path), "rb", block_size=_BLOCK_NBYTES)
            session.handles[path] = (handle, _entry("", await handle.stat()))
            if len(session.handles) > _MOST_OPEN:
                _, (oldest, _) = session.handles.popitem(last=False)
                # In a while: another reader may just have begun to read from it.
                asyncio.get_running_loop().call_later(self._limits.whole, _close_later, oldest)
        else:
            session.handles.move_to_end(path)
        return session.handles[path]

    def _changed(self, path: str) -> SourceChangedError:
        return SourceChangedError(f"{clean(path, 120)} was changed on {self._host} after it was opened; open it again")

    def _asked(self, path: str, ask: Any, nbytes: int = 0) -> Any:
        """What ``ask`` returns of a session, asked again on a new connection where one is lost."""
        inside(path.removeprefix("~/") if path != "~" else "")
        seconds = self._limits.whole + nbytes / self._limits.slowest

        def attempt() -> Any:
            try:
                return self._run(self._with_session(ask, seconds))
            except (ReadError, AgainError):
                raise
            except (concurrent.futures.CancelledError, asyncio.CancelledError):
                raise ReadError("the connection was closed") from None
            except (asyncssh.Error, OSError) as error:
                raise self._meaning(error, path) from None

        return self._retries.run(attempt)

    async def _with_session(self, ask: Any, seconds: float) -> Any:
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            if self._session is None or self._session.connection.is_closed():
                limit = self._limits.connect + self._limits.silence
                try:
                    self._session = await asyncio.wait_for(self._connected(), limit)
                except (TimeoutError, asyncio.TimeoutError):
                    raise ReadError(f"{self._host} let nobody in within {self._limits.connect:g} s") from None
        session = self._session
        try:
            return await asyncio.wait_for(ask(session), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            self._drop(session)
            raise ReadError(f"{self._host} did not answer within {seconds:g} s") from None
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.ConnectionLost, ConnectionError):
            self._drop(session)
            raise AgainError(f"{self._host} closed the connection") from None

    def _drop(self, session: _Session) -> None:
        session.connection.abort()
        if self._session is session:
            self._session = None

    async def _connected(self) -> _Session:
        limits = self._limits
        connection = await asyncssh.connect(
            self._host,
            self._port,
            username=self._user,
            connect_timeout=limits.connect,
            login_timeout=limits.silence,
            keepalive_interval=limits.silence,
            keepalive_count_max=2,
            # Nothing is typed here: keys and the agent only.
            password_auth=False,
            kbdint_auth=False,
        )
        return _Session(connection, await connection.start_sftp_client(), OrderedDict())

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        with self._lock:
            if self._retries.is_stopped:
                work.close()
                raise ReadError("the connection was closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(self._loop,), name="ssh", daemon=True).start()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result()

    def _meaning(self, error: Exception, path: str) -> Exception:
        """What an error of asyncssh means to the user."""
        host, file = self._host, clean(path, 120) or "its files"
        port = f" -p {self._port}" if self._port else ""
        if isinstance(error, (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)):
            return FileNotFoundError(f"{host} has no {file}")
        if isinstance(error, asyncssh.SFTPPermissionDenied):
            return ReadError(f"{host} does not allow access to {file}")
        if isinstance(error, asyncssh.HostKeyNotVerifiable):
            return ReadError(
                f"{host} shows a key that is not the one in ~/.ssh/known_hosts, or none is there:"
                f" run `ssh{port} {host}` once, compare the key, and accept it"
            )
        if isinstance(error, asyncssh.PermissionDenied):
            return ReadError(f"{host} accepts none of your keys: `ssh{port} {host}` must work without a password")
        if isinstance(error, (asyncssh.ConnectionLost, ConnectionResetError)):
            return AgainError(f"{host} closed the connection")
        if isinstance(error, OSError) and error.filename:
            # asyncssh needs what ~/.ssh/config names; ssh itself would go on without it.
            name = clean(os.fspath(error.filename), 120)
            return ReadError(f"{host} is not asked: {name} of your SSH settings cannot be read: {reason(error)}")
        if isinstance(error, OSError):
            return broken(error, host, self._limits.connect)
        why = without_secrets(str(getattr(error, "reason", "") or error))
        return ReadError(f"{file} of {host} cannot be read: {why[:1].lower() + why[1:]}")


def _full(path: str) -> str:
    """The path as SFTP takes it: what is relative is below the home of the user."""
    if path == "~":
        return "."
    return path.removeprefix("~/") if path.startswith("~/") else f"/{path}"


def _entry(name: str, attributes: Any) -> Entry:
    """What SFTP says of a file: its times are whole seconds."""
    if S_ISDIR(attributes.permissions or 0):
        return Entry(name, is_folder=True)
    modified = attributes.mtime or 0
    return Entry(
        name, size=attributes.size, version=f"{modified}, {attributes.size} bytes", modified_ns=modified * 10**9
    )


async def _followed(session: _Session, path: str, attributes: Any) -> Any:
    """What a link leads to; the link itself where that is nothing."""
    try:
        return await session.files.stat(path)
    except asyncssh.SFTPError:
        return attributes


async def _nothing() -> bytes:
    return b""


def _close_later(handle: Any) -> None:
    task = asyncio.ensure_future(handle.close())
    task.add_done_callback(lambda done: done.cancelled() or done.exception())


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Runs a loop until it is stopped, and ends what is then still waiting."""
    asyncio.set_event_loop(loop)
    loop.run_forever()
    waiting = asyncio.all_tasks(loop)
    for task in waiting:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _stop(loop: asyncio.AbstractEventLoop, session: _Session | None) -> None:
    if session is not None:
        session.connection.abort()
    loop.stop()
