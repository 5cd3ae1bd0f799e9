from __future__ import annotations

import os
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_params.core.dtypes import DTYPES, DType, from_torch, numpy_dtype
from tui_params.core.reading import gather
from tui_params.core.reading.extent import Extent
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo, describe
from tui_params.core.window import Axis, Window, parse_window
from tui_params.errors import ReadError, SliceError, SourceChangedError
from tui_params.sources.bytes import local
from tui_params.sources.bytes import local as files
from tui_params.sources.bytes.extents import MAX_WINDOW, ExtentSource
from tui_params.sources.bytes.local import DataFile, opened, read_into
from tui_params.sources.bytes.pool import FilePool


def named(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


def source_of(path: Path, *extents: tuple[TensorInfo, Extent]) -> ExtentSource:
    with opened(path) as (_, file):
        pass
    listing = Listing("raw", tuple(info for info, _ in extents))
    return ExtentSource("raw", listing, {info.name: extent for info, extent in extents}, {file.name: file})


def one_tensor(
    path: Path, data: bytes, info: TensorInfo, stride: tuple[int, ...] | None = None, offset: int = 0, **bits: bool
) -> ExtentSource:
    path.write_bytes(data)
    return source_of(path, (info, Extent(path.name, offset, 0, len(data), stride, **bits)))


def all_bytes(source: ExtentSource, name: str = "x", start: int = 0, stop: int | None = None) -> bytes:
    return b"".join(block.tobytes() for block in source.blocks(source.find(name), start, stop))


@st.composite
def views(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], int, str]:
    """A shape, non-negative strides, an offset in elements and a slice expression."""
    ndim = draw(st.integers(0, 4))
    shape = tuple(draw(st.integers(0 if draw(st.booleans()) else 1, 6)) for _ in range(ndim))
    stride = tuple(draw(st.sampled_from((0, 1, 2, 3, 7, 40, 41, 300))) for _ in range(ndim))
    parts = []
    for size in shape:
        start, stop = draw(st.integers(-size, size)), draw(st.integers(-size, size))
        step = draw(st.sampled_from((1, 1, 2, 3, -1, -2)))
        index = str(draw(st.integers(-size, size - 1))) if size and draw(st.booleans()) else f"{start}:{stop}:{step}"
        parts.append(draw(st.sampled_from((":", "::-1", index))))
    return shape, stride, draw(st.integers(0, 5)), f"[{', '.join(parts)}]"


@settings(max_examples=150)
@given(view=views(), small=st.booleans())
def test_any_window_of_any_view_is_what_numpy_says(
    tmp_path_factory: pytest.TempPathFactory, view: tuple[tuple[int, ...], tuple[int, ...], int, str], small: bool
) -> None:
    shape, stride, offset, expression = view
    storage = np.arange(8000, dtype=np.int32)
    expected = np.ndarray(shape, np.int32, storage, offset * 4 + 0, [step * 4 for step in stride])
    # An odd number of bytes in front: nothing may rely on alignment.
    source = one_tensor(
        tmp_path_factory.mktemp("view") / "x.bin",
        b"\xff\xff\xff" + storage.tobytes(),
        describe("x", shape, named("int32")),
        stride,
        3 + offset * 4,
    )
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(gather, "BLOCK_NBYTES", 64)
            patch.setattr(gather, "SMALL_SPAN", 32)
        window = parse_window(expression, shape)
        values = source.read_window(source.find("x"), window)
        whole = all_bytes(source)
    index = tuple(
        axis.start if axis.is_index else [axis.start + k * axis.step for k in range(axis.length)]
        for axis in window.axes
    )
    wanted = expected
    for axis in reversed(range(len(shape))):
        wanted = np.take(wanted, index[axis], axis=axis)
    assert values.shape == window.shape
    assert values.dtype == np.int32
    np.testing.assert_array_equal(values, wanted)
    # Every logical element once, in whatever order.
    assert sorted(np.frombuffer(whole, np.int32)) == sorted(expected.reshape(-1))


