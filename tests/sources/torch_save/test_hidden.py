"""What a container hides, has lost or has too much of is told: it never counts as read."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.factories_torch import raw_zip, save, state_dict_pickle, stored_zip, tensor_pickle, torch_zip
from tui_params.api.comparing import compare
from tui_params.core.health.checker import Report, check
from tui_params.core.source import Source
from tui_params.errors import OpenError
from tui_params.sources.detect import open_path
from tui_params.sources.torch_save.zip import open_torch


def evidence(source: Source, rule: str) -> str:
    (found,) = [found for found in source.listing.findings if found.rule == rule]
    return found.evidence


def checked(path: Path) -> Report:
    with open_path(path) as source:
        return check(source)


def state(a: Path, b: Path) -> str:
    with open_path(a) as source_a, open_path(b) as source_b:
        return compare(source_a, source_b).state


# The directory of a zip


@pytest.mark.parametrize("sizes", [[4, 4, 4], [4, 4, 9, 4], [4, 300], [300, 4]])
def test_archives_one_after_the_other_are_not_taken_for_one(tmp_path: Path, sizes: list[int]) -> None:
    # As in the .distcp files of torch.distributed.checkpoint. First and last may have the same layout.
    import torch

    parts = [save(tmp_path / "archive.pt", torch.full((n,), float(n))).read_bytes() for n in sizes]
    path = tmp_path / "several.pt"
    path.write_bytes(b"".join(parts))
    with pytest.raises(OpenError, match=r"several\.pt is several zip archives one after the other") as raised:
        open_torch(path)
    assert f"the last starts at byte {sum(map(len, parts[:-1])):,}" in str(raised.value)
    path.write_bytes(parts[0])
    assert open_torch(path).read("tensor").tolist() == [sizes[0]] * sizes[0]


def misnamed(path: Path, name: bytes) -> None:
    """Change the last character of a member's name in its local header."""
    raw = bytearray(path.read_bytes())
    raw[raw.index(name) + len(name) - 1] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize("name", [b"data/0", b"data/1"])
def test_a_storage_whose_header_bears_another_name_is_unread(tmp_path: Path, name: bytes) -> None:
    import torch

    path = save(tmp_path / "a.pt", {"a": torch.ones(4), "b": torch.arange(3.0)})
    assert checked(path).findings == ()
    misnamed(path, name)
    report = checked(path)
    assert [finding.rule for finding in report.findings] == ["zip-names"]
    assert [entry.tensor for entry in report.unchecked] == ["a" if name == b"data/0" else "b"]
    assert f"1 member of the zip bears another name than the directory gives, first {name.decode()}" in (
        report.findings[0].evidence
    )
    assert state(path, path) == "uncompared"


def test_a_pickle_whose_header_bears_another_name_is_told(tmp_path: Path) -> None:
    import torch

    path = save(tmp_path / "a.pt", {"a": torch.ones(4)})
    misnamed(path, b"data.pkl")
    assert "first data.pkl" in evidence(open_torch(path), "zip-names")
    assert open_torch(path).read("a").tolist() == [1, 1, 1, 1]


def test_names_that_are_no_ascii_are_compared_as_bytes(tmp_path: Path) -> None:
    # torch writes UTF-8 without the flag for it.
    import torch

    path = save(tmp_path / "größe 重み.pt", {"a": torch.ones(4)})
    assert checked(path).status == "ok"


@pytest.mark.parametrize("behind", [b"#", bytes(50), b"\x02\0\0\0\0\0\0\0{}", b"x" * 60_000])
def test_bytes_behind_a_zip_are_an_error(tmp_path: Path, behind: bytes) -> None:
    import torch

    path = save(tmp_path / "a.pt", {"a": torch.ones(4)})
    assert open_torch(path).listing.findings == ()
    path.write_bytes(path.read_bytes() + behind)
    assert evidence(open_torch(path), "trailing-bytes").startswith(f"{len(behind):,} byte")
    assert checked(path).status == "findings"


def test_the_comment_of_a_zip_is_a_part_of_it(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "a.pt", state_dict_pickle({"a": tensor_pickle()}), {"0": bytes(16)})
    raw = bytearray(path.read_bytes())
    struct.pack_into("<H", raw, len(raw) - 2, 5)
    path.write_bytes(bytes(raw) + b"notes")
    assert open_torch(path).listing.findings == ()


@pytest.mark.parametrize("without", [1, 2])
def test_a_member_without_a_checksum_among_others_is_a_remark(tmp_path: Path, without: int) -> None:
    code = state_dict_pickle({"a": tensor_pickle(), "b": tensor_pickle(key="1")})
    members = [("a/data.pkl", code), ("a/data/0", bytes(16)), ("a/data/1", bytes(16))]
    raw = stored_zip(tmp_path / "a.pt", members).read_bytes()
    assert open_torch(tmp_path / "a.pt").listing.findings == ()
    crcs = [struct.unpack_from("<L", raw, at + 16)[0] for at in range(len(raw)) if raw[at : at + 4] == b"PK\1\2"]
    assert all(crcs)
    crcs[:without] = [0] * without
    path = raw_zip(
        tmp_path / "b.pt", [(name, 0, crc, data, len(data)) for (name, data), crc in zip(members, crcs, strict=True)]
    )
    (finding,) = open_torch(path).listing.findings
    assert (finding.severity, finding.rule) == ("info", "no-checksum")
    assert finding.evidence.startswith(f"{without} of 3 members of the zip ha")
    path = raw_zip(tmp_path / "c.pt", [(name, 0, 0, data, len(data)) for name, data in members])
    assert open_torch(path).listing.findings == ()
