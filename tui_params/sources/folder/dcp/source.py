"""A distributed checkpoint as one source: tensors that are stitched from the pieces that the ranks wrote."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tui_params.core.piece import Piece
from tui_params.core.reading.extent import Extent
from tui_params.core.reading.readable import FileStamp
from tui_params.core.source import Listing, Record, Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.core.window import Window as Slice
from tui_params.errors import ReadError
from tui_params.sources.bytes.held import Held
from tui_params.sources.bytes.local import DataFile
from tui_params.sources.bytes.stitched import StitchedSource
from tui_params.sources.folder.dcp.metadata import NOT_STORED, Metadata, StoredTensor, Window
from tui_params.sources.folder.dcp.stamps import Stamps
from tui_params.sources.folder.dcp.windows import Located, Windows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_RECORDS = 100_000
"""The most pieces whose checksums are verified: each takes 50 microseconds to find, and 400 bytes."""


class DcpSource(StitchedSource):
    """The tensors of a distributed checkpoint, those inside its objects, and those of the files beside it."""

    def __init__(
        self,
        label: str,
        listing: Listing,
        files: Mapping[str, DataFile],
        metadata: Metadata,
        windows: Windows,
        places: Mapping[str, Located],
        beside: Mapping[str, Source],
        ranks: Mapping[str, int],
    ) -> None:
        """``places`` are those of tensors inside objects, by name; ``beside`` has the source of each other tensor.

        ``ranks`` are those that wrote the files, by the names of these, as far as they are known.
        """
        super().__init__(label, listing, files)
        self._metadata = metadata
        self._windows = windows
        self._places = places
        self._beside = beside
        self._tensors = {tensor.name: tensor for tensor in metadata.tensors}
        chunks = metadata.chunks
        self._transforms = {
            (metadata.files[chunks.files[number]], chunks.offsets[number]): names
            for number, names in chunks.transforms.items()
        }
        self._ranks = ranks
        self._stamps = Stamps(metadata, files)

    def pieces(self, info: TensorInfo) -> Sequence[Piece]:
        place = self._places.get(info.name)
        if place is not None:
            extent = place[1]
            nbytes = extent.end - extent.begin
            return (Piece((0,) * info.ndim, info.shape, extent.file, extent.offset, nbytes, None),)
        tensor = self._tensors.get(info.name)
        return [] if tensor is None else list(self._pieces_of(tensor))

    def _pieces_of(self, tensor: StoredTensor) -> Iterator[Piece]:
        chunks, files = self._metadata.chunks, self._metadata.files
        for number in range(tensor.first, tensor.first + tensor.count):
            file = chunks.files[number]
            start, shape = chunks.starts[number], chunks.shapes[number]
            if file == NOT_STORED or not all(shape):
                continue
            start, shape = tensor.sizes(start, 0), tensor.sizes(shape)
            offset, nbytes = chunks.offsets[number], chunks.lengths[number]
            yield Piece(start, shape, files[file], offset, nbytes, None, self._ranks.get(files[file]))

    def pieces_of(self, info: TensorInfo) -> tuple[Piece, ...]:
        if info.name in self._places:
            return ()
        return super().pieces_of(info)

    def locate(self, info: TensorInfo, piece: Piece) -> tuple[DataFile | Held, Extent]:
        place = self._places.get(info.name)
        if place is not None:
            return place
        transforms = self._transforms.get((piece.file, piece.offset), ())
        window = Window(piece.file, piece.offset, piece.nbytes, transforms)
        name = self._tensors[info.name].stored_as or info.name
        return self._windows.locate(window, name, piece.shape, info.dtype)

    def read_window(self, info: TensorInfo, window: Slice) -> NDArray[Any]:
        part = self._beside.get(info.name)
        return super().read_window(info, window) if part is None else part.read_window(info, window)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        part = self._beside.get(info.name)
        yield from super().blocks(info, start, stop) if part is None else part.blocks(info, start, stop)

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        part = self._beside.get(info.name)
        if part is not None:
            return part.data_file(info)
        place = self._places.get(info.name)
        if place is not None:
            return None if isinstance(place[0], Held) else (place[0], info)
        tensor = self._tensors.get(info.name)
        return None if tensor is None else self._stamps.of(tensor, info)

    def place(self, info: TensorInfo) -> Hashable | None:
        part = self._beside.get(info.name)
        if part is not None:
            return part.place(info)
        place = self._places.get(info.name)
        if place is None or isinstance(place[0], Held):
            return None
        extent = place[1]
        return extent.file, extent.offset, extent.is_conj, extent.is_neg

    def records(self) -> tuple[Record, ...]:
        """The checksums of the pieces, and those of the files beside; none if the pieces are more than MAX_RECORDS."""
        found: list[Record] = []
        chunks = self._metadata.chunks
        if len(chunks) <= MAX_RECORDS:
            for tensor in self._metadata.tensors:
                for number in range(tensor.first, tensor.first + tensor.count):
                    window = self._metadata.window(number)
                    if window is not None and all(chunks.shapes[number]):
                        label = f"data/0 of the piece at byte {window.offset:,} of {clean(window.file, 80)}"
                        record = self._windows.record(window, tensor.name, label)
                        found += () if record is None else (record,)
        for part in self._parts():
            found += part.records()
        return tuple(found)

    def record_blocks(self, record: Record) -> Iterator[memoryview]:
        file = self.files.get(record.file)
        if file is None:
            for part in self._parts():
                if any(stored.name == record.file for stored in part.stored_files()):
                    return part.record_blocks(record)
            raise ReadError(f"{clean(record.file, 120)} is no file of {clean(self.label, 120)}")
        return self.file_blocks(record.file, record.offset, record.offset + record.nbytes)

    def changed(self) -> str | None:
        for part in self._parts():
            sentence = part.changed()
            if sentence is not None:
                return sentence
        return super().changed()

    def close(self) -> None:
        for part in self._parts():
            part.close()
        super().close()

    def _parts(self) -> list[Source]:
        return list({id(part): part for part in self._beside.values()}.values())
