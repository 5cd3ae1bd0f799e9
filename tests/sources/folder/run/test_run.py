"""Folders of training runs: the model under its own names, states beside it, and what of it is damaged or not read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.factories_runs import Llama, write_accelerate, write_trainer
from tui_params.core.health.checker import check
from tui_params.core.source import Source
from tui_params.errors import OpenError
from tui_params.sources.detect import open_path
from tui_params.sources.folder.run import members, trainer_state


def tops(source: Source) -> list[str]:
    """The first segments of all names, in the order of the tree."""
    return list(dict.fromkeys(info.name.partition(".")[0] for info in source.tensors))


def rules(source: Source) -> list[tuple[str, str, str | None]]:
    return [(finding.severity, finding.rule, finding.file) for finding in source.listing.findings]


def test_a_checkpoint_of_the_trainer_is_one_tree(tmp_path: Path) -> None:
    optimizer = write_trainer(tmp_path / "checkpoint-500")
    source = open_path(tmp_path / "checkpoint-500")
    listing = source.listing
    assert source.label == "checkpoint-500/"
    assert listing.format == "safetensors, with optimizer, scheduler and rng_state"
    # The model is first, under its own names.
    assert tops(source) == ["lm_head", "model", "optimizer", "rng_state"]
    assert (listing.states, listing.models, listing.not_opened) == (("optimizer", "scheduler", "rng_state"), {}, ())
    assert listing.findings == ()
    first = optimizer.state_dict()["state"][0]
    np.testing.assert_array_equal(source.read("optimizer.state.0.exp_avg"), first["exp_avg"].numpy())
    info = source.find("optimizer.state.0.exp_avg")
    assert info.file == "optimizer.pt"
    assert b"".join(block.tobytes() for block in source.blocks(info)) == first["exp_avg"].numpy().tobytes()
    assert source.read("model.norm.weight").shape == (8,)
    metadata = listing.metadata
    assert metadata["trainer_state.global_step"] == "500"
    assert metadata["trainer_state.last_loss"] == "0.25 at step 500"
    assert metadata["trainer_state.last_eval_loss"] == "0.5 at step 500"
    assert metadata["trainer_state.best_metric"] == "0.5"
    assert metadata["config.model_type"] == "llama"
    assert metadata["optimizer.param_groups.1.weight_decay"] == "0.0"
    assert metadata["scheduler.last_epoch"] == "0"
    assert check(source).status == "ok"
    assert "in training states" in repr(source)
    source.close()


def test_the_states_are_checked_too(tmp_path: Path) -> None:
    write_trainer(tmp_path)
    state = torch.load(tmp_path / "optimizer.pt")
    state["state"][3]["exp_avg_sq"][0, 0] = -1.0
    torch.save(state, tmp_path / "optimizer.pt")
    report = check(open_path(tmp_path))
    assert [(finding.rule, finding.tensor) for finding in report.findings if finding.severity == "error"] == [
        ("negative-moment", "optimizer.state.3.exp_avg_sq")
    ]


def test_a_name_that_the_model_has_already_is_not_given_twice(tmp_path: Path) -> None:
    save_file({"optimizer.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    torch.save({"x": torch.zeros(2)}, tmp_path / "optimizer.pt")
    source = open_path(tmp_path)
    assert source.names() == ["optimizer.weight", "optimizer~2.x"]
    np.testing.assert_array_equal(source.read("optimizer~2.x"), [0, 0])
    np.testing.assert_array_equal(source.read("optimizer.weight"), [1, 1])


def test_two_states_of_one_stem_keep_their_endings(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    torch.save({"x": torch.zeros(2)}, tmp_path / "optimizer.pt")
    torch.save({"x": torch.zeros(2)}, tmp_path / "optimizer.bin")
    assert open_path(tmp_path).names() == ["w", "optimizer.bin.x", "optimizer.pt.x"]


@pytest.mark.parametrize("content", [b"", b"?", b"PK\3\4 cut short"])
def test_a_damaged_state_hides_nothing_else(tmp_path: Path, content: bytes) -> None:
    write_trainer(tmp_path)
    (tmp_path / "optimizer.pt").write_bytes(content)
    source = open_path(tmp_path)
    assert rules(source) == [("error", "bad-part", "optimizer.pt")]
    assert tops(source) == ["lm_head", "model", "rng_state"]
    assert check(source).status == "findings"


def test_a_truncated_optimizer_tells_which_tensors_are_cut(tmp_path: Path) -> None:
    write_trainer(tmp_path)
    path = tmp_path / "optimizer.pt"
    torch.save(torch.load(path), path, _use_new_zipfile_serialization=False)
    os.truncate(path, path.stat().st_size - 10)
    source = open_path(tmp_path)
    cut = [info.name for info in source.listing.tensors if info.unreadable]
    assert cut
    assert all(name.startswith("optimizer.state.") for name in cut)
    assert ("error", "truncated", "optimizer.pt") in rules(source)
    assert source.read("model.norm.weight").shape == (8,)


def test_a_damaged_model_does_not_hide_the_states(tmp_path: Path) -> None:
    write_trainer(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    source = open_path(tmp_path)
    assert tops(source) == ["optimizer", "rng_state"]
    assert source.listing.findings[0].evidence == "model.safetensors is empty (0 bytes)"
    assert check(source).status == "findings"


def test_more_states_than_are_opened_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_params.sources.folder.run.run.MOST_STATES", 3)
    save_file({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    torch.save({"x": torch.zeros(2)}, tmp_path / "optimizer.pt")
    for rank in (0, 1, 2, 10):
        torch.save({"cpu": torch.zeros(2)}, tmp_path / f"rng_state_{rank}.pth")
    source = open_path(tmp_path)
    assert source.names() == ["w", "optimizer.x", "rng_state_0.cpu", "rng_state_1.cpu"]
    assert source.listing.not_opened == ("rng_state_2.pth", "rng_state_10.pth")


def test_what_else_lies_there_is_named(tmp_path: Path) -> None:
    write_trainer(tmp_path)
    torch.save({}, tmp_path / "ema.bin")
    (tmp_path / "args.pkl").write_bytes(b"\x80\x02}.")
    (tmp_path / "other").mkdir()
    torch.save({}, tmp_path / "other" / "x.pt")
    assert open_path(tmp_path).listing.not_opened == ("args.pkl", "ema.bin", "other/")


def test_a_sharded_model_beside_its_optimizer(tmp_path: Path) -> None:
    write_trainer(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    shards = {}
    for number, (name, tensor) in enumerate(Llama().state_dict().items()):
        shards[name] = f"model-{number:05}-of-00012.safetensors"
        save_file({name: tensor}, tmp_path / shards[name])
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    source = open_path(tmp_path)
    assert tops(source) == ["lm_head", "model", "optimizer", "rng_state"]
    assert source.listing.findings == ()
    # The user who names the index asks for the model.
    alone = open_path(tmp_path / "model.safetensors.index.json")
    assert tops(alone) == ["lm_head", "model"]
    assert alone.listing.not_opened == ("optimizer.pt", "rng_state.pth", "scheduler.pt")


def test_several_models_of_accelerate(tmp_path: Path) -> None:
    write_accelerate(tmp_path, [nn.Linear(3, 2), nn.Linear(4, 2)])
    source = open_path(tmp_path)
    assert tops(source) == ["model", "model_1", "optimizer", "optimizer_1", "custom_checkpoint_0", "random_states_0"]
    assert source.listing.models == {"model": ("model.safetensors",), "model_1": ("model_1.safetensors",)}
    assert source.read("model_1.weight").shape == (2, 4)
    # Each optimizer fits one of both models.
    assert source.find("optimizer_1.state.0.exp_avg").notes == (
        "state of model_1.weight (by shapes and the order of layers)",
    )
    assert check(source).status == "ok"


def test_models_in_subfolders_beside_the_states(tmp_path: Path) -> None:
    # diffusers' training scripts save each model by itself.
    torch.save({"x": torch.zeros(2)}, tmp_path / "optimizer.bin")
    torch.save({"y": torch.zeros(2)}, tmp_path / "random_states_0.pkl")
    (tmp_path / "args.pkl").write_bytes(b"\x80\x02}.")
    for name in ("unet", "unet_ema", "samples"):
        (tmp_path / name).mkdir()
        save_file({"w": torch.ones(3)}, tmp_path / name / "diffusion_pytorch_model.safetensors")
    for name in ("unet", "unet_ema"):
        (tmp_path / name / "config.json").write_text("{}")
    source = open_path(tmp_path)
    assert source.names() == ["unet.w", "unet_ema.w", "optimizer.x", "random_states_0.y"]
    assert source.find("unet.w").file == "unet/diffusion_pytorch_model.safetensors"
    assert source.listing.not_opened == ("args.pkl", "samples/")
    assert set(source.listing.models) == {"unet", "unet_ema"}


def test_folders_of_fsdp_are_opened_by_the_reader_that_knows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"step": 0, "torch_manual_seed": torch.zeros(8, dtype=torch.uint8)}, tmp_path / "random_states_0.pkl")
    for folder, key in (("pytorch_model_fsdp_0", "model.w"), ("optimizer_0", "optimizer.state.w.exp_avg")):
        (tmp_path / folder).mkdir()
        torch.save({key: torch.ones(2)}, tmp_path / folder / "inside.pt")

    def opens(path: Path) -> Source:
        return open_path(path / "inside.pt")

    monkeypatch.setattr("tui_params.sources.detect._open_subfolder", opens)
    source = open_path(tmp_path)
    assert source.names() == ["model.w", "optimizer.state.w.exp_avg", "random_states_0.torch_manual_seed"]
    assert source.find("model.w").file == "pytorch_model_fsdp_0/inside.pt"
    assert "optimizer" in source.listing.states
    np.testing.assert_array_equal(source.read("optimizer.state.w.exp_avg"), [1, 1])

    def refuses(path: Path) -> Source:
        raise OpenError("its saving did not finish")

    monkeypatch.setattr("tui_params.sources.detect._open_subfolder", refuses)
    assert rules(open_path(tmp_path)) == [
        ("error", "bad-part", "pytorch_model_fsdp_0/"),
        ("error", "bad-part", "optimizer_0/"),
    ]


def test_folders_that_no_reader_knows_are_named(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(2)}, tmp_path / "random_states_0.pkl")
    torch.save({"x": torch.zeros(2)}, tmp_path / "scheduler.bin")
    (tmp_path / "pytorch_model_fsdp_0").mkdir()
    torch.save({}, tmp_path / "pytorch_model_fsdp_0" / "x.pt")
    assert open_path(tmp_path).listing.not_opened == ("pytorch_model_fsdp_0/",)


def test_a_loss_that_is_nan_is_shown(tmp_path: Path) -> None:
    # Python writes NaN, which is no JSON.
    (tmp_path / "trainer_state.json").write_text('{"global_step": 7, "log_history": [{"loss": NaN, "step": 7}]}')
    found = trainer_state.read_trainer_state(tmp_path)
    assert found == {"trainer_state.global_step": "7", "trainer_state.last_loss": "NaN at step 7"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"log_history": 3}', b"\xff\xfe", b'{"log_history": [3]}'])
def test_a_damaged_state_of_the_trainer_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "trainer_state.json").write_bytes(content)
    found = trainer_state.read_trainer_state(tmp_path)
    fault = "it is damaged: no JSON object of a Trainer" if content else "it is empty (0 bytes)"
    assert found == {"trainer_state": fault}


def test_a_large_state_of_the_trainer_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_state, "MAX_NBYTES", 10)
    (tmp_path / "trainer_state.json").write_bytes(b" " * 11)
    assert trainer_state.read_trainer_state(tmp_path) == {"trainer_state": "not read: it has 11 B"}


def test_states_are_in_a_natural_order() -> None:
    names = ["rng_state_10.pth", "rng_state_2.pth", "scheduler.pt", "optimizer_1.bin", "optimizer.bin", "model.bin"]
    assert members.states_among(names, (".bin", ".pt", ".pth")) == [
        "optimizer.bin", "optimizer_1.bin", "scheduler.pt", "rng_state_2.pth", "rng_state_10.pth",
    ]  # fmt: skip


def test_a_changed_state_changes_the_whole(tmp_path: Path) -> None:
    write_trainer(tmp_path)
    source = open_path(tmp_path)
    assert source.changed() is None
    os.utime(tmp_path / "optimizer.pt", (1, 1))
    assert "optimizer.pt was written to" in (source.changed() or "")


def test_settings_alone_leave_the_order_of_the_model(tmp_path: Path) -> None:
    save_file({"b.10.w": torch.ones(1), "b.9.w": torch.ones(1), "a": torch.ones(1)}, tmp_path / "model.safetensors")
    torch.save({"lr": 0.1}, tmp_path / "training_args.bin")
    source = open_path(tmp_path)
    assert source.names() == ["a", "b.9.w", "b.10.w"]
    assert (source.listing.is_ordered, source.listing.metadata["training_args.lr"]) == (False, "0.1")
    # A file of torch keeps the order of its dict.
    (tmp_path / "model.safetensors").unlink()
    torch.save({"b": torch.ones(1), "a": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    assert open_path(tmp_path).names() == ["b", "a"]
