"""Zips of checkpoints, as stable-baselines3 writes them: members that are torch.save zips are read where they lie."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.factories_torch import stored_zip
from tui_params.core.health.checker import Report, check
from tui_params.errors import OpenError
from tui_params.sources.detect import open_path
from tui_params.sources.torch_save import archive


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def members(*, log_std: float = 0.5) -> list[tuple[str, bytes]]:
    weight = torch.arange(12.0).reshape(3, 4) + 1
    state = {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(3, 4)}}
    return [
        ("data", b'{"policy_class": {}}'),
        ("pytorch_variables.pth", saved({})),
        ("policy.pth", saved({"net.weight": weight, "t": weight.T, "log_std": torch.tensor([log_std])})),
        ("policy.optimizer.pth", saved({"state": state, "param_groups": [{"params": [0]}]})),
        ("_stable_baselines3_version", b"2.6.0"),
    ]


def checked(path: Path) -> Report:
    with open_path(path) as source:
        return check(source)


def test_every_checkpoint_in_the_archive_is_read(tmp_path: Path) -> None:
    with open_path(stored_zip(tmp_path / "ppo.zip", members())) as source:
        assert source.listing.format == "zip of 3 checkpoints"
        assert [info.name for info in source.listing.tensors] == [
            "policy.net.weight",
            "policy.t",
            "policy.log_std",
            "policy.optimizer.state.0.step",
            "policy.optimizer.state.0.exp_avg",
        ]
        assert source.read("policy.net.weight")[1].tolist() == [5, 6, 7, 8]
        assert source.read("policy.t")[0].tolist() == [1, 5, 9]
        report = check(source)
    assert (report.status, report.checked) == ("ok", 5)


def test_what_is_wrong_inside_is_found(tmp_path: Path) -> None:
    path = stored_zip(tmp_path / "ppo.zip", members(log_std=float("nan")))
    assert [(finding.rule, finding.tensor) for finding in checked(path).findings] == [("nan", "policy.log_std")]
    raw = bytearray(stored_zip(tmp_path / "b.zip", members()).read_bytes())
    raw[raw.index(b"\0\0\xa0@") + 2] ^= 1
    (tmp_path / "b.zip").write_bytes(bytes(raw))
    assert (
        "policy.pth" in {finding.rule: finding.evidence for finding in checked(tmp_path / "b.zip").findings}["checksum"]
    )


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("old.pth", saved({"w": torch.ones(2)}, _use_new_zipfile_serialization=False), "it is no torch.save zip"),
        ("model.safetensors", b"\x02\0\0\0\0\0\0\0{}", "it is no torch.save zip"),
        ("cut.pth", saved({"w": torch.ones(2)})[:-100], "the zip directory of cut.pth is missing"),
        ("empty.pt", b"", "it is no torch.save zip"),
    ],
    ids=["old", "safetensors", "cut", "empty"],
)
def test_a_member_that_cannot_be_read_is_named(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    report = checked(stored_zip(tmp_path / "a.zip", [*members(), (name, data)]))
    (entry,) = report.unchecked
    assert (report.status, report.checked, entry.tensor) == ("unchecked", 5, name.rpartition(".")[0])
    assert entry.reason.startswith(reason)


def test_compressed_members_are_named(tmp_path: Path) -> None:
    path = stored_zip(tmp_path / "a.zip", members(), method=zipfile.ZIP_DEFLATED)
    with pytest.raises(OpenError, match=r"is a zip, and 'pytorch_variables' in it cannot be read: it is compressed;"):
        open_path(path)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as mixed:
        mixed.writestr("policy.pth", saved({"w": torch.ones(2)}))
        mixed.writestr("value.pth", saved({"w": torch.ones(2)}), zipfile.ZIP_DEFLATED)
    report = checked(tmp_path / "b.zip")
    assert [(entry.tensor, entry.reason.split(";")[0]) for entry in report.unchecked] == [("value", "it is compressed")]


def test_members_of_one_stem_keep_their_whole_names(tmp_path: Path) -> None:
    data = saved({"w": torch.ones(2)})
    with open_path(stored_zip(tmp_path / "a.zip", [("a.pt", data), ("a.pth", data), ("x/a.pt", data)])) as source:
        assert [info.name for info in source.listing.tensors] == ["a.pt.w", "a.pth.w", "x/a.w"]


def test_only_so_many_members_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    report = checked(stored_zip(tmp_path / "a.zip", [(f"{n}.pt", saved({"w": torch.ones(2)})) for n in range(4)]))
    assert (report.checked, len(report.unchecked)) == (2, 2)


def test_a_zip_of_other_files_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(OpenError, match=r"a zip of 1 file, the first of them 'notes\.txt', and no data\.pkl"):
        open_path(stored_zip(tmp_path / "a.zip", [("notes.txt", b"x")]))
