"""Tensors that change while they are read: what is found of one is of one time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params import compare
from tui_params.core.compare import lockstep
from tui_params.core.reading.still import StillTensor
from tui_params.core.reading.tensor_reading import Reading, measure
from tui_params.core.source import Beat
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window, parse_window
from tui_params.errors import ReadError, StoppedError


class MovingSource(MemorySource):
    """Each read is of a later step than the one before, and finds its number in every element."""

    steps = 0

    def beat(self) -> Beat:
        return Beat(self.steps)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        self.steps += 1
        self.arrays[info.name][...] = self.steps
        return super().blocks(info, start, stop)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        self.steps += 1
        self.arrays[info.name][...] = self.steps
        return super().read_window(info, window)


def test_ranges_and_what_goes_on_later_are_of_one_step() -> None:
    source = MovingSource({"w": np.zeros((64, 64), np.float32)}, step=512)
    info = source.find("w")
    reading = Reading(source, info, has_channels=True, ranges=[(0, 1000), (1000, 4096)])
    reading.run()
    figures = reading.measurement().summary.figures(info.numel)
    assert (figures.min, figures.max, figures.is_exact, source.steps) == (1, 1, True, 1)
    stops = iter([False, True])
    reading = Reading(source, info, has_channels=False, ranges=[(0, 1000), (1000, 4096)])
    with pytest.raises(StoppedError):
        reading.run(lambda: next(stops, True))
    assert not reading.can_resume
    found = measure(source, info).summary.figures(info.numel)
    assert found.min == found.max == source.steps


def test_comparisons_are_of_one_step_of_each_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "RANGE_NBYTES", 1024)
    a, b = MovingSource({"w": np.zeros((64, 64), np.float32)}), MemorySource({"w": np.ones((64, 64), np.float32)})
    assert compare(a, b).identical == ("w",)
    assert a.steps == 1
    (change,) = compare(a, b).changed
    assert a.steps == 2
    assert change.difference is not None
    assert (change.difference.max_abs, change.difference.mean_abs) == (1, 1)


def test_a_copy_is_what_it_is_of() -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    source = MemorySource({"w": values})
    assert source.still(source.find("w")) is source
    still = StillTensor(source, source.find("w"))
    for words in ("", "[1:3, ::-2]", "[2, 1:]", "[3, 0]", "[4:]"):
        window = parse_window(words, values.shape)
        assert np.array_equal(still.read_window(still.find("w"), window), source.read_window(source.find("w"), window))
    assert b"".join(block.tobytes() for block in still.blocks(still.find("w"), 3, 9)) == values.tobytes()[12:36]
    part = StillTensor(source, source.find("w"), 6, 18)
    assert b"".join(block.tobytes() for block in part.blocks(part.find("w"), 7, 18)) == values.tobytes()[28:72]
    for begin, end in ((5, 9), (7, 19)):
        with pytest.raises(ReadError, match="of w other elements were read"):
            list(part.blocks(part.find("w"), begin, end))
    with pytest.raises(ReadError, match="of w only some elements were read"):
        part.read_window(part.find("w"), parse_window("", values.shape))
    broken = MemorySource({"w": values}, broken={"w": "it is gone"})
    with pytest.raises(ReadError, match="it is gone"):
        StillTensor(broken, broken.find("w"))
