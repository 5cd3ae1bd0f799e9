"""A Source over files in which every element of a tensor lies uncompressed, at a known place."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.reading.extent import Extent
from tui_params.core.reading.place import Place
from tui_params.core.reading.readable import FileStamp
from tui_params.core.source import Listing, Record
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.core.window import Window
from tui_params.errors import OpenError, ReadError, SliceError
from tui_params.sources.bytes.file_source import FileSource
from tui_params.sources.bytes.held import Held
from tui_params.sources.bytes.local import DataFile, far_file, read_blocks
from tui_params.sources.bytes.neighbours import Neighbours

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_WINDOW = 16 * 1024 * 1024
"""The most elements that one window may have. A window is for looking at; ``blocks`` reads a whole tensor."""


_MAX_EMPTY = 1 << 56


class ExtentSource(FileSource):
    """A source over files in which every element lies uncompressed, at a known place.

    A tensor that has no entry in ``extents`` is contiguous, at ``info.offset`` of ``info.file``. The reader of a format
    in which every tensor is contiguous passes an empty mapping. A tensor in ``held`` has its bytes there, and its
    extent counts from their start.
    """

    def __init__(
        self,
        label: str,
        listing: Listing,
        extents: Mapping[str, Extent],
        files: Mapping[str, DataFile],
        read_records: Callable[[DataFile], Sequence[Record]] | None = None,
        held: Mapping[str, Held] | None = None,
    ) -> None:
        """``read_records`` lists the runs of bytes of a file that have a checksum; it may raise OpenError."""
        super().__init__(label, listing, files)
        self.extents = extents
        self._read_records = read_records
        self._held: Mapping[str, Held] = held or {}
        self._neighbours = Neighbours()

    @property
    def only_file(self) -> DataFile | None:
        """The file, where there is one, and every tensor lies in it as its TensorInfo says."""
        is_plain = not (self.extents or self._held or self._read_records) and len(self.files) == 1
        return next(iter(self.files.values())) if is_plain else None

    def locate(self, info: TensorInfo) -> tuple[Place, Extent]:
        """The file, or what is held of it, and the place of ``info`` in it.

        Raises ReadError, with the reason, where it has none.
        """
        if self._is_closed:
            raise ReadError(f"{clean(self.label, 120)} is closed")
        if info.unreadable is not None:
            raise ReadError(info.unreadable)
        extent = self.extents.get(info.name)
        held = self._held.get(info.name)
        if held is not None:
            return held, extent or Extent(held.name, 0, 0, len(held.data))
        if extent is None:
            if info.file is None or info.offset is None:
                raise ReadError(f"it is not known where the values of {clean(info.name, 120)} are")
            extent = Extent(info.file, info.offset, info.offset, info.offset + info.nbytes)
        file = self.files.get(extent.file)
        if file is None:
            raise ReadError(f"{clean(extent.file, 120)} is not a file of {clean(self.label, 120)}")
        return file, extent

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        extent = self.extents.get(info.name)
        file = self.files.get((info.file or "") if extent is None else extent.file)
        return None if file is None else (file, info)

    def expecting(self, infos: Callable[[], Sequence[TensorInfo]]) -> AbstractContextManager[object]:
        if not any(file.is_far for file in self.files.values()):
            return self._neighbours
        spans: dict[str, list[tuple[int, int]]] = {}
        for info in infos():
            if (found := self.file_range(info)) is not None:
                spans.setdefault(found[0], []).append((found[1], found[1] + info.nbytes))
        stack = ExitStack()
        for name, parts in spans.items():
            # A file that has changed says so when it is read.
            with suppress(ReadError, KeyError):
                stack.enter_context(far_file(self.files[name]).expecting(parts))
        return stack

    def place(self, info: TensorInfo) -> Hashable | None:
        extent = self.extents.get(info.name)
        if extent is None:
            return None if info.offset is None else (info.file, info.offset)
        return extent.file, extent.offset, extent.is_conj, extent.is_neg

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        from tui_params.core.reading.gather import gather_window

        check_window(info, window)
        file, extent = self.locate(info)
        return gather_window(file, extent, info, window)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        from tui_params.core.reading.gather import check_bounds, gather_blocks

        stop = info.numel if stop is None else min(stop, info.numel)
        place, extent = self.locate(info)
        begin, end = extent.offset, extent.offset + info.nbytes
        is_whole = 0 < info.numel == stop and start <= 0 and info.dtype.is_sized and extent.stride is None
        is_whole = is_whole and extent.is_plain and info.nbytes == info.dtype.nbytes(info.numel)
        if is_whole and isinstance(place, DataFile) and self._neighbours.serve(place, begin, end):
            check_bounds(extent, info, begin, end)
            yield self._neighbours.bytes_of(place, begin, end)
            self.locate(info)
            return
        for block in gather_blocks(place, extent, info, max(start, 0), stop):
            yield block
            self.locate(info)  # closed meanwhile

    def records(self) -> tuple[Record, ...]:
        if self._read_records is None:
            return ()
        try:
            found = [record for file in self.files.values() for record in self._read_records(file)]
        except OpenError:
            # Reading the tensors will say what has become of the file.
            return ()
        return self._with_tensors(found)

    def _with_tensors(self, records: list[Record]) -> tuple[Record, ...]:
        """The records, each with the tensors that lie in it."""
        from tui_params.core.reading.gather import is_dense

        records.sort(key=lambda record: (record.file, record.offset))
        starts = [(record.file, record.offset) for record in records]
        first: dict[int, str] = {}
        covering: dict[int, list[str]] = {}
        for info in self.listing.tensors:
            if info.unreadable is not None or info.file is None or info.offset is None or info.kind == "array":
                # Arrays lie in a pickle, which is a record of its own: it is that of all of them.
                continue
            number = bisect_right(starts, (info.file, info.offset)) - 1
            if number < 0 or info.offset >= records[number].offset + records[number].nbytes:
                continue
            record = records[number]
            first.setdefault(number, info.tied_to or info.name)
            extent = self.extents.get(info.name)
            is_plain = extent is None or extent.is_plain
            is_dense_too = extent is None or extent.stride is None or is_dense(info.shape, extent.stride)
            is_whole = info.offset == record.offset and info.nbytes == record.nbytes
            if is_whole and is_plain and is_dense_too and (extent is None or extent.offset == record.offset):
                covering.setdefault(number, []).append(info.name)
        return tuple(
            msgspec.structs.replace(record, tensor=first.get(number), covering=tuple(covering.get(number, ())))
            for number, record in enumerate(records)
        )

    def record_blocks(self, record: Record) -> Iterator[memoryview]:
        file = self.files.get(record.file)
        if file is None or self._is_closed:
            raise ReadError(f"{clean(record.file, 120)} is closed")
        yield from read_blocks(file, record.offset, record.offset + record.nbytes)

    def file_range(self, info: TensorInfo) -> tuple[str, int] | None:
        extent = self.extents.get(info.name)
        if info.name in self._held or info.stride is not None or info.file is None or info.offset is None:
            return None
        if extent is None:
            return info.file, info.offset
        return (extent.file, extent.offset) if extent.is_plain and extent.stride is None else None


def check_window(info: TensorInfo, window: Window) -> None:
    """Raise SliceError if ``window`` was not fitted to the shape of ``info``, or is too large to be looked at."""
    fits = len(window.axes) == len(info.shape) and all(
        axis.length == 0
        or (axis.length > 0 and 0 <= axis.start < dim and 0 <= axis.start + (axis.length - 1) * axis.step < dim)
        for axis, dim in zip(window.axes, info.shape, strict=True)
    )
    if not fits:
        raise SliceError(f"the slice does not fit the shape {list(info.shape)} of {clean(info.name, 120)}")
    if window.numel > MAX_WINDOW:
        raise SliceError(
            f"the slice has {window.numel:,} elements; at most {MAX_WINDOW:,} are read at once: take a smaller one"
        )
    if not window.numel and prod(axis.length for axis in window.axes if axis.length) > _MAX_EMPTY:
        # numpy makes no array of such a shape, though it would have no elements.
        raise SliceError(f"the slice of {clean(info.name, 120)} has no elements, and a shape beyond what numpy allows")
