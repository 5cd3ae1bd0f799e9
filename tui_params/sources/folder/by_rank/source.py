"""The source of files that the ranks of a job saved: tensors stitched from their parts, and others as they lie."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.piece import Piece
from tui_params.core.reading.extent import Extent
from tui_params.core.reading.place import Place
from tui_params.core.reading.readable import FileStamp
from tui_params.core.source import FileRange, Listing, Record
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.core.window import Window
from tui_params.errors import ReadError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.stitched import StitchedSource
from tui_params.sources.folder.by_rank.joining import Joined, Stored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ByRankSource(StitchedSource):
    """The files of all ranks under one listing."""

    def __init__(self, label: str, listing: Listing, joined: Joined, parts: Mapping[str, ExtentSource]) -> None:
        """``parts`` are the files by name, each of which has one DataFile of that name."""
        super().__init__(label, listing, {name: part.files[name] for name, part in parts.items()})
        self._stored = joined.stored
        self._single = joined.single
        self._parts = parts

    def pieces(self, info: TensorInfo) -> Sequence[Piece]:
        return [stored.piece for stored in self._stored.get(info.name, ())]

    def locate(self, info: TensorInfo, piece: Piece) -> tuple[Place, Extent]:
        stored = next(each for each in self._stored[info.name] if each.piece is piece)
        place, extent = self._parts[piece.file].locate(stored.info)
        return place, _within(extent, stored)

    def _owner(self, info: TensorInfo) -> tuple[ExtentSource, TensorInfo] | None:
        """The file of a tensor that is not joined, and what it is there."""
        own = self._single.get(info.name)
        part = None if own is None else self._parts.get(own.file or "")
        return None if own is None or part is None else (part, own)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        owner = self._owner(info)
        return super().read_window(info, window) if owner is None else owner[0].read_window(owner[1], window)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        owner = self._owner(info)
        return super().blocks(info, start, stop) if owner is None else owner[0].blocks(owner[1], start, stop)

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        owner = self._owner(info)
        return None if owner is None else owner[0].data_file(owner[1])

    def place(self, info: TensorInfo) -> Hashable | None:
        owner = self._owner(info)
        return None if owner is None else owner[0].place(owner[1])

    def file_range(self, info: TensorInfo) -> tuple[str, int] | None:
        owner = self._owner(info)
        return None if owner is None else owner[0].file_range(owner[1])

    def file_ranges(self, info: TensorInfo) -> tuple[FileRange, ...]:
        return super().file_ranges(info) if info.name in self._stored else ()

    def records(self) -> tuple[Record, ...]:
        """The runs of bytes with a checksum in all files; none covers a tensor alone that is one part of several."""
        called = {(own.file, own.name): name for name, own in self._single.items()}
        for name, boxes in self._stored.items():
            for stored in boxes:
                called.setdefault((stored.info.file, stored.info.name), name)
        found: list[Record] = []
        for file, part in self._parts.items():
            for record in part.records():
                tensor = called.get((file, record.tensor or ""))
                names = [called.get((file, name)) for name in record.covering]
                covering = tuple([name for name in names if name is not None and name in self._single])
                label = f"{record.label} in {file}"
                found.append(msgspec.structs.replace(record, label=label, tensor=tensor, covering=covering))
        return tuple(found)

    def record_blocks(self, record: Record) -> Iterator[memoryview]:
        part = self._parts.get(record.file)
        if part is None:
            raise ReadError(f"{clean(record.file, 120)} is no file of {clean(self.label, 120)}")
        return part.record_blocks(record)

    def close(self) -> None:
        super().close()
        for part in self._parts.values():
            part.close()


def _within(extent: Extent, stored: Stored) -> Extent:
    """The place of a box in that of the tensor of its rank."""
    from tui_params.core.reading.gather import row_major

    info, piece = stored.info, stored.piece
    if piece.shape == info.shape:
        return extent
    stride = extent.stride if extent.stride is not None else row_major(info.shape)
    first = sum(at * step for at, step in zip(stored.at, stride, strict=True))
    return msgspec.structs.replace(extent, offset=extent.offset + info.dtype.nbytes(first), stride=stride)
