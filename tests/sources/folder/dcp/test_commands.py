"""``check`` and ``diff`` of distributed checkpoints: healthy, with a NaN in one piece, beside the same in one file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.factories_dcp import Box, Cut, by_rank, rows, save_distributed
from tui_params.api.checking import check
from tui_params.api.comparing import compare
from tui_params.sources.detect import open_path


def model() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {f"layers.{number}.weight": torch.randn(40, 16) / 4 for number in range(4)}


def save_cut(folder: Path, values: dict[str, torch.Tensor]) -> Path:
    cut = {name: rows(value, 4) for name, value in values.items()}
    return by_rank(save_distributed(folder, {**cut, "step": 3}, thread_count=4))


def test_a_healthy_one_has_nothing_above_a_remark(tmp_path: Path) -> None:
    report = check(save_cut(tmp_path / "ck", model()))
    assert report.status == "ok"
    assert not [finding for finding in report.findings if finding.severity != "info"]


def test_a_nan_in_one_piece_is_named_with_its_place_in_the_whole(tmp_path: Path) -> None:
    values = model()
    values["layers.2.weight"][27, 5] = float("nan")
    folder = save_cut(tmp_path / "ck", values)
    report = check(folder)
    (finding,) = [finding for finding in report.findings if finding.rule == "nan"]
    assert (finding.tensor, finding.indices) == ("layers.2.weight", ((27, 5),))
    assert finding.evidence.endswith(" NaN; in the part of rank 2, __2_0.distcp")
    with open_path(folder) as source:
        pieces = source.pieces_of(source.find("layers.2.weight"))
        assert [str(piece) for piece in pieces if piece.start[0] <= 27 < piece.stop[0]] == ["[20:30, 0:16]"]


@pytest.mark.parametrize("is_column", [False, True])
def test_a_flipped_bit_of_a_piece_is_found_by_its_checksum(tmp_path: Path, is_column: bool) -> None:
    whole = torch.arange(1.0, 65).reshape(8, 8)
    boxes: list[Box] = [((0, 0), (8, 4)), ((0, 4), (8, 4))] if is_column else [((0, 0), (4, 8)), ((4, 0), (4, 8))]
    folder = save_distributed(tmp_path / "ck", {"w": Cut.of(whole, boxes), "b": torch.ones(3)})
    with open_path(folder) as source:
        records = [record for record in source.records() if record.tensor == "w"]
        assert [record.nbytes for record in records] == [128, 128]
        assert check(source).status == "ok"
    path = folder / records[1].file
    content = bytearray(path.read_bytes())
    content[records[1].offset + 9] ^= 1
    path.write_bytes(content)
    (finding,) = [finding for finding in check(folder).findings if finding.severity == "error"]
    assert (finding.rule, finding.tensor) == ("checksum", "w")
    assert finding.evidence.startswith("the 128 bytes of data/0 of the piece at byte ")


def test_it_is_the_same_as_the_model_in_one_file(tmp_path: Path) -> None:
    values = model()
    folder = save_cut(tmp_path / "ck", values)
    save_file(values, tmp_path / "model.safetensors")
    assert compare(folder, tmp_path / "model.safetensors").state == "same"
    values["layers.3.weight"][39, 15] += 1
    save_file(values, tmp_path / "model.safetensors")
    difference = compare(folder, tmp_path / "model.safetensors")
    assert [change.name for change in difference.changed] == ["layers.3.weight"]
