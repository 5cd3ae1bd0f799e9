"""PassingSource: a source over another one, which answers what this one has no part in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from tui_params.core.reading.partial import WorkedOut
    from tui_params.core.reading.readable import FileStamp, Readable
    from tui_params.core.window import Window


class PassingSource(Source):
    """Passes on to ``_source`` where tensors are, what will be read, and the statistics that are worked out there."""

    _source: Source

    def data_file(self, info: TensorInfo) -> tuple[FileStamp, TensorInfo] | None:
        return self._source.data_file(info)

    def expecting(self, infos: Callable[[], Sequence[TensorInfo]]) -> AbstractContextManager[object]:
        return self._source.expecting(infos)

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
        return self._source.worked_out(info, has_summary=has_summary, should_stop=should_stop, progress=progress)

    def sought_out(
        self,
        info: TensorInfo,
        wanted: Sequence[tuple[str, float]],
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[list[int]] | None:
        return self._source.sought_out(info, wanted, should_stop=should_stop)

    def still(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Readable:
        kept = self._source.still(info, start, stop)
        return self if kept is self._source else kept

    def still_part(self, info: TensorInfo, window: Window) -> Readable:
        kept = self._source.still_part(info, window)
        return self if kept is self._source else kept

    def place(self, info: TensorInfo) -> Hashable | None:
        return self._source.place(info)
