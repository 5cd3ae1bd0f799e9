"""What shows whether the pieces of a tensor are still those from which its statistics were computed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial

import msgspec

from tui_params.core.tensor import TensorInfo
from tui_params.sources.bytes.local import DataFile
from tui_params.sources.bytes.system_calls import retried
from tui_params.sources.folder.dcp.metadata import Metadata, StoredTensor

SETTLED_NS = 2_000_000_000
"""A file that changed so recently may change again unseen (the mtime of FAT has that step)."""


class Stamps:
    """The states of the files of a checkpoint, looked at once, before a value is read."""

    def __init__(self, metadata: Metadata, files: Mapping[str, DataFile]) -> None:
        self._metadata = metadata
        self._files = [files.get(name) for name in metadata.files]
        self._stamps: list[bytes | None] | None = None

    def of(self, tensor: StoredTensor, info: TensorInfo) -> tuple[DataFile, TensorInfo] | None:
        """The largest file of a tensor, and ``info`` under a name that no other state of its pieces gives it.

        That name is made from the places of all pieces and the states of all their files, so that what is kept for one
        file is found only if all are as they were. None if one of them was written a moment ago, has changed, or is
        missing.
        """
        from hashlib import blake2b  # takes longer to import than many tensors to list

        if self._stamps is None:
            self._stamps = [_stamp(file) for file in self._files]
        chunks = self._metadata.chunks
        span = slice(tensor.first, tensor.first + tensor.count)
        numbers = sorted({*chunks.files[span]})
        if not numbers or numbers[0] < 0:
            return None
        digest = blake2b(digest_size=16)
        for column in (chunks.files, chunks.offsets, chunks.lengths):
            digest.update(column[span].tobytes())
        digest.update(repr((chunks.starts[span], chunks.shapes[span])).encode())
        largest: DataFile | None = None
        for number in numbers:
            stamp, file = self._stamps[number], self._files[number]
            if stamp is None or file is None:
                return None
            digest.update(stamp)
            largest = file if largest is None or file.size > largest.size else largest
        if largest is None:
            return None
        return largest, msgspec.structs.replace(info, name=f"{info.name}\0{digest.hexdigest()}")


def _stamp(file: DataFile | None) -> bytes | None:
    """The state of a file at rest; None of any other. ``ctime`` reveals an mtime that was set back."""
    if file is None:
        return None
    if file.is_far:
        facts = (file.name, file.device, file.inode, file.size)
        return None if file.changed() is not None else repr(facts).encode("utf-8", "surrogatepass")
    try:
        now = retried(partial(os.stat, file.path))
    except OSError:
        return None
    changed = max(now.st_mtime_ns, now.st_ctime_ns)
    if file.difference(now) is not None or time.time_ns() - changed < SETTLED_NS:
        return None
    state = (file.name, now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    return repr(state).encode("utf-8", "surrogatepass")
