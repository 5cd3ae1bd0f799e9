"""The descriptors of open files: few at a time, each of the file that was opened, and lent to one reader or more."""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

from tui_params.core.text import clean
from tui_params.errors import ReadError, SourceChangedError
from tui_params.sources.bytes.system_calls import descriptor_limit, reason, retried

MAX_OPEN_FILES = 64
"""Descriptors that are kept open between reads, where the process may have four times as many."""

LONGEST_WAIT = 10.0
"""Seconds to wait for another reader's descriptor: a read of a few MB is over sooner, unless its disk hangs."""

_NO_DESCRIPTOR_LEFT = (errno.EMFILE, errno.ENFILE)
READ_ONLY = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: should the path have become a FIFO since the last stat, open still returns at once."""

_T = TypeVar("_T")


class Pooled(Protocol):
    """A file as it was when it was opened; it can be a key of a dict."""

    @property
    def path(self) -> Path: ...
    @property
    def name(self) -> str: ...
    def difference(self, status: os.stat_result | None) -> str | None: ...
    def changed(self) -> str | None: ...


class Handle:
    """An open descriptor, how many readers hold it now, and whether the last of them closes it."""

    __slots__ = ("descriptor", "is_dropped", "users")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.users = 0
        self.is_dropped = False


class FilePool:
    """Descriptors, opened when first needed and closed when others were used more recently. Thread-safe.

    A descriptor in use is never closed under its reader, so ``limit`` may be exceeded by as many as read at once.
    Where the process has no descriptor left, the pool closes those that are idle and keeps fewer from then on.
    """

    def __init__(self, limit: int | None = None) -> None:
        """Keeps ``limit`` descriptors; without it MAX_OPEN_FILES, but no more than a quarter of what is allowed."""
        if limit is None:
            allowed = descriptor_limit()
            limit = MAX_OPEN_FILES if allowed < 0 else max(1, min(MAX_OPEN_FILES, allowed // 4))
        self._limit = limit
        self._changed = threading.Condition()
        self._handles: OrderedDict[Pooled, Handle] = OrderedDict()
        self._in_use = 0

    def borrow(self, file: Pooled) -> Loan:
        """A descriptor of ``file`` inside a ``with``, unchanged when it is lent and when it comes back.

        Nothing else is borrowed or opened by the same thread meanwhile. Raises SourceChangedError or ReadError; an
        OSError of the reads between becomes a ReadError.
        """
        return Loan(self, file)

    def make_room_for(self, call: Callable[[], _T]) -> _T:
        """What ``call`` returns; called again as long as it finds no descriptor left and the pool can free one.

        Raises what ``call`` raises.
        """
        try:
            return retried(call)
        except OSError as error:
            if error.errno not in _NO_DESCRIPTOR_LEFT or not self._free_some():
                raise
        return self.make_room_for(call)

    def lend(self, file: Pooled) -> Handle:
        """The descriptor of ``file``, which ``take_back`` must follow. Raises SourceChangedError, ReadError."""
        with self._changed:
            handle = self._handles.get(file)
            while handle is None:
                _raise_if(file.changed())
                try:
                    handle = self._handles[file] = Handle(retried(lambda: os.open(file.path, READ_ONLY)))
                except OSError as error:
                    if error.errno not in _NO_DESCRIPTOR_LEFT or not self._free_some():
                        name = clean(file.name, 120)
                        raise ReadError(f"{name} cannot be opened any more: {reason(error)}") from None
                    # Another reader may have opened the file while this one waited.
                    handle = self._handles.get(file)
            self._handles.move_to_end(file)
            handle.users += 1
            self._in_use += 1
            if len(self._handles) > self._limit:
                self._close(self._idle()[: len(self._handles) - self._limit])
            return handle

    def _free_some(self) -> bool:
        """Close every idle descriptor, or wait until a reader gives one back; False if there is nothing to hope for."""
        with self._changed:
            idle = self._idle()
            if idle:
                self._limit = max(1, min(self._limit, len(self._handles) // 2))
                self._close(idle)
                return True
            return self._in_use > 0 and self._changed.wait(LONGEST_WAIT)

    def _idle(self) -> list[Pooled]:
        return [file for file, handle in self._handles.items() if not handle.users]

    def _close(self, files: list[Pooled]) -> None:
        for file in files:
            os.close(self._handles.pop(file).descriptor)

    def take_back(self, handle: Handle) -> None:
        """End what ``lend`` began."""
        with self._changed:
            handle.users -= 1
            self._in_use -= 1
            if handle.is_dropped and not handle.users:
                os.close(handle.descriptor)
            self._changed.notify_all()

    def drop(self, file: Pooled) -> None:
        """Close the descriptor of ``file``, at once or when its last reader is done."""
        with self._changed:
            handle = self._handles.pop(file, None)
            if handle is not None:
                handle.is_dropped = True
                if not handle.users:
                    os.close(handle.descriptor)
                self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._handles)


class Loan:
    """The context manager of ``FilePool.borrow``; a class, because contextlib's takes longer than a short read."""

    __slots__ = ("_file", "_handle", "_pool")

    def __init__(self, pool: FilePool, file: Pooled) -> None:
        self._pool = pool
        self._file = file
        self._handle: Handle | None = None

    def __enter__(self) -> int:
        file = self._file
        handle = self._handle = self._pool.lend(file)
        try:
            _raise_if(file.difference(retried(partial(os.fstat, handle.descriptor))) or file.changed())
        except OSError as error:
            self._pool.take_back(handle)
            raise self._unread(error) from None
        except BaseException:
            self._pool.take_back(handle)
            raise
        return handle.descriptor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        handle = self._handle
        assert handle is not None
        try:
            if isinstance(error, OSError):
                raise self._unread(error) from None
            if error is None:
                # If the file was written to meanwhile, half of the bytes may be old and half new.
                _raise_if(self._file.difference(retried(partial(os.fstat, handle.descriptor))))
        except OSError as again:
            raise self._unread(again) from None
        finally:
            self._pool.take_back(handle)

    def _unread(self, error: OSError) -> ReadError:
        return ReadError(f"{clean(self._file.name, 120)} cannot be read: {reason(error)}")


def _raise_if(sentence: str | None) -> None:
    if sentence is not None:
        raise SourceChangedError(sentence)
