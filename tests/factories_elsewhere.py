"""A source whose values are on another machine, which works statistics out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.health.places import first_numbers
from tui_params.core.health.sought import Sought, What
from tui_params.core.reading.partial import WorkedOut
from tui_params.core.reading.tensor_reading import measure
from tui_params.core.source import Traffic
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window


class ElsewhereSource(MemorySource):
    """Arrays behind a line. Statistics of tensors of more than ``worth`` bytes are worked out; others are read.

    ``asked`` has the names whose statistics were worked out and whether with a summary, ``sought`` those in which
    places were looked for, ``fetched`` those whose values came, and ``expected`` what was said to be read whole.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], *, worth: int = 64, **more: Any) -> None:
        super().__init__(arrays, **more)
        self.line = ElsewhereLine(self)
        self.worth = worth
        self.here = MemorySource(arrays, **more)
        self.asked: list[tuple[str, bool]] = []
        self.sought: list[str] = []
        self.fetched: list[str] = []
        self.nbytes = 0
        self.expected: list[list[str]] = []

    @contextmanager
    def expecting(self, infos: Callable[[], Sequence[TensorInfo]]) -> Iterator[None]:
        self.expected.append([info.name for info in infos()])
        yield

    def works_out(self, info: TensorInfo, *, has_summary: bool) -> bool:
        return info.unreadable is None and info.nbytes > self.worth

    def worked_out(
        self,
        info: TensorInfo,
        *,
        has_summary: bool,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> WorkedOut | None:
        if not self.works_out(info, has_summary=has_summary):
            return None
        self.asked.append((info.name, has_summary))
        found = measure(self.here, self.here.find(info.name), should_stop=should_stop, progress=progress, threads=1)
        summary = found.summary if has_summary else None
        return WorkedOut(found.summary.figures(info.numel), found.channels, summary)

    def sought_out(
        self,
        info: TensorInfo,
        wanted: Sequence[tuple[str, float]],
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[list[int]] | None:
        if not self.works_out(info, has_summary=False):
            return None
        self.sought.append(info.name)
        kinds = [Sought(*msgspec.convert(each, tuple[What, float])) for each in wanted]
        return first_numbers(self.here, info, kinds, should_stop)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        self.fetched.append(info.name)
        values = super().read_window(info, window)
        self.nbytes += values.nbytes
        return values

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        self.fetched.append(info.name)
        for block in super().blocks(info, start, stop):
            self.nbytes += block.nbytes
            yield block


class ElsewhereLine:
    """What it is read over."""

    address = "ssh://far"

    def __init__(self, source: ElsewhereSource) -> None:
        self._source = source

    @property
    def traffic(self) -> Traffic:
        return Traffic(self._source.nbytes, len(self._source.asked) + len(self._source.fetched))

    def lacking(self, path: Path, begin: int, end: int) -> int:
        return max(end - begin, 0)
