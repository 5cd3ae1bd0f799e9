"""Two files with equal tensors are not called the same if one is damaged, or if something in it was passed over."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.factories_memory import MemorySource
from tests.factories_safetensors import entry, file_bytes
from tui_params import compare
from tui_params.core.compare.comparer import Comparison
from tui_params.core.findings import Finding
from tui_params.core.source import Record
from tui_params.errors import ReadError
from tui_params.sources.bytes.extents import ExtentSource

STATE = {f"layers.{i}.weight": torch.randn(8, 8, generator=torch.Generator().manual_seed(i)) for i in range(3)}


def forge_checksum(path: Path, member: str) -> None:
    """Change the checksum that the directory of a zip gives for a member."""
    with zipfile.ZipFile(path) as archive:
        crc = next(info.CRC for info in archive.infolist() if info.filename.endswith(f"/{member}"))
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(crc.to_bytes(4, "little"))] ^= 1
    path.write_bytes(raw)


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"###")


def archives(folder: Path) -> tuple[Path, Path]:
    for name in "ab":
        torch.save(STATE, folder / f"{name}.pt")
    return folder / "a.pt", folder / "b.pt"


def rules(findings: tuple[Finding, ...]) -> list[tuple[str, str | None, str | None]]:
    return [(finding.rule, finding.tensor, finding.file) for finding in findings]


def test_two_healthy_files_are_the_same(tmp_path: Path) -> None:
    a, b = archives(tmp_path)
    save_file(STATE, tmp_path / "c.safetensors")
    for one, other in ((a, b), (a, a), (a, tmp_path / "c.safetensors"), (tmp_path / "c.safetensors", b)):
        found = compare(one, other)
        assert (found.state, found.doubt, found.findings_a, found.findings_b) == ("same", None, (), ())


@pytest.mark.parametrize(
    ("damage", "rule", "tensor"),
    [
        (append, "trailing-bytes", None),
        (lambda path: forge_checksum(path, "data/1"), "checksum", "layers.1.weight"),
        (lambda path: forge_checksum(path, "version"), "checksum", None),
    ],
    ids=["behind", "of a tensor", "of no tensor"],
)
def test_a_damaged_archive(tmp_path: Path, damage: Callable[[Path], None], rule: str, tensor: str | None) -> None:
    a, b = archives(tmp_path)
    damage(b)
    file = "b.pt" if tensor is None else None
    found = compare(a, b)
    assert (found.state, found.doubt) == ("uncompared", "B is damaged or not whole")
    assert (len(found.identical), found.uncompared, found.reason) == (3, (), None)
    assert (rules(found.findings_a), rules(found.findings_b)) == ([], [(rule, tensor, file)])
    found = compare(b, a)
    assert (found.state, found.doubt) == ("uncompared", "A is damaged or not whole")
    assert rules(found.findings_a) == [(rule, tensor, file)]
    save_file(STATE, tmp_path / "c.safetensors")
    assert compare(tmp_path / "c.safetensors", b).doubt == "B is damaged or not whole", "no checksum to compare with"


def read_again(monkeypatch: pytest.MonkeyPatch, a: Path, b: Path) -> tuple[Comparison, list[str]]:
    told: list[str] = []
    honest = ExtentSource.record_blocks

    def counted(self: ExtentSource, record: Record) -> Iterator[memoryview]:
        told.append(record.label)
        return honest(self, record)

    monkeypatch.setattr(ExtentSource, "record_blocks", counted)
    return compare(a, b), told


def test_only_checksums_that_disagree_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = archives(tmp_path)
    assert read_again(monkeypatch, a, b)[1] == []
    forge_checksum(b, "data/2")
    found, again = read_again(monkeypatch, a, b)
    assert (found.doubt, again) == ("B is damaged or not whole", ["data/2", "data/2"])
    changed = STATE | {"layers.0.weight": STATE["layers.0.weight"] + 1}
    torch.save(changed, a)
    found, again = read_again(monkeypatch, a, b)
    assert found.state == "different"
    assert "data/0" not in again, "other values have another checksum"
    assert again.count("data/2") == 2


@pytest.mark.parametrize(
    ("metadata", "behind", "rule"),
    [({"step": 3}, b"", "bad-metadata"), ({"step": "3"}, b"#", "trailing-bytes"), (7, b"", "bad-metadata")],
)
def test_a_damaged_header(tmp_path: Path, metadata: object, behind: bytes, rule: str) -> None:
    data = np.arange(8, dtype=np.float32).tobytes()
    tensors = {"w": entry("F32", (8,), 0)}
    (tmp_path / "a.safetensors").write_bytes(file_bytes({"__metadata__": {"step": "3"}} | tensors, data))
    (tmp_path / "b.safetensors").write_bytes(file_bytes({"__metadata__": metadata} | tensors, data + behind))
    found = compare(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert (found.state, rules(found.findings_b)) == ("uncompared", [(rule, None, "b.safetensors")])


def test_a_shard_that_an_index_cannot_find_is_passed_over(tmp_path: Path) -> None:
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        save_file({"w": STATE["layers.0.weight"]}, folder / "model-00001-of-00002.safetensors")
    assert compare(tmp_path / "a", tmp_path / "b").doubt == "A and B are damaged or not whole"
    for name in "ab":
        save_file({"v": STATE["layers.1.weight"]}, tmp_path / name / "model-00002-of-00002.safetensors")
    assert compare(tmp_path / "a", tmp_path / "b").state == "same"
    (tmp_path / "b" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": 3}))
    found = compare(tmp_path / "a", tmp_path / "b")
    assert (found.state, rules(found.findings_b)) == (
        "uncompared",
        [("bad-index", None, "model.safetensors.index.json")],
    )


@pytest.mark.parametrize(
    ("severity", "rule", "state"),
    [
        ("error", "overlap", "uncompared"),
        ("warning", "walk-limit", "uncompared"),
        ("warning", "zip-duplicates", "uncompared"),
        ("error", "pickle-code", "same"),
        ("warning", "unindexed-whole", "same"),
        ("info", "pickle-classes", "same"),
    ],
)
def test_what_casts_doubt(severity: str, rule: str, state: str) -> None:
    arrays = {"w": np.ones(4, np.float32)}
    finding = Finding(severity, rule, None, "it is so")  # type: ignore[arg-type]
    found = compare(MemorySource(arrays), MemorySource(arrays, findings=(finding,)))
    assert (found.state, found.findings_b) == (state, (finding,))
    other = compare(MemorySource(arrays), MemorySource({"w": np.zeros(4, np.float32)}, findings=(finding,)))
    assert other.state == "different"


def test_a_checksum_that_cannot_be_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def fail(self: object, record: object) -> None:
        raise ReadError("the disk is gone")

    a, b = archives(tmp_path)
    forge_checksum(b, "data/2")
    monkeypatch.setattr(ExtentSource, "record_blocks", fail)
    found = compare(a, b)
    assert found.state == "uncompared"
    assert found.doubt == "in B: the checksum of data/2 could not be verified: the disk is gone"
