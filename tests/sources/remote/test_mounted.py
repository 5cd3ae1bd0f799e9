from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.factories_remote import FolderTransport, mount_of, mounted
from tui_params.api.checking import check
from tui_params.sources.detect import open_path
from tui_params.sources.remote import ranged_file


def header_nbytes(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def write_shards(folder: Path, count: int = 5) -> dict[str, torch.Tensor]:
    """Shards whose headers are longer than what detection looks at, with their index."""
    weight_map: dict[str, str] = {}
    tensors: dict[str, torch.Tensor] = {}
    for number in range(count):
        name = f"model-{number + 1:05}-of-{count:05}.safetensors"
        part = {f"layers.{number}.block.{index}.weight": torch.randn(40, 16) for index in range(20)}
        save_file(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
        tensors |= part
    text = json.dumps({"metadata": {}, "weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(text)
    return tensors


@pytest.fixture
def elsewhere(tmp_path: Path) -> FolderTransport:
    return FolderTransport(tmp_path)


def headers_of(transport: FolderTransport) -> int:
    return sum(header_nbytes(path) for path in transport.folder.glob("*.safetensors"))


@pytest.mark.parametrize("lists", [True, False])
def test_a_listing_costs_the_headers_and_two_requests_a_shard(elsewhere: FolderTransport, lists: bool) -> None:
    tensors = write_shards(elsewhere.folder)
    elsewhere.lists = lists
    with mounted(elsewhere) as path, open_path(path) as source:
        assert {info.name for info in source.listing.tensors} == set(tensors)
        shards = [each for each in elsewhere.asked if "-of-" in each[0]]
        tried = [each for each in elsewhere.asked if each not in shards]
        assert all(sum(each[0] == name for each in shards) <= 2 for name, _, _ in shards)
        index = (elsewhere.folder / "model.safetensors.index.json").stat().st_size
        assert elsewhere.nbytes == headers_of(elsewhere) + index
        assert len(tried) <= (2 if lists else 13)
        assert mount_of(path).traffic.nbytes == elsewhere.nbytes


def test_a_tensor_costs_its_bytes_and_a_window_its_rows(elsewhere: FolderTransport) -> None:
    values = torch.randn(3000, 700)
    save_file({"a": torch.zeros(5), "w": values}, elsewhere.folder / "x.safetensors")
    with mounted(elsewhere) as path, open_path(path / "x.safetensors") as source:
        before = elsewhere.nbytes
        np.testing.assert_array_equal(source.read("w", "100:103, 5:9"), values[100:103, 5:9].numpy())
        assert elsewhere.nbytes - before <= 3 * 700 * 4
        before = elsewhere.nbytes
        assert source.summarize("w").figures(values.numel()).min == float(values.min())
        assert elsewhere.nbytes - before <= values.nbytes
        before = elsewhere.nbytes
        np.testing.assert_array_equal(source.read("w", "200:210"), values[200:210].numpy())
        assert elsewhere.nbytes == before


def test_columns_far_apart_are_fetched_side_by_side(elsewhere: FolderTransport) -> None:
    values = torch.randn(60, 50_000)  # the first column is in the bytes that told the size
    save_file({"w": values}, elsewhere.folder / "x.safetensors")
    with mounted(elsewhere) as path, open_path(path / "x.safetensors") as source:
        before, requests = elsewhere.nbytes, len(elsewhere.asked)
        np.testing.assert_array_equal(source.read("w", ":, 7:9"), values[:, 7:9].numpy())
        assert (elsewhere.nbytes - before, len(elsewhere.asked) - requests) == (59 * 8, 59)


def test_large_tensors_come_in_pieces_each_once(elsewhere: FolderTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged_file, "PIECE", 50_000)
    monkeypatch.setattr(ranged_file, "AHEAD", 200_000)
    values = torch.randn(300, 1000)
    save_file({"w": values}, elsewhere.folder / "x.safetensors")
    with mounted(elsewhere) as path, open_path(path / "x.safetensors") as source:
        before = len(elsewhere.asked)
        assert source.summarize("w").count == values.numel()
        np.testing.assert_array_equal(source.read("w", "::3"), values[::3].numpy())
        asked = elsewhere.asked[before:]
        assert len(asked) == len(set(asked)) == 24
        assert all(end - begin <= 50_000 for _, begin, end in asked)


def test_what_is_held_in_memory_is_bounded(elsewhere: FolderTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged_file, "PIECE", 10_000)
    monkeypatch.setattr("tui_params.sources.remote.mounted._MOST_HELD", 40_000)
    values = torch.randn(100, 1000)
    save_file({"w": values}, elsewhere.folder / "x.safetensors")
    with mounted(elsewhere) as path, open_path(path / "x.safetensors") as source:
        assert source.summarize("w").count == values.numel()
        mount = mount_of(path)
        assert mount._held_nbytes <= 40_000
        assert sum(file._segments.nbytes for file in mount._files.values()) <= 40_000
        np.testing.assert_array_equal(source.read("w"), values.numpy())


def test_the_same_findings_and_values_as_on_this_disk(elsewhere: FolderTransport) -> None:
    write_shards(elsewhere.folder)
    torch.save({"a": torch.tensor([1.0, float("nan")])}, elsewhere.folder / "extra.pt")
    for name in ("", "extra.pt"):
        with open_path(elsewhere.folder / name) as here, mounted(elsewhere) as path, open_path(path / name) as there:
            assert there.listing.tensors == here.listing.tensors
            ours, theirs = check(here), check(there)
            assert [each.evidence for each in theirs.findings] == [each.evidence for each in ours.findings]
            assert theirs.checked == ours.checked
