"""What is still to come: counted without asking anybody, by what is in memory and what is kept on this disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.factories_remote import FolderTransport, mounted
from tui_params.cache.pieces import PieceCache
from tui_params.core.compare.both import BothSources
from tui_params.core.compare.difference_source import DifferenceSource
from tui_params.core.packed.logical import LogicalSource
from tui_params.sources.detect import open_path
from tui_params.sources.remote.segments import Spans

NBYTES = 400 * 300 * 4


@pytest.fixture
def elsewhere(tmp_path: Path) -> FolderTransport:
    (tmp_path / "server").mkdir()
    for name in ("x", "y"):
        tensors = {"a": torch.zeros(2000), "w": torch.randn(400, 300)}
        save_file(tensors, tmp_path / "server" / f"{name}.safetensors")
    return FolderTransport(tmp_path / "server")


def test_a_tensor_costs_what_has_not_come(elsewhere: FolderTransport) -> None:
    with mounted(elsewhere) as path, open_path(path / "x.safetensors") as source:
        info, asked = source.find("w"), len(elsewhere.asked)
        assert source.to_fetch(info) == NBYTES
        assert len(elsewhere.asked) == asked
        source.read("w", "100:150")
        assert NBYTES - 70_000 < source.to_fetch(info) <= NBYTES - 50 * 300 * 4
        source.read("w")
        assert source.to_fetch(info) == 0
    with open_path(elsewhere.folder / "x.safetensors") as here:
        assert here.to_fetch(here.find("w")) == 0


def test_sources_over_others_hand_the_line_on(elsewhere: FolderTransport) -> None:
    with mounted(elsewhere) as path, open_path(path / "x.safetensors") as a, open_path(path / "y.safetensors") as b:
        both = BothSources(a, b)
        difference = DifferenceSource(a, b, both.comparer.structure.pairs)
        logical = LogicalSource(a)
        assert both.line is a.line is difference.line is logical.line is not None
        assert difference.to_fetch(difference.find("w")) == 2 * NBYTES
        assert both.to_fetch(both.find("w")) == logical.to_fetch(logical.find("w")) == NBYTES
        with mounted(FolderTransport(elsewhere.folder)) as third, open_path(third / "x.safetensors") as c:
            joint = BothSources(a, c).line
            assert joint is not None
            assert a.line is not None
            assert c.line is not None
            assert joint.traffic.nbytes == a.line.traffic.nbytes + c.line.traffic.nbytes
            assert joint.address == "test://server/models and test://server/models"
        with open_path(elsewhere.folder / "x.safetensors") as here:
            assert BothSources(here, a).line is a.line


def test_what_is_kept_on_this_disk_is_not_fetched_again_when_memory_had_no_room(
    elsewhere: FolderTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_params.sources.remote.ranged_file.PIECE", 50_000)
    monkeypatch.setattr("tui_params.sources.remote.ranged_file.AHEAD", 50_000)
    monkeypatch.setattr("tui_params.sources.remote.mounted._MOST_HELD", 300_000)
    with mounted(elsewhere, PieceCache(tmp_path / "pieces")) as path, open_path(path / "x.safetensors") as source:
        first = source.read("w", "0:200")
        source.read("w", "200:400")
        before = elsewhere.nbytes
        assert source.to_fetch(source.find("w")) == 0
        assert (source.read("w", "0:200") == first).all()
        assert elsewhere.nbytes == before


def test_spans_that_touch_a_part() -> None:
    spans = Spans([(0, 10), (5, 30), (40, 50)])
    spans.add(60, 61)
    spans.add(60, 61)
    assert spans.touching(20, 41) == ((5, 30), (40, 50))
    assert spans.touching(30, 40) == ()
    assert spans.touching(60, 100) == ((60, 61),)
    spans.drop(5, 30)
    spans.drop(7, 8)
    assert spans.touching(0, 100) == ((0, 10), (40, 50), (60, 61))