@pytest.mark.parametrize("stride", [(80, 1), (1, 100), (0, 1), (3, 0), (7, 2)])
def test_blocks_may_be_asked_for_in_parts(
    tmp_path: Path, stride: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "BLOCK_NBYTES", 512)
    shape = (100, 80)
    storage = np.arange(9000, dtype=np.uint16)
    source = one_tensor(tmp_path / "x", storage.tobytes(), describe("x", shape, named("uint16")), stride)
    expected = np.ndarray(shape, np.uint16, storage, 0, [step * 2 for step in stride])
    parts = [all_bytes(source, "x", start, min(start + 1600, 8000)) for start in range(0, 8000, 1600)]
    assert b"".join(parts) == all_bytes(source)
    assert all(len(part) == 3200 for part in parts)
    assert sorted(np.frombuffer(b"".join(parts), np.uint16)) == sorted(expected.reshape(-1))


def test_a_transposed_matrix_is_read_in_the_order_of_its_storage(tmp_path: Path) -> None:
    storage = np.arange(12, dtype=np.float32)
    source = one_tensor(tmp_path / "x", storage.tobytes(), describe("x", (3, 4), named("float32")), (1, 3))
    assert all_bytes(source) == storage.tobytes()
    np.testing.assert_array_equal(source.read("x"), storage.reshape(4, 3).T)


@pytest.mark.parametrize("dtype", list(DTYPES), ids=lambda dtype: dtype.name)
def test_every_type_comes_as_its_own_numpy_type(tmp_path: Path, dtype: DType) -> None:
    numel = 16
    data = np.random.default_rng(0).integers(0, 256, dtype.nbytes(numel), np.uint8)
    source = one_tensor(tmp_path / "x", data.tobytes(), describe("x", (4, 4), dtype))
    values = source.read("x", "[1:3, ::-1]")
    assert values.shape == (2, 4)
    assert values.dtype == (np.complex64 if dtype.name == "complex32" else numpy_dtype(dtype))
    assert all_bytes(source) == data.tobytes()
    if dtype.name == "complex32":
        halves = data.view(np.float16).astype(np.float32).view(np.complex64).reshape(4, 4)
        np.testing.assert_array_equal(values, halves[1:3, ::-1])
    elif dtype.kind == "bool":
        np.testing.assert_array_equal(values, (data != 0).reshape(4, 4)[1:3, ::-1])
    elif not dtype.is_packed:
        element = numpy_dtype(dtype)
        assert element is not None
        assert values.tobytes() == data.view(element).reshape(4, 4)[1:3, ::-1].tobytes()


@pytest.mark.parametrize(("name", "bits"), [("float4_e2m1fn", 4), ("float6_e2m3fn", 6), ("float6_e3m2fn", 6)])
@pytest.mark.parametrize("expression", ["[]", "[1]", "[:, 5]", "[2, 3:11:3]", "[::-2, ::-1]"])
def test_packed_elements_are_found_by_their_bits(tmp_path: Path, name: str, bits: int, expression: str) -> None:
    codes = np.random.default_rng(1).integers(0, 1 << bits, (5, 12), np.uint8)
    stream = 0
    for place, code in enumerate(codes.reshape(-1)):
        stream |= int(code) << (bits * place)
    dtype = named(name)
    data = stream.to_bytes(dtype.nbytes(codes.size), "little")
    source = one_tensor(tmp_path / "x", b"?" + data, describe("x", codes.shape, dtype), offset=1)
    window = parse_window(expression, codes.shape)
    index = [[axis.start + k * axis.step for k in range(axis.length)] for axis in window.axes]
    wanted = codes[np.ix_(*index)].reshape(window.shape)
    values = source.read("x", expression)
    np.testing.assert_array_equal(values.view(np.uint8), wanted)
    assert values.dtype == getattr(ml_dtypes, name)


@pytest.mark.parametrize("name", ["complex32", "complex64", "complex128"])
def test_conjugate_and_negative_bits_are_resolved(tmp_path: Path, name: str) -> None:
    part = {"complex32": np.float16, "complex64": np.float32, "complex128": np.float64}[name]
    parts = np.array([1.5, -2, 0.25, 3, -0.0, 0.5, 7, -8], part)
    plain = parts[0::2].astype(np.float64) + 1j * parts[1::2].astype(np.float64)
    info = describe("x", (2, 2), named(name))
    for flags, expected in (
        ({"is_conj": True}, plain.conj()),
        ({"is_neg": True}, -plain),
        ({"is_conj": True, "is_neg": True}, -plain.conj()),
    ):
        source = one_tensor(tmp_path / "x", parts.tobytes(), info, None, 0, **flags)
        np.testing.assert_array_equal(source.read("x"), expected.reshape(2, 2))
        read = np.frombuffer(all_bytes(source), part).astype(np.float64)
        np.testing.assert_array_equal(read[0::2] + 1j * read[1::2], expected)


