"""Whether the files of a source are those of the hub: their digests, computed while the tensors are read.

A digest needs every byte of a file in order. The tensors are read in that order, so only what lies between them is
read for the digest alone; whatever else could not be taken in passing is read where it is needed. Before a file is said
to be another, it is read once more, by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any

from tui_params.core.health.verification import FileState, Verification, VerifiedFile
from tui_params.core.passing import PassingSource
from tui_params.core.source import Digest, Record, Source, StoredFile
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.errors import ReadError, StoppedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BESIDE = 1 << 17
"""Bytes from which a block is hashed on a thread of its own, while its statistics are counted."""

_MOST_AT_ONCE = 4


class _Hashing:
    """The digest of one file, as far as its bytes have been hashed: from the first to ``position``."""

    def __init__(self, source: Source, file: StoredFile, digest: Digest, pool: ThreadPoolExecutor) -> None:
        self._source = source
        self._file = file
        self._pool = pool
        self._lock = Lock()
        self._pending: Future[None] | None = None
        self.position = 0
        self.has_taken = False
        """Whether blocks that were read for something else are in the digest."""
        if digest.algorithm == "sha256":
            self._hash = hashlib.sha256()
        else:
            # The hash by which git names content: no protection is asked of it.
            self._hash = hashlib.sha1(f"blob {file.nbytes}\0".encode(), usedforsecurity=False)

    def take(self, begin: int, block: memoryview, should_stop: Callable[[], bool] | None) -> Future[None] | None:
        """Hash what is new of a block of the file; the result is to be waited for before the block is used again.

        Bytes before it that were not hashed are read first. Raises ReadError, StoppedError.
        """
        # Blocks that another thread reads at the same time are out of order: they are read again in their turn.
        if not self._lock.acquire(blocking=False):
            return None
        try:
            self._wait()
            if begin > self.position:
                self.read_up_to(begin, should_stop)
            new = block[self.position - begin :]
            if not new:
                return None
            self.position += len(new)
            self.has_taken = True
            if len(new) < BESIDE:
                self._hash.update(new)
                return None
            # It releases the lock of the interpreter.
            self._pending = self._pool.submit(self._hash.update, new)
            return self._pending
        finally:
            self._lock.release()

    def read_up_to(
        self, stop: int, should_stop: Callable[[], bool] | None, progress: Callable[[int], None] | None = None
    ) -> None:
        """Read and hash the bytes up to ``stop``. Raises ReadError, StoppedError."""
        for block in self._source.file_blocks(self._file.name, self.position, stop):
            if should_stop is not None and should_stop():
                raise StoppedError("the reading was stopped")
            self._hash.update(block)
            self.position += len(block)
            if progress is not None:
                progress(len(block))

    def finish(self, should_stop: Callable[[], bool] | None, progress: Callable[[int], None] | None) -> str:
        """The digest of the whole file, whose rest is read now. Raises ReadError, StoppedError."""
        with self._lock:
            self._wait()
            # Also where nothing is left: the file must be the one that was opened to the end.
            self.read_up_to(self._file.nbytes, should_stop, progress)
            return self._hash.hexdigest()

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()
            self._pending = None


class HashedSource(PassingSource):
    """A source that hashes the bytes of its files in passing, if a digest is known of them.

    Read by one thread for each file, the bytes come in order.
    """

    def __init__(self, source: Source, should_stop: Callable[[], bool] | None = None) -> None:
        self.label = source.label
        self.listing = source.listing
        self.engine = source.engine
        self.line = source.line
        self._source = source
        self._should_stop = should_stop
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="tui-params hash")
        self._files = source.stored_files()
        self._hashings = {
            file.name: _Hashing(source, file, file.digest, self._pool)
            for file in self._files
            if file.digest is not None
        }
        self._reasons: dict[str, str] = {}

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        return self._source.read_window(info, window)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        blocks = self._source.blocks(info, start, stop)
        found = self._source.file_range(info) if info.unreadable is None else None
        hashing = self._hashings.get(found[0]) if found is not None else None
        if found is None or hashing is None:
            yield from blocks
            return
        file, begin = found[0], found[1] + info.dtype.nbytes(start)
        for block in blocks:
            hashed = None
            if file not in self._reasons:
                try:
                    hashed = hashing.take(begin, block.data, self._should_stop)
                except (ReadError, OSError) as error:
                    self._reasons[file] = f"it could not be read: {error}"
            try:
                yield block
            finally:
                if hashed is not None:
                    hashed.result()
            begin += block.size

    def records(self) -> tuple[Record, ...]:
        return self._source.records()

    def record_blocks(self, record: Record) -> Iterator[memoryview]:
        return self._source.record_blocks(record)

    def changed(self) -> str | None:
        return self._source.changed()

    def close(self) -> None:
        self._source.close()

    def release(self) -> None:
        """Stop the threads that hash."""
        self._pool.shutdown()

    def verify(self, progress: Callable[[int, int], None] | None = None) -> Verification:
        """Every file compared with its digest; bytes that were not hashed in passing are read now.

        ``progress`` gets the number of bytes read now, and of those to read in all. Raises StoppedError.
        """
        left = {
            file.name: file.nbytes - hashing.position
            for file in self._files
            if (hashing := self._hashings.get(file.name)) is not None and file.name not in self._reasons
        }
        total, done = sum(left.values()), 0

        def tell(nbytes: int) -> None:
            nonlocal done
            done += nbytes
            if progress is not None:
                progress(done, total)

        found = [self._verify_file(file, tell) for file in self._files]
        if not found:
            found = [VerifiedFile(self.label, "unverified", None, None, None, "it was not read from a file")]
        return Verification(tuple(found), self._source.unfinished())

    def _verify_file(self, file: StoredFile, tell: Callable[[int], None]) -> VerifiedFile:
        digest, hashing = file.digest, self._hashings.get(file.name)
        if digest is None or hashing is None:
            return VerifiedFile(file.name, "unverified", None, None, None, file.reason)
        reason = self._reasons.get(file.name)
        if reason is None:
            try:
                actual = hashing.finish(self._should_stop, tell)
                if actual != digest.hex and hashing.has_taken:
                    actual = _Hashing(self._source, file, digest, self._pool).finish(self._should_stop, None)
            except (ReadError, OSError) as error:
                reason = f"it could not be read: {error}"
        if reason is not None:
            return VerifiedFile(file.name, "unverified", digest.algorithm, digest.hex, None, reason)
        state: FileState = "verified" if actual == digest.hex else "mismatch"
        return VerifiedFile(file.name, state, digest.algorithm, digest.hex, actual, digest.origin)


def verify(
    source: Source,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Every file of a source compared with the digest that is known of it, by one read. Raises StoppedError."""
    hashed = HashedSource(source, should_stop)
    try:
        return hashed.verify(progress)
    finally:
        hashed.release()
