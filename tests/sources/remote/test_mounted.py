from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.factories_remote import FolderTransport, mount_of, mounted
from tui_params.api.checking import check
from tui_params.core.reading.outcome import Outcome
from tui_params.core.reading.sweep import scan_all
from tui_params.core.tensor import TensorInfo
from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.sources.bytes import far
from tui_params.sources.detect import open_path
from tui_params.sources.remote import ranged_file
from tui_params.sources.remote.mounted import HEAD_NBYTES
from tui_params.sources.remote.transport import Piece


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


@pytest.mark.parametrize("kind", ["torch", "numpy", "folder"])
def test_other_formats(elsewhere: FolderTransport, kind: str) -> None:
    names = {"torch": "x.pt", "numpy": "x.npz", "folder": "step/model.safetensors"}
    values = torch.randn(200, 30)
    (elsewhere.folder / "step").mkdir()
    torch.save({f"layer.{index}": values + index for index in range(30)}, elsewhere.folder / "x.pt")
    np.savez(elsewhere.folder / "x.npz", w=values.numpy())
    save_file({"w": values}, elsewhere.folder / "step" / "model.safetensors")
    with open_path(elsewhere.folder / names[kind]) as here, mounted(elsewhere) as path:
        there = open_path(path / names[kind])
        assert there.listing.tensors == here.listing.tensors
        for info in here.listing.tensors:
            np.testing.assert_array_equal(there.read(info.name), here.read(info.name))


def test_a_file_that_is_replaced_while_it_is_open_is_stale(elsewhere: FolderTransport) -> None:
    target = elsewhere.folder / "x.safetensors"
    save_file({"w": torch.zeros(2000, 30)}, target)
    with mounted(elsewhere) as path, open_path(path / "x.safetensors") as source:
        save_file({"w": torch.ones(2000, 30)}, target)
        assert source.changed() is None
        with pytest.raises(SourceChangedError, match=r"^x\.safetensors was replaced on the server after it was opened"):
            source.read("w")
        assert "replaced" in (source.changed() or "")
        with open_path(path / "x.safetensors") as again:
            mount_of(path).renew()
            with pytest.raises(SourceChangedError):
                again.read("w")
        with open_path(path / "x.safetensors") as again:
            assert float(again.read("w").sum()) == 60_000
        target.unlink()
        mount_of(path).renew()
        with pytest.raises(OpenError, match=r"no such file or folder: test://server/models/x\.safetensors"):
            open_path(path / "x.safetensors")


def test_what_the_server_says_stands_where_the_values_would(elsewhere: FolderTransport) -> None:
    save_file({"w": torch.zeros(2000, 30)}, elsewhere.folder / "x.safetensors")

    def refuse(path: str, begin: int, end: int) -> None:
        raise ReadError("server: 403, the token is refused")

    with mounted(elsewhere) as path:
        with open_path(path / "x.safetensors") as source:
            elsewhere.before = refuse
            with pytest.raises(ReadError, match=r"^x\.safetensors cannot be read: server: 403, the token is refused$"):
                source.read("w")
            assert source.changed() is None
            assert [each.reason for each in check(source).unchecked] == [
                "x.safetensors cannot be read: server: 403, the token is refused"
            ]
            elsewhere.before = lambda path, begin, end: None
            assert source.read("w").shape == (2000, 30)
        mount_of(path).renew()
        elsewhere.before = refuse
        with pytest.raises(OpenError, match=r"^test://server/models/x\.safetensors cannot be opened: server: 403"):
            open_path(path / "x.safetensors")


def test_fewer_bytes_than_asked_for_are_an_error(elsewhere: FolderTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"w": torch.ones(2000, 30)}, elsewhere.folder / "x.safetensors")
    with mounted(elsewhere) as path, open_path(path / "x.safetensors") as source:
        whole = elsewhere.fetch
        monkeypatch.setattr(elsewhere, "fetch", lambda *args: cut(whole(*args)))

        def cut(piece: Piece) -> Piece:
            return Piece(piece.data[:-1], piece.size, piece.version)

        with pytest.raises(ReadError, match="the server sent 239,055 of 239,056 bytes at 1,024"):
            source.read("w")


def test_an_index_cannot_lead_elsewhere(elsewhere: FolderTransport) -> None:
    inside = elsewhere.folder / "inside"
    inside.mkdir()
    save_file({"w": torch.zeros(3)}, elsewhere.folder / "secret.safetensors")
    weight_map = {"w": "../secret.safetensors", "x": "https://host/x.safetensors"}
    (inside / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for elsewhere.lists in (True, False):
        with mounted(elsewhere) as path, open_path(path / "inside") as source:
            assert {finding.rule for finding in source.listing.findings} == {"outside-folder"}
            assert not [each for each in elsewhere.asked if "secret" in each[0] or "host" in each[0]]


def test_an_unknown_mount_is_no_file() -> None:
    path = Path("//nobody/x.safetensors")
    assert far.is_far(path)
    with pytest.raises(OpenError, match="no such file"):
        open_path(path)


def test_the_first_bytes_tell_the_size() -> None:
    assert HEAD_NBYTES == 1024  # as many as detection looks at


def test_neighbours_that_are_all_read_come_together(elsewhere: FolderTransport) -> None:
    tensors = {f"layers.{index}.weight": torch.randn(50, 40) for index in range(200)}
    save_file(tensors, elsewhere.folder / "x.safetensors")
    with mounted(elsewhere) as path, open_path(path / "x.safetensors") as source:
        report = check(source)
        assert report.checked == 200
        assert len(elsewhere.asked) <= 4
        assert elsewhere.nbytes == (elsewhere.folder / "x.safetensors").stat().st_size


def test_tensors_that_are_known_are_not_fetched(elsewhere: FolderTransport) -> None:
    tensors = {f"layers.{index}.weight": torch.randn(500, 400) for index in range(20)}
    save_file(tensors, elsewhere.folder / "x.safetensors")
    with mounted(elsewhere) as path, open_path(path / "x.safetensors") as source:
        delivered: list[Outcome] = []
        half = {info.name for info in source.listing.tensors[:10]}
        before = elsewhere.nbytes

        def known(info: TensorInfo) -> Outcome | None:
            return Outcome(info.name, None, "known", True) if info.name in half else None

        scan_all(source, list(tensors), delivered.append, known=known)
        assert len(delivered) == 20
        assert elsewhere.nbytes - before == 10 * 500 * 400 * 4
