"""Files compared with the digests that the hub gives them: verified, other, and those of which nothing is known."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save

import tui_params
from tests.factories_hub import COMMIT, download, git_hash, sha256, store
from tests.factories_memory import MemorySource
from tests.factories_safetensors import entry, file_bytes
from tui_params.api.opening import open_source
from tui_params.core.health import digests
from tui_params.core.health.checker import Report
from tui_params.core.health.verification import VerifiedFile
from tui_params.core.reading import gather
from tui_params.errors import StoppedError
from tui_params.sources.bytes import local
from tui_params.sources.bytes.extents import ExtentSource

WEIGHTS = save({f"layers.{i}.weight": np.random.default_rng(i).normal(size=(64, 64)) for i in range(3)})
CONFIG = b'{"model_type": "tiny"}'


def flip(path: Path, at: int = -1) -> None:
    """Flip a bit of one byte, and keep the time of the last change."""
    status, raw = path.stat(), bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def states(report: Report) -> dict[str, str]:
    return {file.file: file.state for file in report.files}


def only(report: Report) -> VerifiedFile:
    (file,) = report.files
    return file


def rules(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings if finding.rule in ("digest", "unfinished-download")]


def test_a_file_of_the_cache_is_verified(tmp_path: Path) -> None:
    path = store(tmp_path / "models--a--b", "model.safetensors", WEIGHTS)
    report = tui_params.check(path, verify=True)
    assert (report.status, report.unverified, rules(report)) == ("ok", 0, [])
    digest = sha256(WEIGHTS)
    where = "the name of its blob in the cache"
    assert only(report) == VerifiedFile("model.safetensors", "verified", "sha256", digest, digest, where)
    assert only(report).words == f"verified: SHA-256 {digest[:12]}… ({where})"


def test_nothing_is_verified_unless_it_is_asked_for(tmp_path: Path) -> None:
    path = store(tmp_path / "models--a--b", "model.safetensors", WEIGHTS)
    flip(path)
    report = tui_params.check(path)
    assert (report.status, report.files) == ("ok", ())


@pytest.mark.parametrize("at", [20, -1, len(WEIGHTS) // 2])
def test_a_flipped_bit_is_an_error_with_both_digests(at: int, tmp_path: Path) -> None:
    path = store(tmp_path / "models--a--b", "model.safetensors", WEIGHTS)
    flip(path, at)
    report = tui_params.check(path, verify=True)
    changed = path.read_bytes()
    assert (report.status, states(report)) == ("findings", {"model.safetensors": "mismatch"})
    (finding,) = [finding for finding in report.findings if finding.rule == "digest"]
    assert (finding.severity, finding.tensor, finding.file) == ("error", None, "model.safetensors")
    assert finding.evidence == (
        f"it is not the file of the hub: its SHA-256 is {sha256(changed)}, but {sha256(WEIGHTS)} on the"
        " hub (the name of its blob in the cache)"
    )


def test_a_small_file_has_the_hash_of_its_git_blob(tmp_path: Path) -> None:
    repository = tmp_path / "models--a--b"
    store(repository, "model.safetensors", WEIGHTS)
    config = store(repository, "config.json", CONFIG, git_hash(CONFIG))
    report = tui_params.check(config.parent, verify=True)
    assert states(report) == {"model.safetensors": "verified", "config.json": "verified"}
    assert report.files[1].algorithm == "git-sha1"
    flip(config, 3)
    report = tui_params.check(config.parent, verify=True)
    assert states(report) == {"model.safetensors": "verified", "config.json": "mismatch"}
    assert report.findings[0].file == "config.json"
    assert "it is not the file of the hub: its git hash is" in report.findings[0].evidence


def test_a_blob_that_links_to_the_shared_store(tmp_path: Path) -> None:
    # The name there is a Xet hash, which has as many digits as a SHA-256.
    xet = "ab" + 62 * "0"
    shared = tmp_path / "blobs" / "ab" / xet
    shared.parent.mkdir(parents=True)
    shared.write_bytes(WEIGHTS)
    path = store(tmp_path / "models--a--b", "model.safetensors", WEIGHTS)
    blob = tmp_path / "models--a--b" / "blobs" / sha256(WEIGHTS)
    blob.unlink()
    blob.symlink_to(Path("..", "..", "blobs", "ab", xet))
    assert states(tui_params.check(path, verify=True)) == {"model.safetensors": "verified"}
    link = tmp_path / "a" / "link.safetensors"
    link.parent.mkdir()
    link.symlink_to(path.parent)
    assert states(tui_params.check(link / "model.safetensors", verify=True)) == {"model.safetensors": "verified"}
    file = only(tui_params.check(shared, verify=True))
    assert (file.state, file.reason) == (
        "unverified",
        "the shared store of the cache names it by its Xet hash, which is not computed here",
    )


def test_a_copy_in_a_snapshot_is_compared_with_the_list_of_the_commit(tmp_path: Path) -> None:
    repository = tmp_path / "models--a--b"
    path = repository / "snapshots" / COMMIT / "sub" / "model.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(WEIGHTS)
    assert only(tui_params.check(path, verify=True)).state == "unverified"
    tree = repository / "trees" / f"{COMMIT}.json"
    tree.parent.mkdir()
    entries = {"sub/model.safetensors": {"size": 1, "blob_id": 40 * "b", "lfs_sha256": sha256(WEIGHTS)}}
    tree.write_text(json.dumps({"format_version": 1, "files": entries}))
    report = tui_params.check(path, verify=True)
    assert (states(report), only(report).reason) == (
        {"model.safetensors": "verified"},
        "trees/01234567….json of the cache",
    )
    tree.write_text(json.dumps({"format_version": 2, "files": entries}))
    assert only(tui_params.check(path, verify=True)).state == "unverified"


def test_the_shards_of_a_download_are_each_told(tmp_path: Path) -> None:
    names = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    for number, name in enumerate(names):
        values = np.random.default_rng(number).normal(size=(8, 8))
        download(tmp_path, name, save({f"layers.{number}.weight": values}))
    weight_map = {f"layers.{number}.weight": name for number, name in enumerate(names)}
    index = json.dumps({"weight_map": weight_map}).encode()
    download(tmp_path, "model.safetensors.index.json", index, git_hash(index))
    report = tui_params.check(tmp_path, verify=True)
    assert states(report) == dict.fromkeys((*names, "model.safetensors.index.json"), "verified")
    assert report.status == "ok"
    flip(tmp_path / names[1])
    (tmp_path / ".cache/huggingface/download" / f"{names[2]}.metadata").unlink()
    report = tui_params.check(tmp_path, verify=True)
    assert list(states(report).values()) == ["verified", "mismatch", "unverified", "verified"]
    assert (report.status, rules(report)) == ("findings", ["digest"])


def test_a_shard_that_cannot_be_opened_is_compared_all_the_same(tmp_path: Path) -> None:
    for number in (1, 2):
        content = save({f"layers.{number}.weight": np.full((8, 8), number + 1.5, np.float32)})
        download(tmp_path, f"model-0000{number}-of-00002.safetensors", content)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"<!doctype html>")
    report = tui_params.check(tmp_path, verify=True)
    assert list(states(report).values()) == ["verified", "mismatch"]
    assert rules(report) == ["digest"]


def test_a_file_in_a_folder_of_the_download(tmp_path: Path) -> None:
    path = download(tmp_path, "unet/model.safetensors", WEIGHTS)
    file = only(tui_params.check(path.parent, verify=True))
    assert (file.state, file.reason) == ("verified", ".cache/huggingface/download/unet/model.safetensors.metadata")


def test_a_file_that_was_written_to_after_the_download(tmp_path: Path) -> None:
    path = download(tmp_path, "model.safetensors", WEIGHTS, seconds=1e9)
    os.utime(path, (1.1e9, 1.1e9))
    flip(path)
    file = only(tui_params.check(path, verify=True))
    assert file.state == "mismatch"
    assert file.reason == (
        ".cache/huggingface/download/model.safetensors.metadata of 2001-09-09 01:46 UTC;"
        " the file was written to on 2004-11-09 11:33 UTC"
    )


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ('c\n"weak-etag"\n1.0\n', "gives it the etag '\"weak-etag\"', which is neither a SHA-256 nor a git hash"),
        ("c\n", "is damaged: it has 2 of 3 lines"),
        (f"c\n{64 * 'a'}\nyesterday\n", "is damaged: its third line is no time"),
    ],
)
def test_metadata_without_a_digest(metadata: str, reason: str, tmp_path: Path) -> None:
    path = download(tmp_path, "model.safetensors", WEIGHTS)
    (tmp_path / ".cache/huggingface/download/model.safetensors.metadata").write_text(metadata)
    file = only(tui_params.check(path, verify=True))
    assert (file.state, file.reason) == (
        "unverified",
        f".cache/huggingface/download/model.safetensors.metadata {reason}",
    )


def test_where_no_digest_is_known_nothing_is_ok(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(WEIGHTS)
    report = tui_params.check(path, verify=True)
    assert (report.status, report.unverified, report.findings) == ("unchecked", 1, ())
    assert "no digest of it is known" in only(report).reason
    # A name that looks like a digest says nothing outside of a folder of blobs.
    named = tmp_path / sha256(WEIGHTS)
    named.write_bytes(WEIGHTS)
    assert only(tui_params.check(named, verify=True)).state == "unverified"
    report = tui_params.check(MemorySource({"a.weight": np.ones(3, np.float32)}), verify=True)
    assert (report.status, only(report).reason) == ("unchecked", "it was not read from a file")


def test_unfinished_downloads_are_named(tmp_path: Path) -> None:
    repository = tmp_path / "models--a--b"
    path = store(repository, "model.safetensors", WEIGHTS)
    left = repository / "blobs" / f"{64 * 'a'}.1234abcd.incomplete"
    left.write_bytes(WEIGHTS[:1500])
    for target in (path, path.parent):
        report = tui_params.check(target, verify=True)
        assert (report.status, states(report)) == ("ok", {"model.safetensors": "verified"})
        assert [finding.evidence for finding in report.findings if finding.rule == "unfinished-download"] == [
            f"blobs/{left.name} (1.46 KiB) is a download that did not finish; it was not read"
        ]
    report = tui_params.check(left, verify=True)
    assert only(report).reason == "it is a download that did not finish: its name ends in .incomplete"
    folder = tmp_path / "local"
    path = download(folder, "model.safetensors", WEIGHTS)
    (folder / ".cache/huggingface/download/x.incomplete").write_bytes(b"")
    assert rules(tui_params.check(path, verify=True)) == ["unfinished-download"]
    assert rules(tui_params.check(path)) == []


class Counted:
    """Counts the bytes that are read of files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nbytes = 0
        read = local.read_into

        def counted(descriptor: int, file: local.DataFile, offset: int, buffer: memoryview) -> None:
            self.nbytes += len(buffer)
            read(descriptor, file, offset, buffer)

        monkeypatch.setattr(local, "read_into", counted)
        monkeypatch.setattr("tui_params.sources.bytes.local.read_into", counted)


