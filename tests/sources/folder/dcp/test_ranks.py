"""What several processes save together is read as torch gathers it; ``just formats`` runs all ways, with 2 and 4."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests.factories_dcp import raw_bytes
from tests.factories_planted import assert_healthy, assert_nan_is_named
from tui_params.api.checking import check
from tui_params.sources.detect import open_path

ROOT = Path(__file__).parents[4]
ALL = bool(os.environ.get("TUI_PARAMS_FORMATS"))
WAYS = (
    *("fsdp2", "hybrid", "placements", "tensor_parallel", "fsdp1", "by_rank", "hugging_face", "payload"),
    *(("compressed",) if find_spec("zstandard") else ()),
    "in_background",
    "megatron",
)
PLANTED = {
    "fsdp2": "model.layers.1.mlp.weight",
    "placements": "transposed",
    "tensor_parallel": "2.weight",
    "megatron": "decoder.layers.weight",
}
"""The tensor in which a NaN is planted, where it is not the usual one."""


def save(folder: Path, ranks: int, *ways: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.factories_ranks", str(folder), str(ranks), *ways],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]


def assert_as_gathered(folder: Path, way: str, ranks: int) -> None:
    expected = torch.load(folder / f"{way}.whole.pt", weights_only=False)
    with open_path(folder / way) as source:
        assert not [finding for finding in source.listing.findings if finding.severity != "info"]
        assert f"({ranks} ranks, " in source.listing.format
        for name, tensor in expected.items():
            info = source.find(name)
            assert info.shape == tuple(tensor.shape)
            assert b"".join(block.tobytes() for block in source.blocks(info)) == raw_bytes(tensor), name
            assert source.read(name).tobytes() == raw_bytes(tensor), name
        assert check(source).status == "ok"


def test_two_ranks(tmp_path: Path) -> None:
    ways = ("fsdp2", "by_rank", "hugging_face")
    save(tmp_path, 2, *ways)
    for way in ways:
        assert_as_gathered(tmp_path, way, 2)
    with open_path(tmp_path / "fsdp2") as source:
        pieces = source.pieces_of(source.find("model.emb.weight"))
        assert [(piece.rank, str(piece)) for piece in pieces] == [(0, "[0:4, 0:8]"), (1, "[4:7, 0:8]")]
        assert source.find("optim.state.layers.0.attn.weight.exp_avg").notes == ("state of layers.0.attn.weight",)
        assert source.listing.metadata["optim.param_groups.0.lr"] == "0.01"
    with open_path(tmp_path / "by_rank") as source:
        assert (source.listing.metadata["rank.rank_0"], source.listing.metadata["rank.rank_1"]) == ("0", "1")


@pytest.mark.skipif(not ALL, reason="takes a minute: just formats")
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("way", WAYS)
def test_every_way(tmp_path: Path, way: str, ranks: int) -> None:
    save(tmp_path, ranks, way)
    assert_as_gathered(tmp_path, way, ranks)
    assert_healthy(tmp_path / way)
    if way != "compressed":
        assert_nan_is_named(tmp_path / way, PLANTED.get(way, "layers.1.mlp.weight"))
