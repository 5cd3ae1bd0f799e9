"""Files that are read in pieces: what was opened, whether it has changed since, and the bytes at an offset.

Never memory-mapped: a file that another process truncates must give an error, not a SIGBUS.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from stat import S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISREG, S_ISSOCK
from types import TracebackType
from typing import TypeVar

import msgspec

from tui_params.core.reading.place import Fill
from tui_params.core.text import clean, size
from tui_params.errors import OpenError, ReadError, SourceChangedError

MAX_OPEN_FILES = 64
"""Descriptors that are kept open between reads, where the process may have four times as many."""

LONGEST_WAIT = 10.0
"""Seconds to wait for another reader's descriptor: a read of a few MB is over sooner, unless its disk hangs."""

_BLOCK_NBYTES = 1 << 20
"""Bytes that are read at a time for a checksum: few enough to be in the processor's cache while they are summed."""

_NO_DESCRIPTOR_LEFT = (errno.EMFILE, errno.ENFILE)
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: should the path have become a FIFO since the last stat, open still returns at once."""

_MOST_INTERRUPTIONS = 1000
"""How often a call that signals interrupt is made again."""

_T = TypeVar("_T")


def retried(call: Callable[[], _T]) -> _T:
    """What ``call`` returns, called again if a signal interrupted it (EINTR). Raises what it raises.

    Python repeats reads and ``open`` by itself (PEP 475), but not ``stat``, ``fstat`` and the listing of folders, which
    a file system in user space or over a network may interrupt.
    """
    for _ in range(_MOST_INTERRUPTIONS):
        # Not contextlib.suppress: a check of many small tensors passes here several times for each.
        try:
            return call()
        except InterruptedError:  # noqa: PERF203
            continue
    return call()


class DataFile(msgspec.Struct, frozen=True):
    """A file as it was when it was opened; ``name`` is the key that ``TensorInfo.file`` and ``Extent.file`` use."""

    path: Path
    name: str
    size: int
    mtime_ns: int
    inode: int
    device: int

    def reading(self) -> AbstractContextManager[Fill]:
        """What reads from it as it was opened, inside a ``with``. Raises SourceChangedError, ReadError."""
        return _Reading(self)

    def difference(self, status: os.stat_result | None) -> str | None:
        """One sentence if ``status`` is not that of the file that was opened; None means that the file is gone."""
        if status is None:
            return f"{clean(self.name, 120)} was removed from the disk after it was opened"
        is_same = (status.st_ino, status.st_dev) == (self.inode, self.device) and S_ISREG(status.st_mode)
        if is_same and status.st_size == self.size and status.st_mtime_ns == self.mtime_ns:
            return None
        name = clean(self.name, 120)
        if not is_same:
            return f"{name} was replaced on disk after it was opened; open it again"
        if status.st_size != self.size:
            how = "truncated" if status.st_size < self.size else "extended"
            return (
                f"{name} was {how} from {size(self.size)} to {size(status.st_size)} after it was opened; open it again"
            )
        return f"{name} was written to after it was opened; open it again"

    def changed(self) -> str | None:
        """One sentence if the path no longer leads to the file that was opened, else None."""
        try:
            return self.difference(retried(partial(os.stat, self.path)))
        except (FileNotFoundError, NotADirectoryError):
            return self.difference(None)
        except OSError as error:
            return f"{clean(self.name, 120)} can no longer be accessed: {reason(error)}"


def reason(error: OSError) -> str:
    """What the operating system says, in lower case and without numbers or paths: ``permission denied``."""
    if error.errno == errno.EMFILE:
        return f"this process may have no more than {_descriptor_limit():,} files open (ulimit -n)"
    if error.errno == errno.ENFILE:
        return "the system has as many files open as it can"
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def _descriptor_limit() -> int:
    """How many files this process may have open at once; -1 where that is unlimited."""
    return os.sysconf("SC_OPEN_MAX")


@contextmanager
def opened(path: Path) -> Iterator[tuple[int, DataFile]]:
    """A descriptor of the regular file at ``path``, and its DataFile, inside a ``with``. Raises OpenError.

    The type is checked before opening, because opening a FIFO waits for its writer.
    """
    name = clean(path.name or str(path), 120)
    try:
        _check_regular(clean(str(path), 200), retried(lambda: os.stat(path)).st_mode)
        descriptor = POOL.make_room_for(lambda: os.open(path, _FLAGS))
    except FileNotFoundError:
        raise OpenError(f"no such file: {clean(str(path), 200)}") from None
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise OpenError(f"{name} cannot be opened: {why}") from None
    try:
        status = retried(lambda: os.fstat(descriptor))
        _check_regular(clean(str(path), 200), status.st_mode)
        yield (
            descriptor,
            DataFile(path, path.name, status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev),
        )
    except OSError as error:
        raise OpenError(f"{name} cannot be read: {reason(error)}") from None
    finally:
        os.close(descriptor)


def _check_regular(shown: str, mode: int) -> None:
    for is_kind, kind in (
        (S_ISDIR, "a folder"),
        (S_ISFIFO, "a named pipe (FIFO)"),
        (S_ISSOCK, "a socket"),
        (S_ISCHR, "a device"),
        (S_ISBLK, "a device"),
    ):
        if is_kind(mode):
            raise OpenError(f"{shown} is {kind}, not a file that can be read in pieces")


def read_bytes(descriptor: int, offset: int, count: int) -> bytes:
    """Up to ``count`` bytes at ``offset``, fewer only at the end of the file. Raises OSError."""
    pieces = []
    while count > 0:
        piece = retried(partial(os.pread, descriptor, min(count, 1 << 30), offset))
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        count -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


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
            allowed = _descriptor_limit()
            limit = MAX_OPEN_FILES if allowed < 0 else max(1, min(MAX_OPEN_FILES, allowed // 4))
        self._limit = limit
        self._changed = threading.Condition()
        self._handles: OrderedDict[DataFile, Handle] = OrderedDict()
        self._in_use = 0

    def borrow(self, file: DataFile) -> Loan:
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

    def lend(self, file: DataFile) -> Handle:
        """The descriptor of ``file``, which ``take_back`` must follow. Raises SourceChangedError, ReadError."""
        with self._changed:
            handle = self._handles.get(file)
            while handle is None:
                _raise_if(file.changed())
                try:
                    handle = self._handles[file] = Handle(retried(lambda: os.open(file.path, _FLAGS)))
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

    def _idle(self) -> list[DataFile]:
        return [file for file, handle in self._handles.items() if not handle.users]

    def _close(self, files: list[DataFile]) -> None:
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

    def drop(self, file: DataFile) -> None:
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

    def __init__(self, pool: FilePool, file: DataFile) -> None:
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


class _Reading:
    """What fills buffers from a file that is borrowed; a class, as Loan."""

    __slots__ = ("_file", "_loan")

    def __init__(self, file: DataFile) -> None:
        self._file = file
        self._loan = POOL.borrow(file)

    def __enter__(self) -> Fill:
        return partial(read_into, self._loan.__enter__(), self._file)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loan.__exit__(kind, error, trace)


def _raise_if(sentence: str | None) -> None:
    if sentence is not None:
        raise SourceChangedError(sentence)


POOL = FilePool()
"""The one pool of this process: a folder of 163 shards must not use up the limit of the shell."""


def read_into(descriptor: int, file: DataFile, offset: int, buffer: memoryview) -> None:
    """Fill ``buffer`` with the bytes at ``offset``. Raises ReadError if the file ends before, OSError."""
    done = 0
    while done < len(buffer):
        if hasattr(os, "preadv"):
            count = retried(partial(os.preadv, descriptor, [buffer[done:]], offset + done))
        else:
            piece = retried(partial(os.pread, descriptor, len(buffer) - done, offset + done))
            count = len(piece)
            buffer[done : done + count] = piece
        if count == 0:
            raise ReadError(
                f"{clean(file.name, 120)} ends early:"
                f" only {done:,} of {len(buffer):,} bytes could be read at offset {offset:,}"
            )
        done += count


def read_blocks(file: DataFile, start: int, stop: int) -> Iterator[memoryview]:
    """The bytes ``start:stop`` of a file, a block at a time in one buffer. Raises ReadError.

    The file is borrowed, and so compared with what was opened, also where there are no bytes to read.
    """
    buffer = memoryview(bytearray(min(stop - start, _BLOCK_NBYTES)))
    for begin in range(start, max(stop, start + 1), _BLOCK_NBYTES):
        block = buffer[: min(_BLOCK_NBYTES, stop - begin)]
        with POOL.borrow(file) as descriptor:
            read_into(descriptor, file, begin, block)
        if block:
            yield block