def test_a_negative_view_of_reals_and_integers(tmp_path: Path) -> None:
    for name in ("bfloat16", "float32", "int16"):
        dtype = numpy_dtype(named(name))
        data = np.array([1, -2, 3, 0], dtype)
        source = one_tensor(tmp_path / "x", data.tobytes(), describe("x", (2, 2), named(name)), (1, 2), is_neg=True)
        np.testing.assert_array_equal(source.read("x").astype(float), -data.reshape(2, 2).T.astype(float))


def test_only_the_bytes_that_are_needed_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, columns = 1 << 16, 1 << 16
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(rows * columns * 2)
    source = source_of(path, (describe("x", (rows, columns), named("bfloat16")), Extent("x", 0, 0, rows * columns * 2)))
    read: list[int] = []

    def counted(descriptor: int, file: DataFile, offset: int, buffer: memoryview) -> None:
        read.append(len(buffer))
        read_into(descriptor, file, offset, buffer)

    monkeypatch.setattr(local, "read_into", counted)
    for expression, most in (
        ("[7]", columns * 2),
        ("[5:15, 100:200]", 20 * 100 * 10),
        ("[:50, 9]", 50 * 2),
        ("[3, ::64]", columns * 2),
    ):
        read.clear()
        source.read("x", expression)
        assert sum(read) <= most, expression


def test_a_window_too_large_is_refused_in_a_sentence(tmp_path: Path) -> None:
    source = one_tensor(tmp_path / "x", b"\0" * 8, describe("x", (MAX_WINDOW + 1,), named("int8")), (0,))
    with pytest.raises(SliceError, match="16,777,217 elements"):
        source.read("x")
    assert source.read("x", "[:MAX]".replace("MAX", str(MAX_WINDOW))).size == MAX_WINDOW


def test_a_window_scattered_over_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "MAX_PLACES", 40)
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(100 << 16)
    source = source_of(path, (describe("x", (100, 1 << 16), named("int8")), Extent("x", 0, 0, 100 << 16)))
    assert source.read("x", "[:40, 9]").shape == (40,)
    with pytest.raises(SliceError, match="more than 40 places"):
        source.read("x", "[:, 9]")
    column = source_of(path, (describe("x", (100,), named("int8")), Extent("x", 9, 0, 100 << 16, (1 << 16,))))
    assert all_bytes(column) == bytes(100)


def test_an_expanded_scalar_is_read_in_bounded_memory(tmp_path: Path) -> None:
    source = one_tensor(tmp_path / "x", b"\x07\0\0\0", describe("x", (3_000, 1_000), named("int32")), (0, 0))
    total = 0
    for block in source.blocks(source.find("x")):
        assert block.nbytes <= gather.BLOCK_NBYTES
        total += int(block.view(np.int32).sum())
    assert total == 7 * 3_000_000


@pytest.mark.parametrize(
    "axes", [(), (Axis(0, 1, 3),), (Axis(0, 1, 2), Axis(2, 2, 2)), (Axis(-1, 1, 1), Axis(0, 1, 1))]
)
def test_a_window_that_was_not_fitted_is_refused(tmp_path: Path, axes: tuple[Axis, ...]) -> None:
    source = one_tensor(tmp_path / "x", b"\0" * 6, describe("x", (2, 3), named("int8")))
    with pytest.raises(SliceError, match="does not fit"):
        source.read_window(source.find("x"), Window(axes, ""))


@pytest.mark.parametrize("stride", [(1000, 1), (3, 100), (1 << 60, 1)])
def test_no_read_leaves_the_storage(tmp_path: Path, stride: tuple[int, int]) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\0" * 5000)
    source = source_of(path, (describe("x", (2, 3), named("int8")), Extent("x", 100, 50, 200, stride)))
    with pytest.raises(ReadError, match="outside its storage"):
        source.read("x")
    with pytest.raises(ReadError, match="outside its storage"):
        all_bytes(source)


