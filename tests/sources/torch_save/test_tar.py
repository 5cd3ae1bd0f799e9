"""The tar of torch before 0.2 against torch's own reader of it, and damaged ones."""

from __future__ import annotations

import os
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.factories_archives import TarWriter, equal
from tui_params.api.opening import open_source
from tui_params.errors import OpenError, ReadError
from tui_params.sources.torch_save.zip import open_torch


def state() -> dict[str, Any]:
    torch.manual_seed(0)
    whole = torch.randn(6, 4)
    return {
        "whole": whole,
        "row": whole[2],
        "turned": whole.T,
        "half": torch.randn(3).half(),
        "double": torch.tensor([float("nan"), float("inf"), -0.0, 5e-324]).double(),
        "long": torch.arange(5),
        "bytes": torch.arange(7).to(torch.uint8),
        "epoch": 7,
    }


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_values_are_those_that_torch_loads(tmp_path: Path, protocol: int) -> None:
    writer = TarWriter(state())
    writer.protocol = protocol
    path = writer.write(tmp_path / "old.pt")
    expected = torch.load(path, weights_only=False)
    with open_source(path) as source:
        assert source.listing.format == "torch.save tar, as before 0.2"
        assert source.listing.findings == ()
        assert source.listing.metadata["epoch"] == "7"
        tensors = {name: value for name, value in expected.items() if isinstance(value, torch.Tensor)}
        assert set(source.names()) == set(tensors)
        for name, tensor in tensors.items():
            assert equal(source.read(name), tensor), name
            assert source.find(name).shape == tuple(tensor.shape)


def test_views_of_storages(tmp_path: Path) -> None:
    base = torch.randn(10)
    path = TarWriter({"base": base, "part": base[3:7].clone()}, {"part": ("base", 3, 4)}).write(tmp_path / "old.pt")
    expected = torch.load(path, weights_only=False)
    assert expected["part"].equal(base[3:7])
    with open_torch(path) as source:
        assert equal(source.read("part"), expected["part"])
        assert source.listing.findings == ()


def test_no_code_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return print, ("it ran",)

    writer = TarWriter(state())
    for member in ("sys_info", "pickle"):
        path = writer.write(tmp_path / f"{member}.pt", {member: pickle.dumps({"little_endian": True, "x": Runs()}, 2)})
        with open_torch(path) as source:
            (finding,) = [found for found in source.listing.findings if found.rule == "pickle-code"]
            assert "builtins.print('it ran')" in finding.evidence
    assert capsys.readouterr().out == ""


def test_any_truncation_is_told(tmp_path: Path) -> None:
    data = TarWriter(state()).write(tmp_path / "old.pt").read_bytes()
    path = tmp_path / "cut.pt"
    with tarfile.open(tmp_path / "old.pt") as archive:
        end = max(info.offset_data + info.size for info in archive)
    # What tarfile adds behind the members is no part of them.
    for size in (*range(512, len(data), 37), end - 1, end):
        path.write_bytes(data[:size])
        if size < end:
            with pytest.raises(OpenError):
                open_torch(path)
        else:
            open_torch(path)


@pytest.mark.parametrize("member", ["sys_info", "pickle", "storages", "tensors"])
def test_a_member_that_is_cut_off_or_damaged_anywhere(tmp_path: Path, member: str) -> None:
    writer = TarWriter(state())
    whole = writer.members()[member]
    for place in range(0, len(whole), 7 if len(whole) > 200 else 1):
        for changed in (whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]):
            path = writer.write(tmp_path / "x.pt", {member: changed})
            try:
                source = open_torch(path)
            except OpenError:
                continue
            for info in source.listing.tensors:
                if info.unreadable is None:
                    try:
                        source.read(info.name)
                    except ReadError:
                        assert info.unreadable is None


def test_storages_that_claim_too_much(tmp_path: Path) -> None:
    writer = TarWriter({"w": torch.ones(3)})
    storages = writer.members()["storages"]
    for count in (1 << 40, -1):
        claimed = storages.replace(struct.pack("<q", 3), struct.pack("<q", count), 1)
        source = open_torch(writer.write(tmp_path / "x.pt", {"storages": claimed}))
        assert source.find("w").unreadable is not None
        assert "truncated" in [finding.rule for finding in source.listing.findings]
    with pytest.raises(OpenError, match="the list of views is damaged"):
        open_torch(
            writer.write(tmp_path / "x.pt", {"storages": storages.replace(struct.pack("<q", 3), b"\2" + bytes(7))})
        )


def test_tensors_of_storages_that_are_not_there(tmp_path: Path) -> None:
    writer = TarWriter({"w": torch.ones(3)})
    storages = pickle.dumps(0, 2) + pickle.dumps([], 2)
    source = open_torch(writer.write(tmp_path / "x.pt", {"storages": storages}))
    assert source.find("w").unreadable == "its storage is not in the file"


def test_a_link_in_place_of_a_member_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    path = tmp_path / "x.pt"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, os.fspath(secret)
            archive.addfile(info)
    with pytest.raises(OpenError, match=r"sys_info in x\.pt is no file but a link"):
        open_torch(path)


def test_a_tar_without_all_its_members(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("sys_info"))
    with pytest.raises(OpenError, match=r"without its pickle: it is truncated"):
        open_torch(path)


def test_bytes_of_another_order_are_refused(tmp_path: Path) -> None:
    writer = TarWriter({"w": torch.ones(3), "b": torch.ones(2).to(torch.uint8)})
    path = writer.write(tmp_path / "x.pt", {"sys_info": pickle.dumps({"little_endian": False}, 2)})
    with open_torch(path) as source:
        assert "big-endian" in (source.find("w").unreadable or "")
        assert source.read("b").tolist() == [1, 1]


def test_ids_that_name_nothing_are_told(tmp_path: Path) -> None:
    path = TarWriter({"w": torch.ones(3)}).write(tmp_path / "x.pt", {"pickle": b"\x80\x02}X\1\0\0\0wX\2\0\0\099Qs."})
    with open_torch(path) as source:
        (finding,) = [found for found in source.listing.findings if found.rule == "bad-pickle"]
        assert "names no tensor and no storage" in finding.evidence
