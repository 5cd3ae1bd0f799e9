"""``tui-params attach``: the list of what can be attached to, and a served model as a source of every command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import tui_params
from tests.live.attached.conftest import runtime
from tests.live.relay.fakes import be_ssh
from tui_params.cli.completion import complete_condition, complete_serving
from tui_params.live.attached import asked_copies

__all__ = ["runtime"]


@pytest.fixture
def served(runtime: Path) -> Iterator[nn.Module]:
    net = nn.Sequential(nn.Linear(3, 2))
    server = tui_params.serve(net, torch.optim.SGD(net.parameters(), lr=0.1), name="run 7")
    yield net
    server.stop()


def test_nothing_to_attach_to_says_what_to_do(cli: Callable[..., Any], runtime: Path) -> None:
    for arguments in (["attach"], ["attach", "--list"]):
        ran = cli(*arguments)
        assert (ran.code, ran.out) == (3, "")
        assert "no process of yours serves a model: put tui_params.serve(model, optimizer) into" in ran.err
    assert json.loads(cli("attach", "--json").out) == {"serving": []}


def test_the_list(cli: Callable[..., Any], served: nn.Module) -> None:
    lines = cli("attach", "--list").out.splitlines()
    assert lines[0].split()[:3] == ["PID", "NAME", "MODEL"]
    assert lines[1].startswith(f"{os.getpid()}")
    assert "run 7" in lines[1]
    assert "none yet" in lines[1]
    (entry,) = json.loads(cli("attach", "--json").out)["serving"]
    assert (entry["pid"], entry["name"], entry["model"]) == (os.getpid(), "run 7", "Sequential")
    assert (entry["steps"], entry["age"], entry["reason"]) == (0, None, None)


@pytest.mark.parametrize("which", [[], ["run 7"], [str(os.getpid())]])
def test_without_a_terminal_the_tensors_are_listed(
    cli: Callable[..., Any], served: nn.Module, which: list[str]
) -> None:
    ran = cli("attach", *which)
    assert ran.code == 0
    assert "0.weight  [2, 3]  f32" in ran.out


def test_of_several_the_list_is_printed(cli: Callable[..., Any], served: nn.Module) -> None:
    other = tui_params.serve(nn.Linear(2, 2), name="other")
    assert {line.split()[1] for line in cli("attach").out.splitlines()[1:]} == {"run", "other"}
    assert "0.weight" in cli("attach", "run 7").out
    ran = cli("attach", "third")
    assert ran.code == 3
    assert "no process with the number or the name 'third' serves a model" in ran.err
    other.stop()


def test_a_model_may_have_a_number_for_a_name(cli: Callable[..., Any], runtime: Path) -> None:
    server = tui_params.serve(nn.Linear(2, 3), name="999999999")
    assert "weight  [3, 2]" in cli("attach", "999999999").out
    assert "serves a model already" in cli("attach", "--dry-run", "999999999").out
    server.stop()


def test_every_command_takes_it_as_a_source(
    cli: Callable[..., Any], served: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_copies, "STEP_SECONDS", 0.1)
    name = "attach:run 7"
    torch.save(served.state_dict(), tmp_path / "same.pt")
    assert cli("diff", str(tmp_path / "same.pt"), name).code == 0
    with torch.no_grad():
        served[0].weight[1, 2] = float("nan")
    assert cli("diff", str(tmp_path / "same.pt"), name).code == 1
    assert "0.weight" in cli("stats", name).out
    assert cli("values", name, "0.weight", "[1, 2]").out.strip().endswith("NaN")
    ran = cli("check", name)
    assert ran.code == 1
    assert "1 of 6 values is NaN" in ran.out or "NaN" in ran.out


def test_a_file_of_that_name_is_a_file(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.ones(2)}, "attach:x")
    assert "w" in cli("ls", "attach:x").out


def test_conditions_are_completed() -> None:
    context: Any = None
    assert [item.value for item in complete_condition(context, context, "")] == ["nan", "inf", "norm>", "still:"]
    assert [item.type for item in complete_condition(context, context, "n")] == ["plain", "open"]


def test_names_and_numbers_are_completed(served: nn.Module) -> None:
    context: Any = None
    assert [item.value for item in complete_serving(context, context, "run")] == ["run 7"]
    assert [item.value for item in complete_serving(context, context, str(os.getpid())[:1])] == [str(os.getpid())]
    assert "attach" in CliRunner().invoke(__import__("tui_params.cli.app", fromlist=["app"]).app, ["--help"]).output


def test_a_dry_run_says_that_a_process_serves_already(cli: Callable[..., Any], served: nn.Module) -> None:
    sentence = f"process {os.getpid()} (run 7) serves a model already: nothing would be run in it\n"
    for which in ([], ["run 7"], [str(os.getpid())]):
        ran = cli("attach", "--dry-run", *which)
        assert (ran.code, ran.out) == (0, sentence)
    ran = cli("attach", "--dry-run", "run 8")
    assert (ran.code, ran.out) == (3, "")
    assert "no process with the number or the name 'run 8' serves a model" in ran.err


def test_a_dry_run_of_nothing_is_wrong_usage(cli: Callable[..., Any], runtime: Path) -> None:
    ran = cli("attach", "--dry-run")
    assert ran.code == 2
    assert "wants the PID of a process, or the name of one that serves a model" in ran.err


def test_all_ranks_of_a_job(cli: Callable[..., Any], runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_copies, "STEP_SECONDS", 0.1)
    servers = []
    for rank in range(2):
        # Of one process here, which says of itself first one rank and then the other.
        net = nn.Linear(3, 2)
        nn.init.constant_(net.weight, float(rank))
        nn.init.zeros_(net.bias)
        server = tui_params.serve(net, name="job")
        monkeypatch.setattr(server.served, "describe", partial(described, server.served.describe, rank))
        servers.append(server)
    try:
        rows = [line.split() for line in cli("attach", "--list").out.splitlines()[1:]]
        assert [row[3] for row in rows] == ["0", "1"]
        ran = cli("attach", "--all")
        assert ran.code == 0
        assert "rank0.weight" in ran.out
        assert "rank1.weight" in ran.out
        ran = cli("check", "attach:all:job")
        assert "differs from rank 0 after step 0: 6 of 6 values, by 1 at most" in ran.out
        assert "of 3 ranks, 1 is not served on this machine: 2" in cli("ls", "attach:all", "--json").out
    finally:
        for server in servers:
            server.stop()
    ran = cli("attach", "--all")
    assert (ran.code, ran.out) == (3, "")
    assert "no rank of a job is served here" in ran.err


def described(describe: Callable[[], dict[str, Any]], rank: int) -> dict[str, Any]:
    return {**describe(), "rank": rank, "world_size": 3}


@pytest.fixture
def far(runtime: Path, monkeypatch: pytest.MonkeyPatch, served: nn.Module) -> None:
    """``ssh://far`` is this machine too, and ``ssh://empty`` is one where nothing is served."""
    be_ssh(monkeypatch, runtime)
    (runtime / "empty").mkdir(0o700)
    (runtime / "far").symlink_to(runtime)


