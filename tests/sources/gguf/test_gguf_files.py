"""GGUF: metadata, plain tensors in place, blocks restored to float32, and damaged files."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tui_params
from tests.factories_flips import assert_only_sentences, flipped, truncated
from tests.factories_gguf import blocks, gguf_bytes, plain
from tui_params.core.source import Source
from tui_params.errors import OpenError, ReadError, SliceError
from tui_params.sources.detect import open_path
from tui_params.sources.gguf import types
from tui_params.sources.gguf import window as windows
from tui_params.sources.gguf.header import MAX_DEPTH

W = np.arange(12, dtype="<f4").reshape(3, 4)
SIZES = {2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36)}
NAMES = {2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1"}


def opened(tmp_path: Path, data: bytes, name: str = "x.gguf") -> Source:
    (tmp_path / name).write_bytes(data)
    return open_path(tmp_path / name)


def half(block: bytes, at: int) -> np.float32:
    return np.float32(np.frombuffer(block[at : at + 2], "<f2")[0])


def slow_block(kind: int, block: bytes) -> list[np.float32]:
    """The 32 values of one block, one at a time, as ggml-quants.c computes them."""
    scale = half(block, 0)
    if kind in (8, 9):
        return [np.float32(code) * scale for code in struct.unpack("32b", block[-32:])]
    codes = block[-16:]
    values = [byte & 15 for byte in codes] + [byte >> 4 for byte in codes]
    if kind in (6, 7):
        bits = int.from_bytes(block[-20:-16], "little")
        values = [code | (bits >> number & 1) << 4 for number, code in enumerate(values)]
    if kind in (3, 7):
        return [np.float32(code) * scale + half(block, 2) for code in values]
    return [np.float32(code - (16 if kind == 6 else 8)) * scale for code in values]


@pytest.mark.parametrize("kind", SIZES)
def test_blocks_are_restored_bit_by_bit(tmp_path: Path, kind: int) -> None:
    tensor = blocks("w", (3, 2, 96), kind, SIZES[kind])
    source = opened(tmp_path, gguf_bytes([plain("a", W), tensor]))
    (_, info) = source.listing.tensors
    assert (info.dtype.name, info.nbytes) == (NAMES[kind], len(tensor[3]))
    size = SIZES[kind][1]
    raw = tensor[3]
    due = np.array([slow_block(kind, raw[at : at + size]) for at in range(0, len(raw), size)], "f4").reshape(3, 2, 96)
    assert source.read("w").tobytes() == due.tobytes()
    figures = source.summarize("w").figures(info.numel)
    assert (figures.count, figures.min, figures.max) == (due.size, due.min(), due.max())
    assert figures.mean == pytest.approx(due.astype("f8").mean(), rel=1e-12)
    slices: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
        "[1]": lambda a: a[1],
        "[:, 1, 5:70:7]": lambda a: a[:, 1, 5:70:7],
        "[::2, :, ::-3]": lambda a: a[::2, :, ::-3],
        "[2, 1, -1]": lambda a: a[2, 1, -1],
        "[::-1, 0, 40]": lambda a: a[::-1, 0, 40],
        "[:, :, 95:31:-1]": lambda a: a[:, :, 95:31:-1],
        "[1:1]": lambda a: a[1:1],
    }
    for expression, pick in slices.items():
        np.testing.assert_array_equal(source.read("w", expression), pick(due), expression)
    parts = [np.array(block) for block in source.blocks(info, 64, 224)]
    assert b"".join(part.tobytes() for part in parts) == due.reshape(-1)[64:224].tobytes()


def test_large_windows_are_restored_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened(tmp_path, gguf_bytes([blocks("w", (40, 96), 2, SIZES[2])]))
    whole = source.read("w")
    monkeypatch.setattr(windows, "MAX_RESTORED", 32)
    np.testing.assert_array_equal(source.read("w"), whole)
    np.testing.assert_array_equal(source.read("w", "[::-3, 90:2:-7]"), whole[::-3, 90:2:-7])
    monkeypatch.setattr(windows, "MAX_PLACES", 39)
    with pytest.raises(SliceError, match="more than 39 rows of blocks"):
        source.read("w", "[:, 3]")


def test_a_scale_that_is_no_number_shows_in_the_statistics(tmp_path: Path) -> None:
    name, shape, kind, raw = blocks("w", (2, 64), 8, SIZES[8])
    data = gguf_bytes([(name, shape, kind, b"\x00\x7e" + raw[2:])])
    report = tui_params.check(opened(tmp_path, data))
    assert [(found.rule, found.indices[0]) for found in report.findings if found.rule == "nan"] == [("nan", (0, 0))]


def test_plain_types_are_read_where_they_lie(tmp_path: Path) -> None:
    arrays = [W.astype(code) for code in ("f4", "f2", "f8", "i1", "i2", "i4", "i8")]
    tensors = [plain(array.dtype.name, array) for array in arrays]
    tensors += [("bf16", (2, 2), 30, (W[:2, :2].view("u4") >> 16).astype("u2").tobytes())]
    tensors += [plain("scalar", np.array(1.5, "f4")), plain("empty", np.zeros((0, 4), "f4"))]
    source = opened(tmp_path, gguf_bytes(tensors, alignment=128))
    assert source.listing.findings == ()
    for array in arrays:
        np.testing.assert_array_equal(source.read(array.dtype.name), array)
        assert (source.find(array.dtype.name).offset or 1) % 128 == 0
    np.testing.assert_array_equal(source.read("bf16").astype("f4"), W[:2, :2])
    assert source.read("scalar") == 1.5
    assert source.find("empty").shape == (0, 4)


def test_metadata_are_texts_and_arrays_their_first_entries(tmp_path: Path) -> None:
    metadata: dict[str, tuple[int, Any]] = {
        "general.name": (8, "tiny"), "eps": (6, 1e-6), "yes": (7, True), "big": (10, 2**63), "low": (1, -3),
        "tokens": (9, (8, ["a\n", "b"] * 100_000)), "ids": (9, (4, list(range(1000)))), "none": (9, (8, [])),
        "nest": (9, (9, [(4, [1, 2]), (4, [3])] * 6)), "rest": (4, 7),
    }  # fmt: skip
    listing = opened(tmp_path, gguf_bytes([plain("w", W)], metadata)).listing
    assert listing.format == "GGUF v3"
    assert dict(listing.metadata) == {
        "general.name": "tiny", "eps": "1e-06", "yes": "true", "big": str(2**63), "low": "-3",
        "tokens": "200,000 x text: 'a\\n', 'b', 'a\\n', 'b', 'a\\n', 'b', 'a\\n', 'b', …",
        "ids": "1,000 x u32: 0, 1, 2, 3, 4, 5, 6, 7, …", "none": "0 x text",
        "nest": "12 x array: " + ", ".join(["2 x u32: 1, 2", "1 x u32: 3"] * 4) + ", …", "rest": "7",
    }  # fmt: skip


def test_other_types_are_listed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(types, "has_package", lambda: False)
    types.type_of.cache_clear()
    tensors = [
        ("k", (2, 256), 23, bytes(272)), ("new", (2, 256), 77, bytes(64)), ("old", (1, 32), 31, bytes(32)),
        ("q1_0", (1, 128), 41, bytes(18)), plain("w", W),
    ]  # fmt: skip
    source = opened(tmp_path, gguf_bytes(tensors))
    types.type_of.cache_clear()
    shown = {info.name: (info.dtype.short, info.unreadable) for info in source}
    refusal = "blocks of type IQ4_XS are restored by the package gguf, which is not installed (pip install gguf)"
    assert shown["k"] == ("iq4_xs", refusal)
    assert shown["new"] == ("ggml 77", "the file has tensor type 77, which is not known here")
    assert shown["old"] == ("q4_0_4_4", "elements of type Q4_0_4_4 cannot be decoded: ggml has given this type up")
    assert source.find("k").nbytes == 272
    assert source.listing.metadata["bits per element"]
    assert source.listing.findings == ()
    with pytest.raises(ReadError, match="not installed"):
        source.read("k")
    report = tui_params.check(source)
    assert {found.tensor for found in report.unchecked} == {"k", "new", "old", "q1_0"}
    np.testing.assert_array_equal(source.read("w"), W)


def write_splits(folder: Path, count: int) -> None:
    """Three splits of a tensor each, which announce so many."""
    for number in range(3):
        pairs = {"split.no": (2, number), "split.count": (2, 3), "split.tensors.count": (5, count)}
        name = f"m-0000{number + 1}-of-00003.gguf"
        (folder / name).write_bytes(gguf_bytes([plain(f"blk.{number}.w", W + number)], pairs))


def test_splits_with_other_than_the_number_of_tensors_that_they_announce(tmp_path: Path) -> None:
    write_splits(tmp_path, 5)
    (found,) = open_path(tmp_path).listing.findings
    assert (found.severity, found.rule, found.file) == ("error", "bad-metadata", "m-00003-of-00003.gguf")
    said = "m-00003-of-00003.gguf announces 5 tensors in all splits (split.tensors.count)"
    assert found.evidence == f"{said}, and the 3 files of m have 3"
    (tmp_path / "m-00002-of-00003.gguf").unlink()
    assert [found.rule for found in open_path(tmp_path).listing.findings] == ["missing-shard"]


def test_splits_are_one_model_in_a_folder(tmp_path: Path) -> None:
    write_splits(tmp_path, 3)
    source = open_path(tmp_path)
    assert source.listing.format == "GGUF v3, 3 files"
    assert source.names() == ["blk.0.w", "blk.1.w", "blk.2.w"]
    np.testing.assert_array_equal(source.read("blk.2.w"), W + 2)
    assert source.listing.findings == ()
    (tmp_path / "m-00002-of-00003.gguf").unlink()
    assert [found.rule for found in open_path(tmp_path).listing.findings] == ["missing-shard"]
    (tmp_path / "m-00001-of-00003.gguf").rename(tmp_path / "m-00002-of-00003.gguf")
    (found,) = open_path(tmp_path / "m-00002-of-00003.gguf").listing.findings
    assert found.evidence == "its name says part 2 of 3, and its metadata say part 1 of 3"
    (tmp_path / "m-00002-of-00003.gguf").rename(tmp_path / "m.gguf")
    (found,) = open_path(tmp_path / "m.gguf").listing.findings
    assert found.evidence == (
        "its metadata say part 1 of 3, and its name does not, as in NAME-00001-of-00003.gguf: the others are not looked"
        " for"
    )


def test_what_other_readers_refuse_is_told(tmp_path: Path) -> None:
    source = opened(tmp_path, gguf_bytes([plain("a", W)], {"general.alignment": (10, 32)}))
    assert [(found.severity, found.evidence) for found in source.listing.findings] == [
        ("error", "its alignment is a number of type u64: other readers take u32 alone")
    ]
    np.testing.assert_array_equal(source.read("a"), W)
    data = gguf_bytes([plain("a#b", W), plain("c#", W), plain("d", W)], {"k": (8, "v#"), "é": (8, "é" * 20_001)})
    source = opened(tmp_path, data.replace(b"#", b"\xff"))
    assert [(found.severity, found.evidence) for found in source.listing.findings] == [
        ("warning", "no UTF-8 text, which other readers may refuse: k in the metadata, and 2 more")
    ]
    assert source.names() == ["a\\xffb", "c\\xff", "d"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GGUF\3\0\0\0", "ends inside its header"),
        (b"GGUF" + struct.pack("<III", 1, 5, 5) + bytes(50), "version 1 of the format"),
        (b"GGUF" + struct.pack(">IQQ", 3, 5, 5), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 9, 5, 5), "version 9 of the format, and 2 and 3 are known"),
    ],
)
def test_what_cannot_be_read_at_all(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(OpenError, match=f"^x.gguf is a GGUF file that cannot be read: .*{words}"):
        opened(tmp_path, data)


def rules(source: Source) -> set[tuple[str, str | None]]:
    return {(found.rule, found.tensor) for found in source.listing.findings}


def test_arrays_that_are_nested_too_deeply_are_no_unknown_type(tmp_path: Path) -> None:
    content: tuple[int, list[Any]] = (4, [1])
    for _ in range(MAX_DEPTH):
        content = (9, [content])
    (found,) = opened(tmp_path, gguf_bytes([], {"k": (9, content)})).listing.findings
    assert found.evidence == "its header has arrays within arrays, more than 4 deep: it is damaged"
    source = opened(tmp_path, gguf_bytes([], {"k": (9, content[1][0])}))
    assert (source.listing.findings, "k" in source.listing.metadata) == ((), True)


def test_the_rest_of_a_tensor_that_is_cut_is_not_said_to_be_of_none(tmp_path: Path) -> None:
    whole = gguf_bytes([plain("a", np.zeros((4, 8), "f4")), plain("b", np.zeros((40, 8), "f4"))])
    assert rules(opened(tmp_path, whole[:-64])) == {("truncated", "b")}
    # Where the array of the tokens is longer than what is left, the file may just be shorter.
    words = "an array claims 99 numbers, more than the file has room for: it is cut short or damaged"
    cut = gguf_bytes([], {"k": (9, (6, [1.0] * 99))})[:-200]
    assert [found.evidence for found in opened(tmp_path, cut).listing.findings] == [words]


def test_places_that_make_no_sense(tmp_path: Path) -> None:
    a, b, q = plain("a", W), plain("b", W), blocks("q", (2, 32), 2, SIZES[2])
    assert rules(opened(tmp_path, gguf_bytes([a, b], offsets=[0, 32]))) == {("overlap", "b"), ("trailing-bytes", None)}
    assert rules(opened(tmp_path, gguf_bytes([a, b], offsets=[64, 128]) + bytes(64))) == {("hole", "a")}
    source = opened(tmp_path, gguf_bytes([a, b], offsets=[0, 50]))
    assert ("bad-entry", "b") in rules(source)
    assert source.read("b").shape == (3, 4)
    source = opened(tmp_path, gguf_bytes([a, b], offsets=[0, 2**40]))
    assert ("truncated", "b") in rules(source)
    with pytest.raises(ReadError, match="but the file at byte"):
        source.read("b")
    assert ("bad-entry", "a") in rules(opened(tmp_path, gguf_bytes([a], offsets=[2**63])))
    assert ("bad-entry", "q") in rules(opened(tmp_path, gguf_bytes([("q", (64, 1), *q[2:])])))
    assert ("bad-entry", "h") in rules(opened(tmp_path, gguf_bytes([("h", (2**40, 2**40), 0, b"")])))
    assert ("duplicate-name", "a") in rules(opened(tmp_path, gguf_bytes([a, a])))
    source = opened(tmp_path, gguf_bytes([a], {"general.alignment": (4, 0)}))
    assert rules(source) == {("bad-metadata", None)}
    with pytest.raises(ReadError, match="not known where its values begin"):
        source.read("a")


def test_hostile_headers_cost_nothing(tmp_path: Path) -> None:
    a = plain("a", W)
    deep: tuple[int, Any] = (4, [1])
    for _ in range(20):
        deep = (9, [deep])
    pair, tensor = (b"GGUF" + struct.pack("<IQQ", 3, *counts) for counts in ((0, 1), (1, 0)))
    for data in (
        gguf_bytes([a], counts=(2**60, 0)),
        gguf_bytes([a], counts=(0, 2**63)),
        gguf_bytes([a], {"deep": (9, deep)}),
        pair + struct.pack("<Qc", 1, b"k") + struct.pack("<IIQ", 9, 8, 2**61),
        pair + struct.pack("<Qc", 1, b"k") + struct.pack("<IIQ", 9, 9, 2**61),
        pair + struct.pack("<Qc", 1, b"k") + struct.pack("<IIQ", 9, 4, 2**62),
        pair + struct.pack("<Q", 2**62),
        tensor + struct.pack("<Qc", 1, b"t") + struct.pack("<I", 2**31),
    ):
        source = opened(tmp_path, data + bytes(40))
        assert [found.rule for found in source.listing.findings] == ["truncated"]


SMALL = gguf_bytes(
    [plain("a", W[:1]), blocks("q", (1, 64), 6, SIZES[6])],
    {"k": (8, "v"), "n": (9, (8, ["x", "y"])), "m": (9, (9, [(4, [1])]))},
)


def test_every_truncated_file_is_a_sentence(tmp_path: Path) -> None:
    assert_only_sentences(tmp_path / "x", truncated(SMALL))


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_files_are_sentences(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    assert_only_sentences(tmp_path_factory.getbasetemp() / f"gguf-{os.getpid()}", [flipped(SMALL, seed)])
