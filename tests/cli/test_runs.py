"""The commands on folders of training runs, and ``--format``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Ran
from tests.factories_runs import Llama, write_accelerate, write_trainer

Cli = Callable[..., Ran]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    write_trainer(tmp_path / "checkpoint-500")
    return tmp_path / "checkpoint-500"


def test_ls_counts_the_model_and_its_states_apart(cli: Cli, checkpoint: Path) -> None:
    assert cli("ls", str(checkpoint)).out.splitlines()[:6] == [
        "checkpoint-500/  safetensors, with optimizer, scheduler and rng_state",
        "53 tensors, 6.58K elements, 10.9 KiB  (f32 5.96 KiB, u8 4.94 KiB)",
        "  model: 13 tensors, 504 elements, 1.97 KiB  (f32 1.97 KiB)",
        "  optimizer: 39 tensors, 1.02K elements, 3.99 KiB  (f32 3.99 KiB)",
        "  rng_state: 1 tensor, 5.06K elements, 4.94 KiB  (u8 4.94 KiB)",
        "  trainer_state.global_step: 500",
    ]


def test_ls_of_several_models_and_states(cli: Cli, tmp_path: Path) -> None:
    write_accelerate(tmp_path, [torch.nn.Linear(3, 2), torch.nn.Linear(4, 2)])
    lines = cli("ls", str(tmp_path)).out.splitlines()
    assert lines[2:6] == [
        "18 tensors in 2 models and the states of a run",
        "  model: 2 tensors, 8 elements, 32 B  (f32 32 B)",
        "  model_1: 2 tensors, 10 elements, 40 B  (f32 40 B)",
        "  optimizer: 6 tensors, 18 elements, 72 B  (f32 72 B)",
    ]


def test_diff_compares_the_states_of_two_checkpoints(cli: Cli, checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_trainer(other)
    assert cli("diff", str(checkpoint), str(other)).code == 0
    state = torch.load(other / "optimizer.pt")
    state["state"][0]["exp_avg"] += 1
    torch.save(state, other / "optimizer.pt")
    ran = cli("diff", str(checkpoint), str(other), "--json")
    assert ran.code == 1
    assert [change["name"] for change in ran.json()["changed"]] == ["optimizer.state.0.exp_avg"]
    (other / "optimizer.pt").unlink()
    # One of two runs without its optimizer is not the same.
    ran = cli("diff", str(checkpoint), str(other), "--json")
    assert (ran.code, ran.json()["only_in_a"][0]) == (1, "optimizer.state.0.step")


def test_diff_of_a_checkpoint_and_a_model_alone(cli: Cli, checkpoint: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes())
    ran = cli("diff", str(checkpoint), str(alone))
    assert ran.code == 0
    reason = "a state of the training run, and B holds no such states"
    assert f"  A  optimizer, 39 tensors  {reason}\n" in ran.out
    assert f"  A  rng_state.cpu  {reason}\n" in ran.out
    ran = cli("diff", str(alone), str(checkpoint), "--json")
    assert ran.code == 0
    assert {entry["in"] for entry in ran.json()["implied"]} == {"b"}
    # A model that differs is still another one.
    write_trainer(checkpoint, Llama(3))
    assert cli("diff", str(checkpoint), str(alone)).code == 1


@pytest.mark.parametrize("before", [True, False])
def test_the_format_can_be_chosen(cli: Cli, checkpoint: Path, before: bool) -> None:
    for command, tail in (
        ("ls", []),
        ("stats", ["model.norm.weight"]),
        ("values", ["model.norm.weight"]),
        ("check", []),
    ):
        option = ["--format", "folder"]
        arguments = [*option, command, str(checkpoint), *tail] if before else [command, str(checkpoint), *tail, *option]
        ran = cli(*arguments)
        assert ran.code == 0, ran.err
        assert "optimizer.state" not in ran.out
    assert (
        "not read: optimizer.pt, rng_state.pth, scheduler.pt" in cli("check", str(checkpoint), "--format", "folder").out
    )
    assert cli("diff", str(checkpoint), str(checkpoint), "--format", "folder").code == 0
    assert cli("--format", "FOLDER", str(checkpoint)).out.startswith("checkpoint-500/  safetensors\n")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("safetensors", "is a folder, and safetensors is the format of a file"),
        ("pipeline", "is no pipeline: it has neither model_index.json nor modules.json with members"),
        ("steps", "is no folder of steps"),
    ],
)
def test_a_format_that_does_not_fit_is_one_sentence(cli: Cli, checkpoint: Path, name: str, words: str) -> None:
    ran = cli("ls", str(checkpoint), "--format", name)
    assert (ran.code, ran.out) == (3, "")
    assert words in ran.err
    assert ran.err.count("\n") == 1


def test_a_format_that_is_none_is_wrong_usage(cli: Cli, checkpoint: Path) -> None:
    words = "there is no format 'nothing' that can be opened; the formats are safetensors, DDUF, "
    for arguments in (["ls", str(checkpoint), "--format", "nothing"], ["--format", "nothing", str(checkpoint)]):
        ran = cli(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert words in ran.err


def test_a_file_is_read_as_what_it_is_not(cli: Cli, checkpoint: Path) -> None:
    ran = cli("ls", str(checkpoint / "model.safetensors"), "--format", "torch.save")
    assert (ran.code, ran.err.count("\n")) == (3, 1)
    ran = cli("ls", str(checkpoint / "optimizer.pt"), "--format", "safetensors")
    assert (ran.code, ran.err.count("\n")) == (3, 1)
    ran = cli("ls", str(checkpoint / "optimizer.pt"), "--format", "run")
    assert "is a file, and run is the format of a folder" in ran.err


def test_the_library_takes_a_format_of_a_path_only(checkpoint: Path) -> None:
    import tui_params

    with tui_params.open_source(checkpoint, format="folder") as source:
        assert source.listing.states == ()
    for target in ({"w": torch.ones(1)}, torch.nn.Linear(1, 1)):
        with pytest.raises(TypeError, match="format= is for a path only"):
            tui_params.open_source(target, format="folder")


def test_diff_says_which_step_it_compared(cli: Cli, tmp_path: Path) -> None:
    for step in (5, 10):
        write_trainer(tmp_path / "out" / f"checkpoint-{step}")
    ran = cli("diff", str(tmp_path / "out"), str(tmp_path / "out" / "checkpoint-5"))
    assert ran.code == 0
    assert "remark: " in ran.out
    assert "newest-step: checkpoint-10/ is shown, the newest of 2 steps; the other is checkpoint-5/" in ran.out
    assert "not read: checkpoint-5/ (open it by its path)" in ran.out
