"""A composite of sources: every method of a source works through it, with the names and files of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.factories_memory import MemorySource
from tui_params.core.adapter_config import AdapterConfig
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check
from tui_params.core.piece import Piece
from tui_params.core.source import Listing, Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError, SourceChangedError
from tui_params.sources.detect import open_path
from tui_params.sources.folder.composite import CompositeSource, Part, combine


class Stitched(MemorySource):
    """A source that says in which pieces a tensor lies."""

    def pieces_of(self, info: TensorInfo) -> tuple[Piece, ...]:
        return (Piece((0,), (2,), "x.pt", 64, 8), Piece((2,), (1,), "x.pt", 80, 4))


@pytest.fixture
def parts(tmp_path: Path) -> list[Part]:
    """A model as it is, one in a subfolder with a file of the same name, and a state."""
    (tmp_path / "unet").mkdir()
    save_file({"w": torch.arange(4.0), "v": torch.arange(4.0).reshape(2, 2)}, tmp_path / "model.safetensors")
    torch.save({"w": torch.arange(3.0), "tied": None}, tmp_path / "unet" / "model.pt")
    shared = torch.arange(6.0)
    torch.save({"state": {0: {"exp_avg": shared, "again": shared}}}, tmp_path / "optimizer.pt")
    return [
        Part(open_path(tmp_path / "model.safetensors")),
        Part(open_path(tmp_path / "unet" / "model.pt"), "unet", "unet/", "unet/"),
        Part(open_path(tmp_path / "optimizer.pt"), "optimizer", "", "optimizer.pt", is_state=True),
    ]


def whole(parts: list[Part]) -> CompositeSource:
    return CompositeSource("run/", combine("form", parts), parts)


def test_values_come_from_the_part_that_has_them(parts: list[Part]) -> None:
    source = whole(parts)
    assert source.names() == ["v", "w", "unet.w", "optimizer.state.0.exp_avg", "optimizer.state.0.again"]
    np.testing.assert_array_equal(source.read("w"), np.arange(4))
    np.testing.assert_array_equal(source.read("unet.w", "[1:]"), [1, 2])
    assert b"".join(b.tobytes() for b in source.blocks(source.find("unet.w"))) == np.arange(3, dtype="<f4").tobytes()
    assert source.find("optimizer.state.0.again").tied_to == "optimizer.state.0.exp_avg"
    assert source.summarize("optimizer.state.0.exp_avg").figures(6).max == 5
    with pytest.raises(ReadError, match="in no part of run/"):
        CompositeSource("run/", source.listing, parts[1:]).read("w")


def test_files_bear_the_path_from_the_whole(parts: list[Part]) -> None:
    source = whole(parts)
    assert [source.find(name).file for name in ("w", "unet.w", "optimizer.state.0.exp_avg")] == [
        "model.safetensors", "unet/model.pt", "optimizer.pt",
    ]  # fmt: skip
    file, offset = source.file_range(source.find("unet.w")) or ("", 0)
    assert file == "unet/model.pt"
    stored = {entry.name: entry.nbytes for entry in source.stored_files()}
    assert set(stored) == {"model.safetensors", "unet/model.pt", "optimizer.pt"}
    data = b"".join(bytes(block) for block in source.file_blocks(file, offset, offset + 12))
    assert data == np.arange(3, dtype="<f4").tobytes()
    with pytest.raises(ReadError, match="no file of run/"):
        list(source.file_blocks("model.pt", 0, 1))
    found = source.data_file(source.find("unet.w"))
    assert found is not None
    assert (found[0].path.name, found[1].name) == ("model.pt", "w")


def test_checksums_are_verified_through_it(parts: list[Part], tmp_path: Path) -> None:
    source = whole(parts)
    records = {record.label: record for record in source.records()}
    record = records["data/0 in unet/model.pt"]
    assert (record.file, record.tensor, record.covering) == ("unet/model.pt", "unet.w", ("unet.w",))
    assert b"".join(bytes(block) for block in source.record_blocks(record)) == np.arange(3, dtype="<f4").tobytes()
    assert records["data/0 in optimizer.pt"].covering == ("optimizer.state.0.exp_avg", "optimizer.state.0.again")
    assert check(source).status == "ok"
    path = tmp_path / "unet" / "model.pt"
    content = bytearray(path.read_bytes())
    content[record.offset] ^= 1
    path.write_bytes(content)
    parts[1] = Part(open_path(path), "unet", "unet/", "unet/")
    assert ("checksum", "unet.w") in [(finding.rule, finding.tensor) for finding in check(whole(parts)).findings]


def test_places_of_parts_are_apart(parts: list[Part]) -> None:
    source = whole(parts)
    first, again = (source.place(source.find(f"optimizer.state.0.{name}")) for name in ("exp_avg", "again"))
    assert first is not None
    assert first == again
    assert source.place(source.find("w")) != source.place(source.find("unet.w"))


def test_pieces_bear_the_path_from_the_whole() -> None:
    part = Part(Stitched({"w": np.zeros(3, np.float32)}), "optimizer", "optimizer_0/", is_state=True)
    source = whole([part])
    assert [(piece.file, piece.offset) for piece in source.pieces_of(source.find("optimizer.w"))] == [
        ("optimizer_0/x.pt", 64), ("optimizer_0/x.pt", 80),
    ]  # fmt: skip
    assert whole([Part(part.source)]).pieces_of(part.source.find("w"))[0].file == "x.pt"


def test_changes_and_closing_reach_every_part(parts: list[Part], tmp_path: Path) -> None:
    source = whole(parts)
    assert source.changed() is None
    (tmp_path / "unet" / "model.pt").write_bytes(b"")
    assert "model.pt" in (source.changed() or "")
    with pytest.raises(SourceChangedError):
        source.read("unet.w")
    source.close()
    with pytest.raises(ReadError, match="closed"):
        source.read("w")


def test_what_parts_say_is_said_of_the_whole() -> None:
    def part(prefix: str, folder: str, *findings: Finding, is_state: bool = False) -> Part:
        source = MemorySource({"w": np.zeros(1)}, findings=findings)
        listing = Listing(
            "form", source.listing.tensors, {"step": "3"}, {"": "Net", "m": "Linear"}, {}, findings,
            not_opened=("y.bin",), adapters=(AdapterConfig("a.json", "base", "LORA", 8, 16.0),),
            absences={"w": "frozen"},
        )  # fmt: skip
        source.listing = listing
        return Part(source, prefix, folder, folder or None, is_state)

    findings = (
        Finding("error", "nan", "w", "x"),
        Finding("error", "gap", None, "x", module="m"),
        Finding("error", "truncated", None, "x", file="f"),
        Finding("info", "several-models", None, "x"),
    )
    listing = combine("form", [part("a", "a/", *findings), part("b", "b/", is_state=True)], [findings[3]])
    assert [(found.tensor, found.module, found.file) for found in listing.findings] == [
        (None, None, None), ("a.w", None, None), (None, "a.m", None), (None, None, "a/f"), (None, None, "a/"),
    ]  # fmt: skip
    assert listing.metadata == {"a.step": "3", "b.step": "3"}
    assert listing.modules == {"a": "Net", "a.m": "Linear", "b": "Net", "b.m": "Linear"}
    assert listing.not_opened == ("a/y.bin", "b/y.bin")
    assert [config.prefix for config in listing.adapters] == ["a.base", "b.base"]
    assert listing.absences == {"a.w": "frozen", "b.w": "frozen"}
    assert (listing.states, listing.models) == (("b",), {})


def test_a_part_as_it_is_costs_nothing() -> None:
    source: Source = MemorySource({"w": np.zeros(1)})
    composite = whole([Part(source), Part(MemorySource({"x": np.ones(1)}), "s", is_state=True)])
    assert composite.listing.tensors[0] is source.listing.tensors[0]
    assert list(composite._owners) == ["s.x"]
