"""GuardedSource: a source that refuses to be read from some moment on, so that what is known can be told in time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from tui_params.core.beat import Beat
from tui_params.core.piece import Piece
from tui_params.core.reading.partial import WorkedOut
from tui_params.core.reading.readable import FileStamp
from tui_params.core.source import FileRange, Record, Source, StoredFile, Unfinished
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.errors import ReadError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class GuardedSource(Source):
    """A source over another one, which it closes. ``refusal`` is why nothing is read any more; None while it is."""

    def __init__(self, source: Source, refusal: Callable[[], str | None]) -> None:
        self.label = source.label
        self.listing = source.listing
        self.engine = source.engine
        self.line = source.line
        self._source = source
        self._refusal = refusal

    def _guard(self) -> None:
        reason = self._refusal()
        if reason is not None:
            raise ReadError(reason)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        self._guard()
        for block in self._source.blocks(info, start, stop):
            yield block
            self._guard()

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        self._guard()
        return self._source.read_window(info, window)

    def record_blocks(self, record: Record) -> Iterator[memoryview]:
        self._guard()
        for block in self._source.record_blocks(record):
            yield block
            self._guard()

    def file_blocks(self, name: str, start: int, stop: int) -> Iterator[memoryview]:
        self._guard()
        for block in self._source.file_blocks(name, start, stop):
            yield block
            self._guard()

    def expecting(self, infos: Callable[[], Sequence[TensorInfo]]) -> AbstractContextManager[object]:
        return self._source.expecting(infos)

    def records(self) -> tuple[Record, ...]:
        return self._source.records()

    def stored_files(self) -> tuple[StoredFile, ...]:
        return self._source.stored_files()

    def file_range(self, info: TensorInfo) -> tuple[str, int] | None:
        return self._source.file_range(info)

    def file_ranges(self, info: TensorInfo) -> tuple[FileRange, ...]:
        return self._source.file_ranges(info)

    def pieces_of(self, info: TensorInfo) -> tuple[Piece, ...]:
        return self._source.pieces_of(info)

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        return self._source.data_file(info)

    def works_out(self, info: TensorInfo, *, has_summary: bool) -> bool:
        return self._source.works_out(info, has_summary=has_summary)

    def worked_out(
        self,
        info: TensorInfo,
        *,
        has_summary: bool,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> WorkedOut | None:
        self._guard()
        return self._source.worked_out(info, has_summary=has_summary, should_stop=should_stop, progress=progress)

    def place(self, info: TensorInfo) -> Hashable | None:
        return self._source.place(info)

    def unfinished(self) -> tuple[Unfinished, ...]:
        return self._source.unfinished()

    def changed(self) -> str | None:
        return self._source.changed()

    def beat(self) -> Beat | None:
        return self._source.beat()

    def close(self) -> None:
        self._source.close()
