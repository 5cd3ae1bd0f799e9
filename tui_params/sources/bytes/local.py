"""Files that are read in pieces: what was opened, whether it has changed since, and the bytes at an offset.

Never memory-mapped: a file that another process truncates must give an error, not a SIGBUS.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from stat import S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISREG, S_ISSOCK
from types import TracebackType
from typing import TypeAlias

import msgspec

from tui_params.core.reading.place import HERE, Fill, Spans
from tui_params.core.text import clean, size
from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.sources.bytes import far
from tui_params.sources.bytes.far import FarFile
from tui_params.sources.bytes.pool import READ_ONLY, FilePool
from tui_params.sources.bytes.system_calls import reason, retried

_BLOCK_NBYTES = 1 << 20
"""Bytes that are read at a time for a checksum: few enough to be in the processor's cache while they are summed."""

Descriptor: TypeAlias = int | FarFile
"""What an open file is read through: a number of the operating system, or a file elsewhere."""


class DataFile(msgspec.Struct, frozen=True):
    """A file as it was when it was opened; ``name`` is the key that ``TensorInfo.file`` and ``Extent.file`` use."""

    path: Path
    name: str
    size: int
    mtime_ns: int
    inode: int
    device: int
    is_far: bool = False

    def reading(self) -> AbstractContextManager[Fill]:
        """What reads from it as it was opened, inside a ``with``. Raises SourceChangedError, ReadError."""
        return _Reading(self)

    def coming(self, spans: Spans) -> AbstractContextManager[None]:
        return _fetched_early(self, spans) if self.is_far else HERE

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
        if self.is_far:
            return _far_change(self)
        try:
            return self.difference(retried(partial(os.stat, self.path)))
        except (FileNotFoundError, NotADirectoryError):
            return self.difference(None)
        except OSError as error:
            return f"{clean(self.name, 120)} can no longer be accessed: {reason(error)}"


@contextmanager
def opened(path: Path) -> Iterator[tuple[Descriptor, DataFile]]:
    """A descriptor of the regular file at ``path``, and its DataFile, inside a ``with``. Raises OpenError.

    The type is checked before opening, because opening a FIFO waits for its writer.
    """
    if far.is_far(path):
        with _far_opened(path) as found:
            yield found
        return
    name = clean(path.name or str(path), 120)
    try:
        _check_regular(clean(str(path), 200), retried(lambda: os.stat(path)).st_mode)
        descriptor = POOL.make_room_for(lambda: os.open(path, READ_ONLY))
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


@contextmanager
def _far_opened(path: Path) -> Iterator[tuple[FarFile, DataFile]]:
    shown = far.shown(path)
    name = clean(path.name, 120)
    try:
        mount, below = far.find(path)
        found = mount.opened(below)
        status = found.status()
        yield (
            found,
            DataFile(path, path.name, status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev, is_far=True),
        )
    except FileNotFoundError:
        raise OpenError(f"no such file: {clean(shown, 200)}") from None
    except OSError as error:
        raise OpenError(f"{name} cannot be read: {reason(error)}") from None
    except SourceChangedError as error:
        raise OpenError(str(error)) from None


def far_file(file: DataFile) -> FarFile:
    """The file elsewhere that was opened as ``file``. Raises SourceChangedError, ReadError."""
    name = clean(file.name, 120)
    try:
        mount, below = far.find(file.path)
        found = mount.opened(below)
    except FileNotFoundError:
        raise SourceChangedError(f"{name} was removed after it was opened") from None
    except OSError as error:
        raise ReadError(f"{name} cannot be read: {reason(error)}") from None
    status = found.status()
    if (status.st_size, status.st_ino, status.st_dev) != (file.size, file.inode, file.device):
        raise SourceChangedError(f"{name} was replaced after it was opened; open it again")
    return found


def _far_change(file: DataFile) -> str | None:
    try:
        return far_file(file).changed()
    except ReadError as error:
        return str(error)


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


def read_bytes(descriptor: Descriptor, offset: int, count: int) -> bytes:
    """Up to ``count`` bytes at ``offset``, fewer only at the end of the file. Raises OSError."""
    if not isinstance(descriptor, int):
        return descriptor.read(offset, count)
    pieces = []
    while count > 0:
        piece = retried(partial(os.pread, descriptor, min(count, 1 << 30), offset))
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        count -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def small_reads(descriptor: Descriptor) -> Callable[[int, int], bytes]:
    """``read_bytes`` of one descriptor, for thousands of small reads: one call of the system where that is enough."""
    if not isinstance(descriptor, int):
        return partial(read_bytes, descriptor)

    def read(offset: int, count: int) -> bytes:
        found = os.pread(descriptor, count, offset)
        return found if len(found) == count else read_bytes(descriptor, offset, count)

    return read


def allocated(descriptor: Descriptor, file: DataFile) -> int:
    """The bytes of the disk that an open file takes, fewer than its size if it has holes. Raises OSError."""
    if not isinstance(descriptor, int):
        return file.size
    return retried(partial(os.fstat, descriptor)).st_blocks * 512


@contextmanager
def _fetched_early(file: DataFile, spans: Spans) -> Iterator[None]:
    with borrow(file) as descriptor:
        assert not isinstance(descriptor, int)
        fetching = descriptor.coming(spans())
    with fetching:
        yield


def borrow(file: DataFile) -> AbstractContextManager[Descriptor]:
    """A descriptor of ``file`` inside a ``with``, as ``FilePool.borrow``; also of a file elsewhere."""
    return _FarLoan(file) if file.is_far else POOL.borrow(file)


class _FarLoan:
    """What Loan is, of a file elsewhere: each of its reads finds out whether it is still the same."""

    __slots__ = ("_file",)

    def __init__(self, file: DataFile) -> None:
        self._file = file

    def __enter__(self) -> Descriptor:
        return far_file(self._file)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise ReadError(f"{clean(self._file.name, 120)} cannot be read: {reason(error)}") from None


class _Reading:
    """What fills buffers from a file that is borrowed; a class, as Loan."""

    __slots__ = ("_file", "_loan")

    def __init__(self, file: DataFile) -> None:
        self._file = file
        self._loan = borrow(file)

    def __enter__(self) -> Fill:
        return partial(read_into, self._loan.__enter__(), self._file)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loan.__exit__(kind, error, trace)


POOL = FilePool()
"""The one pool of this process: a folder of 163 shards must not use up the limit of the shell."""


def read_into(descriptor: Descriptor, file: DataFile, offset: int, buffer: memoryview) -> None:
    """Fill ``buffer`` with the bytes at ``offset``. Raises ReadError if the file ends before, OSError."""
    done = 0
    while done < len(buffer):
        if not isinstance(descriptor, int):
            piece = descriptor.read(offset + done, len(buffer) - done)
            count = len(piece)
            buffer[done : done + count] = piece
        elif hasattr(os, "preadv"):
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
    with file.coming(lambda: [(start, stop)]):
        for begin in range(start, max(stop, start + 1), _BLOCK_NBYTES):
            block = buffer[: min(_BLOCK_NBYTES, stop - begin)]
            with borrow(file) as descriptor:
                read_into(descriptor, file, begin, block)
            if block:
                yield block