def test_unreadable_unknown_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\0" * 8)
    source = source_of(path)
    with pytest.raises(ReadError, match="the reason"):
        source.read_window(TensorInfo("x", (), named("int8"), 1, 1, unreadable="the reason"), Window((), ""))
    with pytest.raises(ReadError, match="it is not known where"):
        source.read_window(describe("x", (), named("int8")), Window((), ""))
    with pytest.raises(ReadError, match="not a file of"):
        source.read_window(TensorInfo("x", (), named("int8"), 1, 1, file="y", offset=0), Window((), ""))
    info = TensorInfo("x", (), named("int8"), 1, 1, file="x", offset=0)
    blocks = source.blocks(TensorInfo("x", (8,), named("int8"), 8, 8, file="x", offset=0))
    next(blocks)
    source.close()
    source.close()
    with pytest.raises(ReadError, match="is closed"):
        source.read_window(info, Window((), ""))
    with pytest.raises(ReadError, match="is closed"):
        next(blocks)


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def truncate(path: Path) -> None:
    os.truncate(path, 100)


def touch(path: Path) -> None:
    path.write_bytes(b"\1" * 4096)
    os.utime(path, ns=(1, 1))


def become_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replace, "replaced on disk after it was opened; open it again"),
        (truncate, "truncated from 4.00 KiB to 100 B"),
        (touch, "written to after"),
        (Path.unlink, "removed from the disk"),
        (become_a_fifo, "replaced on disk"),
    ],
)
@pytest.mark.parametrize("is_open", [False, True])
def test_a_file_that_changes_while_open(tmp_path: Path, change: object, words: str, is_open: bool) -> None:
    path = tmp_path / "x"
    source = one_tensor(path, b"\0" * 4096, describe("x", (1024,), named("float32")))
    assert source.changed() is None
    if is_open:
        assert source.read("x").sum() == 0
    assert callable(change)
    change(path)
    for _ in range(2):
        with pytest.raises(SourceChangedError, match=words):
            source.read("x")
        with pytest.raises(SourceChangedError, match=words):
            all_bytes(source)
    sentence = source.changed()
    assert sentence is not None
    assert words in sentence


def test_a_change_between_two_blocks_ends_them(tmp_path: Path) -> None:
    path = tmp_path / "x"
    nbytes = 2 * gather.BLOCK_NBYTES
    source = one_tensor(path, bytes(nbytes), describe("x", (nbytes,), named("uint8")))
    blocks = source.blocks(source.find("x"))
    next(blocks)
    os.truncate(path, nbytes - 1)
    with pytest.raises(SourceChangedError, match="truncated"):
        next(blocks)


def test_a_short_read_says_how_short(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    with opened(path) as (descriptor, file), pytest.raises(ReadError, match="only 2 of 8 bytes could be read at"):
        read_into(descriptor, file, 1, memoryview(bytearray(8)))


def test_reading_works_without_preadv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "preadv", raising=False)
    data = np.arange(1000, dtype=np.int16)
    source = one_tensor(tmp_path / "x", data.tobytes(), describe("x", (1000,), named("int16")))
    np.testing.assert_array_equal(source.read("x"), data)


def test_the_pool_keeps_few_files_open_and_never_one_too_few(tmp_path: Path) -> None:
    pool = FilePool(limit=3)
    shards = []
    for number in range(10):
        path = tmp_path / f"{number}"
        path.write_bytes(bytes([number]))
        with opened(path) as (_, file):
            shards.append(file)
    for _ in range(2):
        for number, file in enumerate(shards):
            with pool.borrow(file) as descriptor:
                assert os.pread(descriptor, 1, 0) == bytes([number])
            assert len(pool) <= 3
    # One that is read now is not closed under its reader, neither by others nor by drop.
    with pool.borrow(shards[0]) as first:
        for file in shards[1:]:
            with pool.borrow(file):
                pass
        pool.drop(shards[0])
        assert os.pread(first, 1, 0) == b"\0"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first)
    for file in shards:
        pool.drop(file)
    assert len(pool) == 0


def test_many_threads_read_one_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.POOL, "_limit", 2)
    monkeypatch.setattr(gather, "BLOCK_NBYTES", 1024)
    entries = []
    for number in range(6):
        path = tmp_path / f"{number}"
        path.write_bytes(np.full(5000, number, np.int16).tobytes())
        with opened(path) as (_, file):
            entries.append(file)
    infos = [TensorInfo(f"{n}", (5000,), named("int16"), 5000, 10000, file=f"{n}", offset=0) for n in range(6)]
    source = ExtentSource("raw", Listing("raw", tuple(infos)), {}, {file.name: file for file in entries})
    wrong: list[int] = []

    def work() -> None:
        for _ in range(5):
            for number, info in enumerate(infos):
                got = {int(value) for block in source.blocks(info) for value in np.unique(block.view(np.int16))}
                if got != {number}:
                    wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    source.close()
