"""Indexes that name many tensors which are not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.factories_safetensors import entry, file_bytes, write_index
from tui_params.core.health.checker import check
from tui_params.core.source import Source
from tui_params.errors import OpenError
from tui_params.sources.detect import open_path
from tui_params.sources.folder import index_faults, shard_index

HERE, LOST = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def write(folder: Path, absent: int, shard: str = HERE) -> Source:
    """A folder of one shard with one tensor, whose index names so many more."""
    (folder / HERE).write_bytes(file_bytes({"a": entry("F32", (2,), 0)}, bytes(range(1, 9))))
    write_index(folder, {"a": HERE} | {f"layers.{number}.weight": shard for number in range(absent)})
    return open_path(folder)


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_faults, "MAX_ABSENT", 50)
    monkeypatch.setattr(index_faults, "LISTED_ABSENT", 10)


@pytest.mark.parametrize("shard", [HERE, LOST])
def test_so_many_absent_tensors_are_listed_one_by_one(tmp_path: Path, shard: str) -> None:
    source = write(tmp_path, 50, shard)
    assert len(source.listing.tensors) == 51
    assert source.listing.unlisted is None
    report = check(source)
    assert (report.status, report.checked, len(report.unchecked)) == ("findings", 1, 50)
    assert "index.not_listed" not in source.listing.metadata


@pytest.mark.parametrize("shard", [HERE, LOST])
def test_more_are_counted_and_the_source_itself_is_unchecked(tmp_path: Path, shard: str) -> None:
    source = write(tmp_path, 51, shard)
    index = "model.safetensors.index.json"
    sentence = f"{index} names 51 tensors that are in no shard that could be opened: the first 10 are listed"
    assert len(source.listing.tensors) == 11
    assert source.listing.metadata["index.not_listed"] == sentence
    report = check(source)
    assert (report.status, report.checked, len(report.unchecked)) == ("findings", 1, 11)
    assert (report.unchecked[0].tensor, report.unchecked[0].reason) == (None, sentence)
    found = [finding for finding in report.findings if finding.evidence == sentence]
    assert [(each.severity, each.rule, each.tensor) for each in found] == [("error", "missing-tensor", None)]


def test_every_absent_tensor_has_the_reason_of_its_own_shard(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(file_bytes({"a": entry("F32", (2,), 0)}, bytes(range(1, 9))))
    (tmp_path / "y.safetensors").write_bytes(file_bytes({"b": entry("F32", (2,), 0)}, bytes(range(1, 9))))
    x, y, z = "x.safetensors", "y.safetensors", "z.safetensors"
    write_index(tmp_path, {"a": x, "b": y, "c": x, "d": y, "e": z})
    source = open_path(tmp_path)
    reasons = {info.name: info.unreadable or "" for info in source.listing.tensors}
    assert reasons["a"] == reasons["b"] == ""
    assert "it is in x.safetensors, but it is not there" in reasons["c"]
    assert "it is in y.safetensors, but it is not there" in reasons["d"]
    assert "its shard z.safetensors is missing" in reasons["e"]


def test_a_long_index_is_read_as_a_short_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Names that json.loads would not share either: each is parsed anew.
    places = {f"layers.{number}.weight": f"model-{number % 3}.safetensors" for number in range(20)}
    path = write_index(tmp_path, places, total_size=5)
    short = shard_index.read_index(path)
    monkeypatch.setattr(shard_index, "_REPEATING_NBYTES", 1)
    long = shard_index.read_index(path)
    assert (long.weight_map, long.metadata) == (short.weight_map, short.metadata) == (places, {"total_size": 5})
    assert all(type(name) is str for name in long.weight_map.values())
    assert len({id(name) for name in long.weight_map.values()}) == 3
    for wrong in ("3", "null", "[]", "{}"):
        path.write_text(f'{{"weight_map": {{"a": "x", "b": {wrong}}}}}')
        with pytest.raises(OpenError, match="is not the index of a sharded checkpoint"):
            shard_index.read_index(path)
    path.write_text(json.dumps({"weight_map": {}}))
    assert shard_index.read_index(path).weight_map == {}


def test_few_names_that_are_long_are_counted_as_many_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sum(len(f"layers.{number}.weight") for number in range(20))
    monkeypatch.setattr(index_faults, "MAX_ABSENT_CHARACTERS", names)
    assert len(write(tmp_path, 20).listing.tensors) == 21
    monkeypatch.setattr(index_faults, "MAX_ABSENT_CHARACTERS", names - 1)
    source = write(tmp_path, 20)
    assert len(source.listing.tensors) == 11
    assert "names 20 tensors that are in no shard" in (source.listing.unlisted or "")
    assert check(source).status == "findings"


def test_an_index_that_names_more_files_than_any_checkpoint_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_index, "MAX_SHARDS", 5)
    (tmp_path / HERE).write_bytes(file_bytes({"a": entry("F32", (2,), 0)}, bytes(range(1, 9))))
    places = {f"layers.{number}.weight": f"x{number}.safetensors" for number in range(4)}
    write_index(tmp_path, {"a": HERE} | places)
    assert len(open_path(tmp_path).listing.tensors) == 5
    write_index(tmp_path, {"a": HERE, "b": "y.safetensors"} | places)
    source = open_path(tmp_path)
    assert [info.name for info in source.listing.tensors] == ["a"]
    (finding,) = [finding for finding in source.listing.findings if finding.rule == "bad-index"]
    assert finding.severity == "error"
    assert "names 6 files, and no checkpoint has more than 5" in finding.evidence
    (tmp_path / HERE).unlink()
    with pytest.raises(OpenError, match="names 6 files"):
        open_path(tmp_path)
