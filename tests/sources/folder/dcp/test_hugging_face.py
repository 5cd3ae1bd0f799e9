"""Shards of torch's Hugging Face writer: one model out of the pieces, whose whole shapes are stored nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tui_params.errors import ReadError
from tui_params.sources.detect import open_path

WHOLE = torch.arange(12.0).reshape(6, 2)


def save_shard(folder: Path, rank: int, tensors: dict[str, torch.Tensor], offsets: dict[str, Any]) -> Path:
    """One file, as torch/distributed/checkpoint/hf_storage.py writes it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"shard-{rank + 1:05}-model-00001-of-00001.safetensors"
    info = {name: {"saved_offsets": offset} for name, offset in offsets.items()}
    save_file(tensors, path, {"format": "pt", "DCP_SHARDING_INFO": json.dumps(info)})
    return path


def save_rows(folder: Path) -> list[Path]:
    return [
        save_shard(folder, rank, {"w": WHOLE[2 * rank : 2 * rank + 2].clone()}, {"w": [2 * rank, 0]})
        for rank in range(3)
    ]


def test_the_pieces_are_one_model(tmp_path: Path) -> None:
    save_rows(tmp_path / "ck")
    with open_path(tmp_path / "ck") as source:
        assert source.listing.format == "DCP as safetensors (3 ranks, 3 files)"
        assert source.listing.findings == ()
        assert source.read("w").tolist() == WHOLE.tolist()
        assert [piece.rank for piece in source.pieces_of(source.find("w"))] == [0, 1, 2]


def test_a_shard_that_is_absent_in_the_middle_is_a_hole(tmp_path: Path) -> None:
    save_rows(tmp_path / "ck")[1].unlink()
    with open_path(tmp_path / "ck") as source:
        (finding,) = source.listing.findings
        assert (finding.severity, finding.rule) == ("error", "missing-piece")
        with pytest.raises(ReadError, match="no piece of w has 4 elements"):
            source.read("w")


def test_a_damaged_shard_does_not_hide_the_others(tmp_path: Path) -> None:
    save_rows(tmp_path / "ck")[2].write_bytes(b"?" * 100)
    with open_path(tmp_path / "ck") as source:
        assert source.read("w").tolist() == WHOLE[:4].tolist()
        assert [finding.rule for finding in source.listing.findings] == ["missing-shard"]


@pytest.mark.parametrize("offsets", [{"w": [0]}, {"w": [0, -1]}, {"w": "x"}, 5])
def test_offsets_that_cannot_be_are_told(tmp_path: Path, offsets: Any) -> None:
    save_rows(tmp_path / "ck")
    folder = tmp_path / "ck"
    path = folder / "shard-00003-model-00001-of-00001.safetensors"
    info = {name: {"saved_offsets": each} for name, each in offsets.items()} if isinstance(offsets, dict) else offsets
    save_file({"w": WHOLE[4:].clone()}, path, {"DCP_SHARDING_INFO": json.dumps(info)})
    with open_path(folder) as source:
        assert {finding.severity for finding in source.listing.findings} == {"error"}


def test_shards_that_were_not_consolidated_open_by_the_folder_around_them(tmp_path: Path) -> None:
    save_rows(tmp_path / "sharded")
    with open_path(tmp_path) as source:
        assert source.names() == ["w"]
    save_file({"w": WHOLE}, tmp_path / "model.safetensors")
    with open_path(tmp_path) as source:
        assert source.listing.format == "safetensors"
