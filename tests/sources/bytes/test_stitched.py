"""Tensors stitched from pieces of any cut, order and layout are what numpy has before they are cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tui_params.core.dtypes import DTYPES, from_torch, numpy_dtype, unknown
from tui_params.core.piece import Piece, find_overlap, run_of_elements
from tui_params.core.source import FileRange, Listing
from tui_params.core.tensor import TensorInfo, describe
from tui_params.errors import ReadError
from tui_params.sources.bytes.local import opened
from tui_params.sources.bytes.stitched import StitchedSource

FLOAT32 = from_torch("float32") or unknown("float32")


class Cut(StitchedSource):
    """A source of tensors whose pieces are given."""

    def __init__(self, folder: Path, pieces: Mapping[str, tuple[TensorInfo, Sequence[Piece]]]) -> None:
        files = {}
        for name in sorted({piece.file for _, some in pieces.values() for piece in some}):
            with opened(folder / name) as (_, file):
                files[name] = file
        super().__init__("cut", Listing("cut", tuple(info for info, _ in pieces.values())), files)
        self._pieces = {name: some for name, (_, some) in pieces.items()}

    def pieces(self, info: TensorInfo) -> Sequence[Piece]:
        return self._pieces[info.name]


def ordinary(shape: Sequence[int], dtype: Any = np.float32) -> NDArray[Any]:
    return np.arange(1, np.prod(shape, dtype=int) + 1).astype(dtype).reshape(shape)


@st.composite
def cuttings(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]]:
    """A shape, and boxes (start, shape, order of the dimensions in storage) that cover it, in any order."""
    shape = tuple(draw(st.lists(st.integers(0, 7), max_size=4)))
    boxes = [((0,) * len(shape), shape)]
    for _ in range(draw(st.integers(0, 5)) if shape else 0):
        start, lengths = boxes.pop(draw(st.integers(0, len(boxes) - 1)))
        axis = draw(st.integers(0, len(shape) - 1))
        at = draw(st.integers(0, lengths[axis]))
        first = (*lengths[:axis], at, *lengths[axis + 1 :])
        second = (*lengths[:axis], lengths[axis] - at, *lengths[axis + 1 :])
        boxes += [(start, first), ((*start[:axis], start[axis] + at, *start[axis + 1 :]), second)]
    orders = [tuple(draw(st.permutations(range(len(shape))))) if draw(st.booleans()) else None for _ in boxes]
    whole = tuple(range(len(shape)))
    return shape, draw(
        st.permutations(
            [(start, lengths, order or whole) for (start, lengths), order in zip(boxes, orders, strict=True)]
        )
    )


def write_boxes(folder: Path, values: NDArray[Any], boxes: Any) -> list[Piece]:
    """Write each box to one of two files, at any byte, its dimensions in the order that is asked for."""
    pieces = []
    contents = {"a.bin": bytearray(b"?"), "b.bin": bytearray(b"")}
    for number, (start, lengths, order) in enumerate(boxes):
        part = values[tuple(slice(a, a + n) for a, n in zip(start, lengths, strict=True))]
        stored = np.ascontiguousarray(part.transpose(order)) if order else part
        steps = [0] * len(order)
        step = 1
        for axis in reversed(order):
            steps[axis] = step
            step *= lengths[axis]
        name = f"{'ab'[number % 2]}.bin"
        is_plain = tuple(order) == tuple(range(len(order)))
        data = stored.tobytes()
        stride = None if is_plain else tuple(steps)
        pieces.append(Piece(start, lengths, name, len(contents[name]), len(data), stride, number))
        contents[name] += data + b"\xff"
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return pieces


@st.composite
def windows(draw: st.DrawFn, shape: tuple[int, ...]) -> str:
    items = []
    for length in shape:
        if length and draw(st.booleans()):
            items.append(str(draw(st.integers(-length, length - 1))))
            continue
        bound = st.one_of(st.just(""), st.integers(-9, 9).map(str))
        items.append(f"{draw(bound)}:{draw(bound)}:{draw(st.sampled_from(['', '1', '2', '3', '-1', '-2', '-3']))}")
    return f"[{', '.join(items)}]"


@given(st.data(), cuttings())
def test_windows_and_blocks_are_those_of_the_whole(tmp_path_factory: Any, data: st.DataObject, cutting: Any) -> None:
    shape, boxes = cutting
    folder = tmp_path_factory.mktemp("cut")
    values = ordinary(shape)
    info = describe("w", shape, FLOAT32)
    with Cut(folder, {"w": (info, write_boxes(folder, values, boxes))}) as source:
        assert find_overlap(source.pieces_of(info)) is None
        expression = data.draw(windows(shape))
        expected = eval(f"values{expression}") if shape else values
        assert np.array_equal(source.read("w", expression if shape else ""), expected)
        start = data.draw(st.integers(0, info.numel))
        stop = data.draw(st.integers(start, info.numel))
        found = b"".join(block.tobytes() for block in source.blocks(info, start, stop))
        assert found == values.reshape(-1)[start:stop].tobytes()


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype.numpy and not dtype.is_packed], ids=str)
def test_every_type_is_stitched_bit_by_bit(tmp_path: Path, dtype: Any) -> None:
    bits = np.random.default_rng(1).integers(0, 2 if dtype.kind == "bool" else 256, 6 * 8 * dtype.itemsize, np.uint8)
    values = bits.view(numpy_dtype(dtype)).reshape(6, 8)
    boxes = [((0, 0), (6, 3), (1, 0)), ((0, 3), (4, 5), (0, 1)), ((4, 3), (2, 5), (0, 1))]
    info = describe("w", (6, 8), dtype)
    with Cut(tmp_path, {"w": (info, write_boxes(tmp_path, values, boxes))}) as source:
        assert source.read("w").tobytes() == values.tobytes()
        assert b"".join(block.tobytes() for block in source.blocks(info)) == values.tobytes()


def test_packed_elements_are_stitched_from_whole_rows_only(tmp_path: Path) -> None:
    dtype = from_torch("float4_e2m1fn")
    assert dtype is not None
    data = bytes(range(16))
    (tmp_path / "a.bin").write_bytes(data)
    info = describe("w", (4, 8), dtype)
    rows = [Piece((0, 0), (1, 8), "a.bin", 0, 4), Piece((1, 0), (3, 8), "a.bin", 4, 12)]
    with Cut(tmp_path, {"w": (info, rows)}) as source:
        assert b"".join(block.tobytes() for block in source.blocks(info)) == data
        assert source.read("w", "[1, :2]").astype(float).tolist() == [2.0, 0.0]  # the byte 4: 4 in its low half
    columns = [Piece((0, 0), (4, 4), "a.bin", 0, 8), Piece((0, 4), (4, 4), "a.bin", 8, 8)]
    with Cut(tmp_path, {"w": (info, columns)}) as source, pytest.raises(ReadError, match="pieces that are not rows"):
        list(source.blocks(info))


def test_what_no_piece_has_is_said_and_the_rest_is_read(tmp_path: Path) -> None:
    values = ordinary((4, 3))
    boxes = [((0, 0), (1, 3), (0, 1)), ((2, 0), (2, 2), (0, 1))]
    info = describe("w", (4, 3), FLOAT32)
    with Cut(tmp_path, {"w": (info, write_boxes(tmp_path, values, boxes))}) as source:
        assert source.read("w", "[2:, :2]").tolist() == values[2:, :2].tolist()
        with pytest.raises(ReadError, match="no piece of w has 5 elements of those that are asked for"):
            source.read("w")
        with pytest.raises(ReadError, match="no piece of w has 5 elements"):
            list(source.blocks(info))
    rows = [boxes[0], ((2, 0), (2, 3), (0, 1))]
    with Cut(tmp_path, {"w": (info, write_boxes(tmp_path, values, rows))}) as source:
        with pytest.raises(ReadError, match="no piece of w has 3 elements"):
            list(source.blocks(info))
        assert len(list(source.blocks(info, 6))) == 1


def test_a_missing_file_is_named_with_the_piece_that_it_has(tmp_path: Path) -> None:
    info = describe("w", (4, 3), FLOAT32)
    pieces = write_boxes(tmp_path, ordinary((4, 3)), [((0, 0), (2, 3), (0, 1)), ((2, 0), (2, 3), (0, 1))])
    source = Cut(tmp_path, {"w": (info, pieces)})
    source.files = {"a.bin": source.files["a.bin"]}
    with source:
        assert source.read("w", "[0]").tolist() == [1.0, 2.0, 3.0]
        with pytest.raises(ReadError, match=r"b.bin is missing, which has \[2:4, 0:3\] of w"):
            source.read("w", "[2]")


def test_a_piece_that_reaches_outside_its_bytes_is_refused(tmp_path: Path) -> None:
    info = describe("w", (4,), FLOAT32)
    (tmp_path / "a.bin").write_bytes(bytes(64))
    with Cut(tmp_path, {"w": (info, [Piece((0,), (4,), "a.bin", 0, 15)])}) as source:
        with pytest.raises(ReadError, match="outside its storage"):
            source.read("w")
        source.close()
        with pytest.raises(ReadError, match="is closed"):
            source.read("w")


def test_statistics_of_a_stitched_tensor_are_those_of_the_whole(tmp_path: Path) -> None:
    values = np.random.default_rng(2).standard_normal((50, 40)).astype(np.float32)
    values[3, 4], values[5, 6] = np.nan, np.inf
    boxes = [((0, 0), (50, 17), (0, 1)), ((0, 17), (20, 23), (1, 0)), ((20, 17), (30, 23), (0, 1))]
    with Cut(tmp_path, {"w": (describe("w", (50, 40), FLOAT32), write_boxes(tmp_path, values, boxes))}) as source:
        figures = source.summarize("w").figures(2000)
        finite = values[np.isfinite(values)].astype(np.float64)
        assert (figures.nan, figures.pos_inf, figures.finite) == (1, 1, 1998)
        assert figures.mean == pytest.approx(finite.mean(), rel=1e-14)
        assert figures.max == finite.max()


def test_a_run_of_elements_becomes_boxes_that_follow_each_other(tmp_path: Path) -> None:
    values = ordinary((5, 4))
    (tmp_path / "0").write_bytes(values.reshape(-1)[:7].tobytes())
    (tmp_path / "1").write_bytes(b"12" + values.reshape(-1)[7:].tobytes())
    pieces = [*run_of_elements((5, 4), 0, 7, "0", 0, 4, rank=0), *run_of_elements((5, 4), 7, 13, "1", 2, 4, rank=1)]
    assert [str(piece) for piece in pieces] == ["[0:1, 0:4]", "[1:2, 0:3]", "[1:2, 3:4]", "[2:5, 0:4]"]
    info = describe("w", (5, 4), FLOAT32)
    with Cut(tmp_path, {"w": (info, pieces)}) as source:
        assert source.read("w").tolist() == values.tolist()
        assert b"".join(block.tobytes() for block in source.blocks(info)) == values.tobytes()


def test_overlapping_pieces_are_found() -> None:
    first = Piece((0, 0), (4, 4), "a", 0, 64)
    assert find_overlap([first, Piece((0, 4), (4, 4), "a", 0, 64), Piece((4, 0), (1, 8), "a", 0, 64)]) is None
    other = Piece((3, 3), (2, 2), "a", 0, 16)
    assert find_overlap([other, first]) == (first, other)
    scalar = Piece((), (), "a", 0, 4)
    assert find_overlap([scalar]) is None
    assert find_overlap([scalar, msgspec.structs.replace(scalar, file="b")]) is not None
    assert find_overlap([Piece((4, 0), (0, 4), "a", 0, 0), first, Piece((4, 0), (0, 4), "b", 0, 0)]) is None


def test_the_ranges_of_files_are_the_blocks(tmp_path: Path) -> None:
    values = ordinary((5, 4))
    (tmp_path / "0").write_bytes(values.reshape(-1)[:7].tobytes())
    (tmp_path / "1").write_bytes(b"12" + values.reshape(-1)[7:].tobytes())
    pieces = [*run_of_elements((5, 4), 7, 13, "1", 2, 4), *run_of_elements((5, 4), 0, 7, "0", 0, 4)]
    info = describe("w", (5, 4), FLOAT32)
    with Cut(tmp_path, {"w": (info, pieces)}) as source:
        # What follows in the same file is one range.
        assert [(part.file, part.offset, part.nbytes) for part in source.file_ranges(info)] == [
            ("0", 0, 28),
            ("1", 2, 52),
        ]
        whole = b"".join(bytes(block) for part in source.file_ranges(info) for block in range_of(tmp_path, part))
        assert whole == b"".join(block.tobytes() for block in source.blocks(info)) == values.tobytes()


def range_of(folder: Path, part: FileRange) -> list[bytes]:
    return [(folder / part.file).read_bytes()[part.offset : part.offset + part.nbytes]]


def test_boxes_side_by_side_are_no_ranges(tmp_path: Path) -> None:
    info = describe("w", (4, 4), FLOAT32)
    pieces = write_boxes(tmp_path, ordinary((4, 4)), [((0, 0), (4, 2), (0, 1)), ((0, 2), (4, 2), (0, 1))])
    holes = write_boxes(tmp_path, ordinary((4, 4)), [((1, 0), (3, 4), (0, 1))])
    with Cut(tmp_path, {"w": (info, pieces)}) as source:
        assert source.file_ranges(info) == ()
    with Cut(tmp_path, {"w": (info, holes)}) as source:
        assert source.file_ranges(info) == ()
