"""Tensors that share bytes: how often these are read, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.factories_safetensors import entry, file_bytes
from tui_params.core.health.checker import Report, check
from tui_params.core.reading import overlaps
from tui_params.core.source import Source
from tui_params.core.text import size
from tui_params.sources.detect import open_path

COUNT = 50


def write(path: Path, places: list[tuple[int, int]], data: bytes, code: str = "F32", width: int = 4) -> Source:
    """A file of tensors at these places, which may overlap."""
    header = {
        f"layers.{number}.weight": entry(code, ((end - begin) // width // 8, 8), begin, end)
        for number, (begin, end) in enumerate(places)
    }
    path.write_bytes(file_bytes(header, data))
    return open_path(path)


def normal(nbytes: int) -> bytes:
    return np.random.default_rng(3).standard_normal(nbytes // 4).astype(np.float32).tobytes()


def rules(report: Report) -> list[str]:
    return sorted(finding.rule for finding in report.findings)


def test_the_same_place_is_read_once_and_every_tensor_is_checked(tmp_path: Path, read: list[int]) -> None:
    report = check(write(tmp_path / "x.safetensors", [(0, 1024)] * COUNT, normal(1024)))
    assert sum(read) == 1024
    assert (report.status, report.checked, report.unchecked) == ("findings", COUNT, ())
    assert rules(report) == ["overlap"]


def test_faults_in_shared_bytes_are_told_of_every_tensor_and_sought_once(tmp_path: Path, read: list[int]) -> None:
    data = bytearray(normal(1024))
    data[-4:] = np.float32("nan").tobytes()
    report = check(write(tmp_path / "x.safetensors", [(0, 1024)] * COUNT, bytes(data)))
    # Once for the statistics, and once more for the place of the NaN.
    assert sum(read) == 2 * 1024
    found = [finding for finding in report.findings if finding.rule == "nan"]
    assert len(found) == COUNT
    assert {finding.indices for finding in found} == {((31, 7),)}


def test_partial_overlaps_are_read_a_few_times_and_the_rest_is_unchecked(tmp_path: Path, read: list[int]) -> None:
    places = [(8 * number, 8 * number + 1024) for number in range(COUNT)]
    nbytes = places[-1][1]
    source = write(tmp_path / "x.safetensors", places, normal(nbytes))
    report = check(source)
    assert nbytes < sum(read) <= overlaps.MOST_READS * nbytes
    assert (report.status, report.checked + len(report.unchecked)) == ("findings", COUNT)
    assert report.checked == overlaps.MOST_READS * nbytes // 1024
    assert {each.reason for each in report.unchecked} == {
        "tensors of x.safetensors share bytes or repeat their own, so that no more than"
        f" {size(overlaps.MOST_READS * nbytes)} of it is read: this one was not"
    }
    assert [finding.tensor for finding in report.findings if finding.rule == "overlap"] == [None]


def test_one_reading_under_two_types_is_two(tmp_path: Path, read: list[int]) -> None:
    header = {"a": entry("F32", (4, 8), 0), "b": entry("I32", (4, 8), 0), "c": entry("F32", (8, 4), 0)}
    path = tmp_path / "x.safetensors"
    path.write_bytes(file_bytes(header, normal(128)))
    report = check(open_path(path))
    assert report.checked == 3
    assert sum(read) == 3 * 128


def test_files_without_overlap_are_not_limited(
    tmp_path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlaps, "MOST_READS", 0)
    places = [(1024 * number, 1024 * number + 1024) for number in range(COUNT)]
    report = check(write(tmp_path / "x.safetensors", places, normal(1024 * COUNT)))
    assert (report.status, report.checked) == ("ok", COUNT)
    assert sum(read) == 1024 * COUNT


def test_a_file_that_overlaps_does_not_limit_its_neighbour(
    tmp_path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlaps, "MOST_READS", 1)
    for name, step in (("a", 1024), ("b", 0)):
        places = [(step * number, step * number + 1024 + 8 * number) for number in range(3)]
        header = {f"{name}{number}": entry("U8", (end - at,), at, end) for number, (at, end) in enumerate(places)}
        if step:
            header = {f"a{number}": entry("U8", (1024,), 1024 * number) for number in range(3)}
        end = max(each["data_offsets"][1] for each in header.values())
        data = np.arange(end, dtype=np.uint8).tobytes()
        (tmp_path / f"{name}.safetensors").write_bytes(file_bytes(header, data))
    report = check(open_path(tmp_path))
    assert [each.tensor for each in report.unchecked] == ["b1", "b2"]
    assert report.checked == 4


def test_views_of_one_storage_are_read_whole_and_repeated_elements_are_bounded(
    tmp_path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fused = torch.randn(24, 8)
    state = {"qkv": fused, "q": fused[:8], "k": fused[8:16], "v": fused[16:], "same": fused}
    torch.save(state, tmp_path / "views.pt")
    report = check(open_path(tmp_path / "views.pt"))
    assert (report.status, report.checked) == ("ok", 5)
    torch.save({"wide": torch.randn(4).expand(1000, 4), "x": torch.randn(3)}, tmp_path / "wide.pt")
    report = check(open_path(tmp_path / "wide.pt"))
    assert [(each.tensor, "repeat their own" in each.reason) for each in report.unchecked] == [("wide", True)]
    monkeypatch.setattr(overlaps, "FREE_NBYTES", 1 << 20)
    assert check(open_path(tmp_path / "wide.pt")).status == "ok"


def test_conjugated_views_are_other_elements(tmp_path: Path) -> None:
    values, plain = torch.randn(4, 8, dtype=torch.complex64), torch.randn(4, 8)
    negative = torch._neg_view(plain)
    torch.save({"a": values, "b": values.conj(), "c": plain, "d": negative}, tmp_path / "x.pt")
    source = open_path(tmp_path / "x.pt")
    assert len({source.place(source.find(name)) for name in "abcd"}) == 4


def test_copies_are_not_sought_among_tensors_of_one_place(tmp_path: Path, read: list[int]) -> None:
    # Each period of the data is the same: partly overlapping tensors have the same bytes.
    nbytes = 1 << 20
    places = [(32 * number, 32 * number + nbytes) for number in range(4)] + [(0, nbytes)] * 10
    data = np.arange(8, dtype=np.float32).tobytes() * ((nbytes + 96) // 32)
    report = check(write(tmp_path / "x.safetensors", places, data))
    # Four are read for their statistics; of these four the copies are sought within the same bound.
    assert sum(read) <= 2 * overlaps.MOST_READS * (nbytes + 96)
    assert report.checked == 14 - len(report.unchecked)
