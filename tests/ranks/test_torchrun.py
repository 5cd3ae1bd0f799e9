"""Real ranks, started by torchrun: the same bytes as from one process, and what is told of a rank that is lost.

Starting torch takes seconds, so the usual tests do it twice; ``just ranks`` runs the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from tests.ranks.conftest import write_planted
from tui_params.cli.app import run
from tui_params.errors import TeamError
from tui_params.ranks.job import Job
from tui_params.ranks.torch_store import MOST_UNTAKEN, StoreIntake, StorePost, connect

HERE = Path(__file__).parent
MODULE = ("-m", "tui_params")
MANY = (str(HERE / "many_commands.py"),)
HELD = (str(HERE / "held_rank.py"),)
DIFFERING = (str(HERE / "differing_rank.py"),)


class Ran(msgspec.Struct, frozen=True):
    """What a command printed; ``complaints`` are our own lines on stderr."""

    code: int
    out: str
    complaints: list[str]

    def json(self) -> Any:
        return json.loads(self.out)


def environment() -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return found | {"TUI_PARAMS_CACHE": "off", "PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}


def ran(command: Sequence[object], cwd: Path | None = None) -> Ran:
    done = subprocess.run(
        [sys.executable, *map(str, command)], env=environment(), cwd=cwd, capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if line.startswith("tui-params: ")]
    return Ran(done.returncode, done.stdout, ours)


def torchrun(ranks: int, program: Sequence[str], *arguments: object) -> Ran:
    return ran(["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", ranks, *program, *arguments])


def alone(*arguments: object) -> Ran:
    return ran([*MODULE, *arguments])


def changed_copy(planted: Path, folder: Path) -> Path:
    """The planted checkpoint with other values in the middle and at the end of its large tensor."""
    shutil.copytree(planted, folder)
    path = folder / "model-2.safetensors"
    data = np.fromfile(path, np.uint8)
    data[data.size // 2 : data.size // 2 + 64] ^= 1
    data[-60_000:-59_000] ^= 1
    data.tofile(path)
    return folder


def commands(planted: Path, folder: Path) -> list[list[str]]:
    """Every command that ranks run together, on files of two formats."""
    other = changed_copy(planted, folder / "other")
    archive = folder / "x.pt"
    draw = torch.Generator().manual_seed(0)
    torch.save({name: torch.randn(1500, 1000, generator=draw) for name in "abc"}, archive)
    return [
        ["check", str(planted), "--json"],
        ["check", str(archive), "--json"],
        ["stats", str(planted), "--json"],
        ["diff", str(planted), str(other), "--json"],
        ["check", str(planted)],
    ]


def printed(capfd: pytest.CaptureFixture[str], arguments: Sequence[str]) -> str:
    run(arguments)
    return capfd.readouterr().out


def assert_the_same(ranks: int, planted: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = commands(planted, folder)
    found = torchrun(ranks, MANY, json.dumps(lines))
    expected = [printed(capfd, arguments) for arguments in lines]
    assert found.out == "".join(expected)
    assert {finding["rule"] for finding in json.loads(expected[0])["findings"]} >= {"nan", "dead-rows", "all-zero"}
    assert json.loads(expected[3])["status"] == "different"
    assert [complaint.split(" (")[0] for complaint in found.complaints] == [
        f"tui-params: exit code {code}" for code in (1, 0, 0, 1, 1)
    ]


def test_two_ranks_print_what_one_process_prints(
    planted_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert_the_same(2, planted_folder, tmp_path, capfd)


def test_the_share_of_a_killed_rank_is_not_checked(
    planted_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = torchrun(2, HELD, "SIGKILL", tmp_path / "sign", "check", planted_folder, "--json")
    whole = json.loads(printed(capfd, ["check", str(planted_folder), "--json"]))
    report = found.json()
    assert {entry["reason"] for entry in report["unchecked"]} == {"rank 1 ended before it had read its share"}
    assert report["checked"] + len(report["unchecked"]) == whole["checked"]
    assert report["checked"] > 0
    assert found.complaints[-1].startswith("tui-params: exit code 1 ")


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [3, 4])
def test_more_ranks_print_what_one_process_prints(
    ranks: int, planted_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert_the_same(ranks, planted_folder, tmp_path, capfd)


@pytest.mark.ranks
def test_the_module_itself_is_what_torchrun_starts(planted_folder: Path) -> None:
    expected, found = alone("check", planted_folder, "--json"), torchrun(2, MODULE, "check", planted_folder, "--json")
    assert found.out == expected.out
    assert found.complaints == ["tui-params: exit code 1 (that of torchrun is 0 or 1, whatever its ranks end with)"]


@pytest.mark.ranks
def test_a_stopped_rank_is_given_up(planted_folder: Path, tmp_path: Path) -> None:
    command = ("check", planted_folder, "--json", "--rank-timeout", 2)
    found = torchrun(2, HELD, "SIGSTOP", tmp_path / "sign", *command)
    reasons = {entry["reason"] for entry in found.json()["unchecked"]}
    assert reasons == {"rank 1 gave no sign of life for 2 seconds"}


@pytest.mark.ranks
def test_two_versions_are_refused(planted_folder: Path) -> None:
    found = torchrun(2, DIFFERING, "0.0.1", "check", planted_folder, "--json")
    assert found.out == ""
    assert "rank 1 runs tui-params 0.0.1, and rank 0 runs" in found.complaints[0]
    assert found.complaints[-1].startswith("tui-params: exit code 3 ")


@pytest.mark.ranks
def test_ranks_that_see_other_files_are_refused(tmp_path: Path) -> None:
    from tui_params import __version__

    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
        write_planted(tmp_path / str(rank))
    found = torchrun(2, DIFFERING, __version__, "check", tmp_path / "RANK", "--json")
    assert found.out == ""
    assert "rank 1 sees another version of model-1.safetensors than rank 0 does" in found.complaints[0]
    seen = (tmp_path / "0" / "model-1.safetensors").stat()
    os.utime(tmp_path / "1" / "model-1.safetensors", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    (tmp_path / "1" / "model-2.safetensors").unlink()
    found = torchrun(2, DIFFERING, __version__, "check", tmp_path / "RANK", "--json")
    assert "rank 1 does not see model-2.safetensors" in found.complaints[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def nodes(program: Sequence[str], arguments: Sequence[object], folder: Path) -> list[subprocess.Popen[bytes]]:
    """Two nodes of one rank each; what each prints is in a file named after its number."""
    port = free_port()
    started = []
    for node in range(2):
        command = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(node)]
        command += ["--master-addr", "127.0.0.1", "--master-port", str(port), *program, *map(str, arguments)]
        with (folder / f"{node}").open("wb") as out, (folder / f"{node}.err").open("wb") as err:
            started.append(
                subprocess.Popen(
                    [sys.executable, *command], env=environment(), stdout=out, stderr=err, start_new_session=True
                )
            )
    return started


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.ranks
def test_two_nodes_print_what_one_process_prints(planted_folder: Path, tmp_path: Path) -> None:
    expected = alone("stats", planted_folder, "--json")
    started = nodes(MODULE, ("stats", planted_folder, "--json"), tmp_path)
    try:
        assert [process.wait(100) for process in started] == [0, 0]
    finally:
        end(started)
    assert (tmp_path / "0").read_text() == expected.out
    assert (tmp_path / "1").read_text() == ""


@pytest.mark.ranks
def test_the_death_of_another_node_is_noticed(planted_folder: Path, tmp_path: Path) -> None:
    command = ("SIGKILL", tmp_path / "sign", "check", planted_folder, "--json", "--rank-timeout", 2)
    started = nodes(HELD, command, tmp_path)
    try:
        # torchrun of the first node may stay for minutes after its rank has printed everything and ended.
        started[1].wait(100)
        while not (text := (tmp_path / "0").read_text()).endswith("\n"):
            assert started[0].poll() is None or (tmp_path / "0").read_text()
        assert {entry["reason"] for entry in json.loads(text)["unchecked"]} == {
            "rank 1 gave no sign of life for 2 seconds"
        }
    finally:
        end(started)


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.distributed", None)
    with pytest.raises(TeamError, match="pip install torch, or use --jobs N"):
        connect(Job("torchrun", 0, 2, 2), 1.0)


def test_pieces_travel_through_a_real_store() -> None:
    import torch.distributed as dist

    store = dist.TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
    intake, post = StoreIntake(store, 3), StorePost(store, 2, 60.0)
    sent = [bytes(range(256)) * number for number in range(MOST_UNTAKEN)]
    for piece in sent:
        post.send(piece)
    taken: list[tuple[int, bytes | None]] = []
    while len(taken) < len(sent):
        taken += intake.take()
    assert taken == [(2, piece) for piece in sent]
    assert not store.check(["tui-params/2/0"])
    intake.close()
    assert store.get("tui-params/0") == b"over"