def test_every_byte_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "BLOCK_NBYTES", 1 << 18)  # blocks that are hashed beside, and more than one of each
    content = save({f"{i}.weight": np.random.default_rng(i).normal(size=(256, 1000)) for i in range(3)})
    path = store(tmp_path / "models--a--b", "model.safetensors", content)
    counted = Counted(monkeypatch)
    assert states(tui_params.check(path, verify=True)) == {"model.safetensors": "verified"}
    assert counted.nbytes == len(content)


def test_nobody_is_accused_on_account_of_what_was_taken_in_passing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store(tmp_path / "models--a--b", "model.safetensors", WEIGHTS)
    monkeypatch.setattr(ExtentSource, "file_range", lambda self, info: (info.file, info.offset - 8))
    assert states(tui_params.check(path, verify=True)) == {"model.safetensors": "verified"}


def test_an_archive_of_torch_is_hashed_and_its_checksums_are_compared(tmp_path: Path) -> None:
    matrix = torch.randn(700, 700, generator=torch.Generator().manual_seed(0))
    torch.save({"a": matrix, "t": matrix.t(), "part": matrix[3:9, ::2], "b": torch.arange(9)}, tmp_path / "x.bin")
    content = (tmp_path / "x.bin").read_bytes()
    path = store(tmp_path / "models--a--b", "pytorch_model.bin", content)
    assert states(tui_params.check(path, verify=True)) == {"pytorch_model.bin": "verified"}
    flip(path, len(content) // 2)
    report = tui_params.check(path, verify=True)
    assert {finding.rule for finding in report.findings} >= {"digest", "checksum"}


def test_tensors_that_overlap_or_leave_holes(tmp_path: Path) -> None:
    header = {
        "a": entry("F32", (8,), 4),
        "b": entry("F32", (6,), 20),
        "c": entry("F32", (4,), 60),
        "e": entry("X", (3,), 80, 92),
    }
    content = file_bytes(header, bytes(range(1, 121)))
    path = store(tmp_path / "models--a--b", "model.safetensors", content)
    assert states(tui_params.check(path, verify=True)) == {"model.safetensors": "verified"}


def test_a_file_that_changes_while_it_is_hashed_is_not_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store(tmp_path / "models--a--b", "model.safetensors", WEIGHTS)
    blocks = digests.HashedSource.blocks

    def meddling(self: digests.HashedSource, *arguments: object) -> Iterator[object]:
        yield from blocks(self, *arguments)  # type: ignore[arg-type]
        flip(path)
        os.utime(path, (1, 1))

    monkeypatch.setattr(digests.HashedSource, "blocks", meddling)
    file = only(tui_params.check(path, verify=True))
    assert (file.state, file.expected, file.actual) == ("unverified", sha256(WEIGHTS), None)
    assert file.reason.startswith("it could not be read: model.safetensors was written to after it was opened")


def test_verifying_alone_reads_no_tensor_and_can_be_stopped(tmp_path: Path) -> None:
    path = store(tmp_path / "models--a--b", "model.safetensors", WEIGHTS)
    told: list[tuple[int, int]] = []
    with open_source(path) as source:
        result = digests.verify(source, progress=lambda done, total: told.append((done, total)))
        assert result.is_whole
        assert told[-1] == (len(WEIGHTS), len(WEIGHTS))
        with pytest.raises(StoppedError):
            digests.verify(source, lambda: True)
        assert not list(result.findings)