def test_models_of_other_machines(cli: Callable[..., Any], far: None) -> None:
    (entry,) = json.loads(cli("attach", "--json", "ssh://far", "ssh://empty").out)["serving"]
    assert (entry["pid"], entry["name"], entry["host"]) == (os.getpid(), "run 7", "ssh://far")
    lines = cli("attach", "--list", "ssh://far", "ssh://empty").out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(f"{os.getpid()}")
    ran = cli("attach", "ssh://far")
    assert ran.code == 0
    assert "run 7" in ran.out
    assert "0.weight  [2, 3]  f32" in ran.out
    for arguments, words in (
        (("ssh://empty",), "no process of yours serves a model on empty"),
        (("ssh://far/nobody",), "no process with the number or the name 'nobody' serves a model"),
        (("ssh://empty/999999999",), "empty: there is no process 999999999"),
        (("ssh://far", "run 7"), "with --all and --list, several addresses: ssh://one ssh://two"),
        (("ssh://far", "ssh://empty"), "one model is opened at a time"),
        (("--dry-run", "ssh://far"), "ssh HOST tui-params attach --dry-run PID"),
        (("--all", "ssh://far", "ssh://empty"), "no rank of a job is served on any of these machines"),
    ):
        ran = cli("attach", *arguments)
        assert ran.code in (2, 3)
        assert words in ran.err
    assert "ssh far tui-params watch PID" in cli("watch", "ssh://far/1").err
