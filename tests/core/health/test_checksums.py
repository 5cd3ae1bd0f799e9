"""Checksums of archives: verified in passing, in whatever order and pieces, and nothing said where there are none."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tui_params
from tests.factories_memory import MemorySource
from tui_params.api.opening import open_source
from tui_params.core.findings import Finding
from tui_params.core.health.checker import Report
from tui_params.core.health.checksums import WatchedSource, combine, watched
from tui_params.core.source import Record, Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError, StoppedError

STATE = {
    "fc.weight": torch.randn(64, 64, generator=torch.Generator().manual_seed(0)),
    "fc.bias": torch.randn(64, generator=torch.Generator().manual_seed(1)).bfloat16(),
    "steps": torch.tensor(7),
    "empty": torch.zeros(0),
}


def flip(path: Path, member: str, at: int = 0) -> None:
    """Flip the lowest bit of one byte of a member, where it lies in the file."""
    with zipfile.ZipFile(path) as archive:
        info = next(info for info in archive.infolist() if info.filename.partition("/")[2] == member)
    raw = bytearray(path.read_bytes())
    lengths = raw[info.header_offset + 26 : info.header_offset + 30]
    start = info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    raw[start + at] ^= 1
    path.write_bytes(raw)


def wrong(report: Report) -> list[tuple[str | None, str]]:
    return [(finding.tensor, finding.evidence) for finding in report.findings if finding.rule == "checksum"]


def evidence(nbytes: int, label: str) -> str:
    return f"the {nbytes:,} bytes of {label} do not have the checksum that the archive gives them"


@given(st.binary(max_size=300), st.binary(max_size=300))
@settings(max_examples=100)
def test_two_checksums_are_that_of_both_random(first: bytes, second: bytes) -> None:
    assert combine(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


def test_a_long_run_is_combined_as_zlib_does() -> None:
    raw = np.random.default_rng(0).integers(0, 256, 5_000_011, dtype=np.uint8)
    assert combine(zlib.crc32(raw[:7].data), zlib.crc32(raw[7:].data), raw.size - 7) == zlib.crc32(raw.data)


@pytest.mark.parametrize(("member", "tensor", "nbytes"), [("data/0", "fc.weight", 16_384), ("data/1", "fc.bias", 128)])
def test_a_flipped_bit_is_found(member: str, tensor: str, nbytes: int, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(STATE, path)
    assert wrong(tui_params.check(path)) == []
    flip(path, member, nbytes - 4)
    report = tui_params.check(path)
    assert wrong(report) == [(tensor, evidence(nbytes, member))]
    assert (report.status, report.state(tensor), report.checked) == ("findings", "findings", 4)


def test_what_no_tensor_reads_is_verified_too(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(STATE, path)
    # A bit of the name of the file's writer: the pickle can be read as before.
    flip(path, ".data/serialization_id")
    (found,) = wrong(tui_params.check(path))
    assert found == (None, evidence(40, ".data/serialization_id"))


@pytest.mark.parametrize("how", ["crc32 off", "skip_data"])
def test_where_torch_wrote_none_nothing_is_wrong(how: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    if how == "skip_data":
        with torch.serialization.skip_data():
            torch.save(STATE, path)
    else:
        set_options = getattr(torch.serialization, "set_crc32_options", None)
        if set_options is None:
            pytest.skip("this torch always computes them")
        set_options(False)
        try:
            torch.save(STATE, path)
        finally:
            set_options(True)
        with open_source(path) as source:
            assert source.records() == ()
            assert watched(source) is None
    assert wrong(tui_params.check(path)) == []
    flip(path, "data/0")
    assert wrong(tui_params.check(path)) == []


def test_views_and_ties_of_one_storage(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    flat = torch.arange(48.0)
    odd = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    conj = torch.randn(4, generator=torch.Generator().manual_seed(0), dtype=torch.complex64).conj()
    state = {"z": odd, "a": odd, "left": flat[:20], "right": flat[20:], "turned": odd.t(), "conj": conj}
    torch.save(state, path)
    assert wrong(tui_params.check(path)) == []
    flip(path, "data/0", 100)
    flip(path, "data/1", 100)
    flip(path, "data/2", 1)
    assert wrong(tui_params.check(path)) == [
        ("z", evidence(192, "data/0")),
        ("left", evidence(192, "data/1")),
        ("conj", evidence(32, "data/2")),
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_archives_of_torch(tmp_path: Path) -> None:
    script, export = tmp_path / "a.pt", tmp_path / "a.pt2"
    model = torch.nn.Linear(4, 4)
    torch.jit.script(model).save(script)
    torch.export.save(torch.export.export(model, (torch.ones(1, 4),)), export)
    for path, member in ((script, "data/0"), (export, "data/weights/weight_0")):
        assert wrong(tui_params.check(path)) == []
        flip(path, member)
        assert [text for _, text in wrong(tui_params.check(path))] == [evidence(64, member)]


def test_the_files_of_a_folder_are_named(tmp_path: Path) -> None:
    for name in ("one.bin", "two.bin"):
        torch.save(STATE, tmp_path / name)
    assert wrong(tui_params.check(tmp_path)) == []
    flip(tmp_path / "two.bin", "data/0")
    assert wrong(tui_params.check(tmp_path)) == [("two.fc.weight", evidence(16_384, "data/0 in two.bin"))]


def test_what_is_compressed_has_no_place_in_the_file(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w", 8) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    assert wrong(tui_params.check(tmp_path / "b.pt")) == []


def test_a_file_that_was_replaced_has_no_records(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.pt")
    with open_source(tmp_path / "a.pt") as source:
        assert source.records()
        (tmp_path / "a.pt").unlink()
        assert source.records() == ()
        torch.save(STATE, tmp_path / "a.pt")
        assert source.records() == ()


class Counting(MemorySource):
    """Arrays with checksums, which counts what is read of the records."""

    def __init__(self, arrays: dict[str, NDArray[Any]], **options: Any) -> None:
        super().__init__(arrays, **options)
        self.crcs = {name: zlib.crc32(array.tobytes()) for name, array in self.arrays.items()}
        self.again: list[str] = []
        self.lost: str | None = None

    def records(self) -> tuple[Record, ...]:
        return tuple(
            Record("f", name, 0, array.nbytes, self.crcs[name], name, (name,)) for name, array in self.arrays.items()
        )

    def record_blocks(self, record: Record) -> Iterator[memoryview]:
        if record.label == self.lost:
            raise ReadError("the disk is gone")
        self.again.append(record.label)
        yield memoryview(self.arrays[record.label].tobytes())[record.offset : record.offset + record.nbytes]


def numbers(count: int = 4096, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


@given(st.permutations(range(8)), st.integers(0, 9), st.booleans())
@settings(max_examples=40)
def test_parts_in_any_order_are_read_once_random(order: list[int], missing: int, is_wrong: bool) -> None:
    source = Counting({"x": numbers()}, step=128)
    if is_wrong:
        source.crcs["x"] ^= 1
    watching = WatchedSource(source, source.records())
    info = source.find("x")
    for part in order:
        if part != missing:
            drain(watching, info, part * 512, part * 512 + 512)
    found = watching.verify().findings
    assert [finding.rule for finding in found] == (["checksum"] if is_wrong else [])
    assert source.again == (["x"] if missing < 8 else [])


def drain(source: Source, info: TensorInfo, start: int, stop: int) -> None:
    for _ in source.blocks(info, start, stop):
        pass


def test_a_read_that_was_broken_off_counts_as_far_as_it_came() -> None:
    source = Counting({"x": numbers()}, step=128)
    watching = WatchedSource(source, source.records())
    info = source.find("x")
    blocks = watching.blocks(info, 0, 4096)
    next(blocks)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    drain(watching, info, 256, 4096)
    assert watching.verify().findings == ()
    assert source.again == []
    drain(watching, info, 256, 512)
    assert watching.verify().findings == ()
    assert source.again == []


def test_a_check_reads_nothing_twice_and_tells_what_it_cannot_verify() -> None:
    source = Counting({"x": numbers(1 << 16), "y": numbers(8, 1)})
    assert tui_params.check(source).status == "ok"
    assert source.again == []
    source = Counting({"x": numbers(), "y": numbers(8, 1)}, broken={"y": "gone"})
    source.lost = "y"
    source.crcs["x"] ^= 1
    report = tui_params.check(source)
    assert report.findings == (Finding("error", "checksum", "x", evidence(16_384, "x")),)
    assert [(entry.tensor, entry.reason) for entry in report.unchecked] == [
        (None, "the checksum of y could not be verified: the disk is gone"),
        ("y", "gone"),
    ]


def test_it_stops_and_tells_how_far_it_is() -> None:
    source = Counting({"x": numbers()})
    watching = WatchedSource(source, source.records())
    told: list[tuple[int, int]] = []
    assert watching.verify(progress=lambda done, total: told.append((done, total))).unread is None
    assert told == [(16_384, 16_384)]
    with pytest.raises(StoppedError):
        watching.verify(should_stop=lambda: True)


def test_a_source_of_records_is_the_source() -> None:
    source = Counting({"x": numbers()})
    watching = WatchedSource(source, source.records())
    assert watching.read("x", "[:3]").tolist() == source.arrays["x"][:3].tolist()
    assert (watching.data_file(source.find("x")), watching.changed()) == (None, None)
    watching.close()
    assert source.is_closed
    with pytest.raises(ReadError, match="keeps no checksum"):
        MemorySource({}).record_blocks(Record("f", "x", 0, 1, 1))
