"""The source of a DeepSpeed checkpoint: stitched tensors beside those that lie in one place of one file."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tui_params.core.piece import Piece
from tui_params.core.reading.readable import FileStamp
from tui_params.core.source import FileRange, Listing, Record, StoredFile, Unfinished
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.errors import OpenError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.stitched import StitchedSource
from tui_params.sources.folder.deepspeed.assembly import Assembly, Layout
from tui_params.sources.folder.deepspeed.torch_file import ReadFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class DeepSpeedSource(StitchedSource):
    """The tensors of all ranks under one listing; padding is in none of them."""

    def __init__(self, label: str, listing: Listing, assembly: Assembly, files: Sequence[ReadFile]) -> None:
        data_files = {file.file.name: file.file for file in files}
        super().__init__(label, listing, data_files)
        self._placements: Mapping[str, tuple[Layout, int]] = assembly.placements
        self._read_files = files
        self._whole = ExtentSource(label, listing, assembly.extents, data_files, None, assembly.held)

    def pieces(self, info: TensorInfo) -> Sequence[Piece]:
        placement = self._placements.get(info.name)
        if placement is None:
            return ()
        layout, start = placement
        return tuple(layout.pieces(info.shape, start, info.numel))

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        if self._is_whole(info):
            return self._whole.read_window(info, window)
        return super().read_window(info, window)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        if self._is_whole(info):
            return self._whole.blocks(info, start, stop)
        return super().blocks(info, start, stop)

    def _is_whole(self, info: TensorInfo) -> bool:
        return info.unreadable is None and info.name not in self._placements

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        return self._whole.data_file(info) if info.name not in self._placements else None

    def place(self, info: TensorInfo) -> Hashable | None:
        return self._whole.place(info) if info.name not in self._placements else None

    def file_range(self, info: TensorInfo) -> tuple[str, int] | None:
        return self._whole.file_range(info) if info.name not in self._placements else None

    def file_ranges(self, info: TensorInfo) -> tuple[FileRange, ...]:
        return super().file_ranges(info) if info.name in self._placements else ()

    def records(self) -> tuple[Record, ...]:
        found: list[Record] = []
        for file in self._read_files:
            # Where it cannot be read, reading the tensors will say what has become of the file.
            with suppress(OpenError):
                found += file.records()
        return tuple(found)

    def record_blocks(self, record: Record) -> Iterator[memoryview]:
        return self._whole.record_blocks(record)

    def stored_files(self) -> tuple[StoredFile, ...]:
        return self._whole.stored_files()

    def file_blocks(self, name: str, start: int, stop: int) -> Iterator[memoryview]:
        return self._whole.file_blocks(name, start, stop)

    def unfinished(self) -> tuple[Unfinished, ...]:
        return self._whole.unfinished()

    def close(self) -> None:
        super().close()
        self._whole.close()
