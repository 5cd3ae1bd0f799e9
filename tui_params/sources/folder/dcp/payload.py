"""Pieces in a safetensors blob: FileSystemWriter with SerializationFormat.SAFETENSORS, which .metadata does not tell.

torch/distributed/checkpoint/filesystem.py, ``_write_files_from_queue``: behind the objects of a file stands one blob
with all of its tensors. The offset of each is where the blob starts, and its length is its own number of bytes.
"""

from __future__ import annotations

import msgspec

from tui_params.core.dtypes import DType, from_safetensors
from tui_params.core.reading.extent import Extent
from tui_params.core.text import clean
from tui_params.errors import ReadError
from tui_params.sources.bytes.content import MAX_HEADER_NBYTES
from tui_params.sources.bytes.local import DataFile, Descriptor, read_bytes


class _Entry(msgspec.Struct, gc=False):
    dtype: str = ""
    shape: tuple[int, ...] = ()
    data_offsets: tuple[int, int] = (0, 0)


_DECODER = msgspec.json.Decoder(dict[str, _Entry])


class Blob(msgspec.Struct, frozen=True):
    """The header of a blob, and the byte of the file where its data begin."""

    entries: dict[str, _Entry]
    base: int
    stop: int

    def extent(self, file: DataFile, name: str, shape: tuple[int, ...], dtype: DType) -> Extent:
        """Where the piece of that name lies. Raises ReadError."""
        entry = self.entries.get(name)
        what = f"the piece of {clean(name, 120)} in {clean(file.name, 120)}"
        if entry is None:
            raise ReadError(f"{what} is not in its safetensors header: it was overwritten by a later save, or torn")
        if entry.shape != shape or from_safetensors(entry.dtype) != dtype:
            raise ReadError(
                f"{what} is {clean(entry.dtype, 20)} {list(entry.shape)[:20]} where the metadata say"
                f" {dtype.short} {list(shape)}: the file was overwritten by a later save"
            )
        begin, end = entry.data_offsets
        count = 1
        for dim in shape:
            count *= dim
        if not 0 <= begin <= end <= self.stop - self.base or not dtype.fills(count, end - begin):
            raise ReadError(f"{what} is said to lie at the bytes {begin:,} to {end:,} of its data, which cannot be")
        return Extent(file.name, self.base + begin, self.base + begin, self.base + end)


def read_blob(descriptor: Descriptor, file: DataFile, offset: int) -> Blob | None:
    """The blob that starts at ``offset``; None if no safetensors header stands there. Raises OSError."""
    head = read_bytes(descriptor, offset, 10)
    length = int.from_bytes(head[:8], "little")
    base = offset + 8 + length
    if len(head) < 10 or head[8:9] != b"{" or length > MAX_HEADER_NBYTES or base > file.size:
        return None
    try:
        entries = _DECODER.decode(read_bytes(descriptor, offset + 8, length))
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    return Blob(entries, base, file.size)
