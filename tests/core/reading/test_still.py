"""Tensors that change while they are read: what is found of one is of one time."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params import compare
from tui_params.core.beat import Beat
from tui_params.core.compare import lockstep, side_by_side
from tui_params.core.compare.both import BothSources
from tui_params.core.compare.comparer import Comparer
from tui_params.core.compare.difference_source import DifferenceSource
from tui_params.core.export import npy, values_csv, values_md
from tui_params.core.export.contents import Contents
from tui_params.core.health.checksums import WatchedSource
from tui_params.core.numbers.block_picture import BlockPicture
from tui_params.core.numbers.region import Region
from tui_params.core.reading import block_reading, edges, value_search
from tui_params.core.reading import matrix as reading_matrix
from tui_params.core.reading.block_reading import read_picture, sample_picture
from tui_params.core.reading.matrix import Matrix, folded_matrix
from tui_params.core.reading.spectrum_reading import read_spectrum
from tui_params.core.reading.still import StillTensor, StillWindow
from tui_params.core.reading.strips import strips
from tui_params.core.reading.tensor_reading import Reading, measure
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window, parse_window, plane_of
from tui_params.errors import ReadError, StoppedError, UnknownTensorError


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


def levels(picture: BlockPicture) -> set[float]:
    """The means and the largest magnitudes of all blocks."""
    numel = np.outer(picture.row_counts, picture.column_counts)
    return {*(picture.sums / numel).reshape(-1).tolist(), *picture.peaks.reshape(-1).tolist()}


def picture_of(source: Source, words: str, rows: int, columns: int) -> set[float]:
    """The levels of the picture of a plane."""
    info = source.find("w")
    view = plane_of(parse_window(words, info.shape), rows, columns)
    region = Region(0, 0, view.row_count, view.column_count)
    return levels(read_picture(source, info, view, region, check=lambda: None))


def matrix_of(source: Source, words: str) -> Matrix:
    info = source.find("w")
    return folded_matrix(plane_of(parse_window(words, info.shape), 0, 1))


def moving(*shape: int) -> MovingSource:
    return MovingSource({"w": np.zeros(shape, np.float32)}, step=512)


def strided(source: MovingSource) -> MovingSource:
    """The same, whose tensor is transposed in memory, as it says."""
    (info,) = source.listing.tensors
    turned = msgspec.structs.replace(info, stride=(1, info.shape[0]))
    source.listing = msgspec.structs.replace(source.listing, tensors=(turned,))
    return source


@pytest.mark.parametrize(
    ("words", "rows", "columns"), [("", 0, 1), ("", 1, 0), (":, 3:50", 0, 1), ("5:, ::-2", 0, 1)], ids=str
)
def test_a_heat_map_is_of_one_step(words: str, rows: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_reading, "_PIECE", 256)
    assert picture_of(moving(96, 64), words, rows, columns) == {1.0}
    assert picture_of(strided(moving(96, 64)), words, rows, columns) == {1.0}


def test_a_sample_is_of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_reading, "SAMPLED_BEYOND", 100)
    monkeypatch.setattr(block_reading, "SAMPLED", 64 * 48)  # one of three columns
    source = moving(64, 96)
    info = source.find("w")
    sampled = sample_picture(source, info, plane_of(parse_window("", info.shape), 0, 1))
    assert sampled is not None
    assert sampled.is_sampled
    assert levels(sampled) == {1.0}
    assert source.steps == 1


@pytest.mark.parametrize("words", ["", ":, 3:50", "::2", "::-1, 4:"], ids=str)
def test_singular_values_are_of_one_step(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_matrix, "BLOCK", 256)
    for source in (moving(96, 64), strided(moving(96, 64))):
        matrix = matrix_of(source, words)
        found = read_spectrum(
            source, source.find("w"), matrix, wants_all=True, check=lambda: None, tell=lambda progress: None
        )
        assert found.values[0] == pytest.approx((matrix.rows * matrix.columns) ** 0.5)
        assert found.frobenius == pytest.approx((matrix.rows * matrix.columns) ** 0.5)
        assert source.steps == 1


def test_edges_profiles_and_extremes_are_of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges, "AT_ONCE", 64)
    monkeypatch.setattr(value_search, "WINDOW_NUMEL", 64)
    view = plane_of(parse_window("", (96, 64)), 0, 1)
    for look in (edges.row_edges, edges.column_edges):
        source = moving(96, 64)
        found = look(source, source.find("w"), view, 2, 7)
        assert [(edge.low, edge.high, edge.mean) for edge in found] == [(1, 1, 1)] * 7
    for source in (moving(96, 64), strided(moving(96, 64))):
        info = source.find("w")
        values = {float(value) for strip in strips(source, info, most=256) for value in strip.values.reshape(-1)}
        assert (values, source.steps) == ({1.0}, 1)
        for words in ("", "3:, 5:50:2", "::-1"):
            window = parse_window(words, info.shape)
            largest = value_search.find_extreme(source, info, window, 1)
            # Of equal ones the first.
            assert largest is not None
            assert largest.index == tuple(axis.index(0) for axis in window.axes)


def test_differences_are_of_one_step_of_each_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "WINDOW", 256)
    a, b = strided(moving(96, 64)), MemorySource({"w": np.full((96, 64), 9, np.float32)})
    difference = DifferenceSource(a, b, Comparer(a, b).structure.pairs)
    assert picture_of(difference, "", 0, 1) == {8.0}


def as_bytes(contents: Contents) -> bytes:
    return b"".join(bytes(piece) for piece in contents.pieces)


def test_what_is_written_is_of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy, "PIECE_NBYTES", 256)
    monkeypatch.setattr(values_csv, "_AT_ONCE", 64)
    window = parse_window("3:, ::2", (96, 64))
    source = moving(96, 64)
    written = np.load(BytesIO(as_bytes(npy.npy_of(source, source.find("w"), window))))
    assert np.array_equal(written, np.ones(window.shape, np.float32))
    source = moving(96, 64)
    lines = as_bytes(values_csv.csv_of(source, source.find("w"), window))
    assert lines.split(b"\n")[:-1] == [b",".join([b"1.0"] * 32)] * 93
    source = moving(96, 64)
    lines = as_bytes(values_md.md_of(source, source.find("w"), window))
    assert lines.count(b" 1.0 ") == window.numel


def test_the_copy_of_a_window_is_what_it_is_of() -> None:
    values = np.arange(240, dtype=np.float32).reshape(8, 6, 5)
    source = MemorySource({"w": values})
    info = source.find("w")
    whole = parse_window("1:8:2, ::-1, 3", values.shape)
    assert source.still_part(info, whole) is source
    still = StillWindow(source, info, whole)
    assert still.find("w") is info
    for words in ("1:8:2, ::-1, 3", "3:8:4, 2:4, 3", "5, 1, 3:4", "7:2:-2, :, 3", "1:1, :, 3"):
        window = parse_window(words, values.shape)
        assert np.array_equal(still.read_window(info, window), source.read_window(info, window)), words
    for words in ("2, 0, 3", "1, 0, 4", "1:8, 0, 3", "0, 0, 3"):
        with pytest.raises(ReadError, match="of w other values were read"):
            still.read_window(info, parse_window(words, values.shape))
    with pytest.raises(ReadError, match="of w only some values were read"):
        still.blocks(info)
    with pytest.raises(UnknownTensorError):
        still.find("v")


def test_sources_over_others_read_a_part_at_once() -> None:
    for over in (lambda source: WatchedSource(source, ()), lambda source: BothSources(source, MemorySource({}))):
        source = moving(96, 64)
        assert picture_of(over(source), ":, 3:50", 0, 1) == {1.0}
        assert source.steps == 1
        at_rest = over(MemorySource({"w": np.zeros((4, 4), np.float32)}))
        assert at_rest.still_part(at_rest.find("w"), parse_window("", (4, 4))) is at_rest
