"""Comparisons of files whose tensors share bytes: what is read is bounded by the files, not by what they name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.factories_safetensors import entry, file_bytes
from tui_params.api.comparing import compare
from tui_params.core.compare.comparer import Comparison
from tui_params.core.reading import overlaps
from tui_params.sources.detect import open_path

COUNT = 40
NBYTES = 1024


def normal(nbytes: int, seed: int = 3) -> bytes:
    return np.random.default_rng(seed).standard_normal(nbytes // 4).astype(np.float32).tobytes()


def write(path: Path, step: int, data: bytes) -> Path:
    """COUNT tensors of NBYTES, each ``step`` bytes further on."""
    header = {f"layers.{n}.weight": entry("F32", (NBYTES // 32, 8), step * n) for n in range(COUNT)}
    path.write_bytes(file_bytes(header, data))
    return path


def compared(a: Path, b: Path) -> Comparison:
    with open_path(a) as one, open_path(b) as other:
        return compare(one, other)


@pytest.mark.parametrize("change", [0, 1])
def test_the_same_place_on_both_sides_is_read_once(tmp_path: Path, read: list[int], change: int) -> None:
    a = write(tmp_path / "a.safetensors", 0, normal(NBYTES))
    b = write(tmp_path / "b.safetensors", 0, normal(NBYTES, 3 + change))
    found = compared(a, b)
    assert len(found.changed if change else found.identical) == COUNT
    assert sum(read) == 2 * NBYTES


def test_partial_overlaps_are_read_a_few_times_and_the_rest_is_uncompared(tmp_path: Path, read: list[int]) -> None:
    whole = 8 * (COUNT - 1) + NBYTES
    a = write(tmp_path / "a.safetensors", 8, normal(whole))
    b = write(tmp_path / "b.safetensors", NBYTES, normal(NBYTES * COUNT))
    found = compared(a, b)
    assert len(found.uncompared) + len(found.identical) + len(found.changed) == COUNT
    assert len(found.uncompared) == COUNT - overlaps.MOST_READS * whole // NBYTES
    assert {entry.reason for entry in found.uncompared} == {
        "in A: tensors of a.safetensors share bytes or repeat their own, so that no more than 5.22 KiB of it is read:"
        " this one was not"
    }
    # The side that shares nothing is read no further either.
    assert sum(read) <= 2 * overlaps.MOST_READS * whole


def test_ties_that_differ_on_both_sides_are_no_way_around_it(tmp_path: Path, read: list[int]) -> None:
    side = 12
    tensors = [torch.from_numpy(np.frombuffer(normal(NBYTES, n), np.float32).copy()) for n in range(side)]
    pairs = [(i, j) for i in range(side) for j in range(side)]
    torch.save({f"{i}.{j}": tensors[i] for i, j in pairs}, tmp_path / "a.pt")
    torch.save({f"{i}.{j}": tensors[j] for i, j in pairs}, tmp_path / "b.pt")
    found = compared(tmp_path / "a.pt", tmp_path / "b.pt")
    assert sum(read) <= 3 * overlaps.MOST_READS * side * NBYTES
    assert len(found.uncompared) == side * side - overlaps.MOST_READS * side
    assert len(found.identical) + len(found.changed) == overlaps.MOST_READS * side


def test_files_that_share_nothing_and_ordinary_ties_are_compared_whole(
    tmp_path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlaps, "MOST_READS", 1)
    a = write(tmp_path / "a.safetensors", NBYTES, normal(NBYTES * COUNT))
    b = write(tmp_path / "b.safetensors", NBYTES, normal(NBYTES * COUNT))
    assert len(compared(a, b).identical) == COUNT
    assert sum(read) == 2 * NBYTES * COUNT
    weight = torch.randn(8, 8)
    state = {"embed.weight": weight, "fc.weight": torch.randn(8, 8), "lm_head.weight": weight}
    for name in ("c.pt", "d.pt"):
        torch.save(state, tmp_path / name)
    assert len(compared(tmp_path / "c.pt", tmp_path / "d.pt").identical) == 3
    # One side has a copy where the other has a tie.
    monkeypatch.setattr(overlaps, "MOST_READS", 2)
    torch.save({**state, "lm_head.weight": weight.clone()}, tmp_path / "d.pt")
    found = compared(tmp_path / "c.pt", tmp_path / "d.pt")
    assert (len(found.identical), found.uncompared) == (3, ())
