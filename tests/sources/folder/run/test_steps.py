"""Folders of steps: the newest is opened, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.factories_runs import write_trainer
from tui_params.core.health.checker import check
from tui_params.errors import OpenError
from tui_params.sources.detect import open_path


def write_steps(folder: Path, *names: str) -> Path:
    """Folders and files; the value of ``w`` is the place of the name in the list."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        if "." in name:
            torch.save({"w": torch.tensor([float(number)])}, folder / name)
        else:
            (folder / name).mkdir()
            save_file({"w": torch.tensor([float(number)])}, folder / name / "model.safetensors")
    return folder


def newest(folder: Path) -> int:
    return int(open_path(folder).read("w")[0])


def test_the_newest_step_of_a_trainer_is_opened(tmp_path: Path) -> None:
    for step in (500, 1000, 50):
        write_trainer(tmp_path / "out" / f"checkpoint-{step}", global_step=step)
    (tmp_path / "out" / "runs").mkdir()
    source = open_path(tmp_path / "out")
    assert source.label == "out/checkpoint-1000/"
    assert source.listing.format.startswith("newest of 3 steps: safetensors, with ")
    assert source.listing.metadata["trainer_state.global_step"] == "1000"
    assert source.listing.not_opened == ("checkpoint-500/", "checkpoint-50/")
    (finding,) = source.listing.findings
    assert (finding.severity, finding.rule) == ("info", "newest-step")
    assert finding.evidence == (
        "checkpoint-1000/ is shown, the newest of 3 steps; the others are checkpoint-500/ and checkpoint-50/"
    )
    assert check(source).status == "ok"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["epoch=0-step=10.ckpt", "epoch=10-step=110.ckpt", "epoch=9-step=100.ckpt"], 1),
        (["epoch=3-val_loss=0.50.ckpt", "epoch=12-val_loss=-0.125.ckpt"], 1),
        (["epoch=3-step=5.ckpt", "epoch=3-step=5-v1.ckpt", "epoch=2-step=4.ckpt"], 1),
        (["epoch=3-step=5.ckpt", "last.ckpt"], 1),
        (["epoch_9.pth", "epoch_12.pth", "latest.pth"], 2),
        (["model_step_900.pt", "model_step_1000.pt"], 1),
        (["global_step9", "global_step10"], 1),
        (["iter_0000900", "iter_0001000"], 1),
        (["checkpoint_0", "checkpoint_1", "other"], 1),
    ],
)
def test_steps_are_compared_by_their_numbers(tmp_path: Path, names: list[str], expected: int) -> None:
    assert newest(write_steps(tmp_path / "run", *names)) == expected


@pytest.mark.parametrize(
    "names",
    [
        ["checkpoint-00001-of-00002.pt", "checkpoint-00002-of-00002.pt"],
        ["encoder_epoch_3.pt", "decoder_epoch_3.pt"],
        ["step_3_rank_0.pt", "step_3_rank_1.pt"],
        ["epoch_3.pt", "ema.pt"],
        ["epoch_3.pt"],
        ["last.ckpt"],
    ],
)
def test_what_is_not_one_model_at_several_steps_is_a_folder_of_files(tmp_path: Path, names: list[str]) -> None:
    source = open_path(write_steps(tmp_path / "run", *names))
    assert source.label == "run/"
    assert len(source.listing.tensors) == len(names)
    with pytest.raises(OpenError, match="is no folder of steps"):
        open_path(tmp_path / "run", "steps")


def test_a_model_beside_its_steps_is_what_is_opened(tmp_path: Path) -> None:
    write_steps(tmp_path / "out", "checkpoint-5", "checkpoint-6")
    save_file({"final": torch.ones(1)}, tmp_path / "out" / "model.safetensors")
    source = open_path(tmp_path / "out")
    assert (source.label, source.names()) == ("out/", ["final"])
    assert source.listing.not_opened == ("checkpoint-5/", "checkpoint-6/")


def test_a_step_that_cannot_be_opened_is_said_and_the_one_before_is_shown(tmp_path: Path) -> None:
    write_steps(tmp_path / "out", "checkpoint-5", "checkpoint-6", "checkpoint-7")
    (tmp_path / "out" / "checkpoint-7" / "model.safetensors").write_bytes(b"")
    (tmp_path / "out" / "checkpoint-8").mkdir()  # nothing is in it yet
    source = open_path(tmp_path / "out")
    assert source.label == "out/checkpoint-6/"
    assert [(found.severity, found.rule, found.file) for found in source.listing.findings] == [
        ("error", "bad-part", "checkpoint-7/"),
        ("warning", "bad-part", "checkpoint-8/"),
        ("info", "newest-step", None),
    ]
    assert "the newest that can be opened of 3 steps" in source.listing.findings[2].evidence
    for number in (5, 6):
        (tmp_path / "out" / f"checkpoint-{number}" / "model.safetensors").write_bytes(b"")
    with pytest.raises(OpenError, match="is empty"):
        open_path(tmp_path / "out")


def test_one_step_alone_is_opened_without_a_word(tmp_path: Path) -> None:
    source = open_path(write_steps(tmp_path / "out", "checkpoint-5"))
    assert (source.label, source.listing.findings) == ("out/checkpoint-5/", ())
    assert source.listing.format == "safetensors"
