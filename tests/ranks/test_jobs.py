"""``--jobs N``: real processes, the same bytes; and which job a process belongs to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tui_params.cli.app import run
from tui_params.errors import TeamError
from tui_params.ranks.job import Job, job_of
from tui_params.ranks.pipes import VARIABLE, PipeIntake

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
MODULE = "/site/tui_params/__main__.py"


def printed(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = run([str(argument) for argument in arguments])
    return code, capfd.readouterr().out


def test_two_processes_print_what_one_prints(planted_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    alone = printed(capfd, "check", planted_folder, "--json")
    assert alone[0] == 1
    assert printed(capfd, "check", planted_folder, "--json", "--jobs", 2) == alone


def test_a_process_that_is_killed_leaves_its_share_unchecked(
    planted_folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = PipeIntake.__init__

    def start_and_kill(self: PipeIntake, arguments: Sequence[str], ways: int) -> None:
        original(self, arguments, ways)
        os.kill(self.pids[0], signal.SIGKILL)

    monkeypatch.setattr(PipeIntake, "__init__", start_and_kill)
    code, text = printed(capfd, "stats", planted_folder, "--json", "--jobs", 2)
    assert code == 3
    reasons = {tensor["unchecked"] for tensor in json.loads(text)["tensors"]}
    assert reasons == {None, "process 1 ended before it had read its share"}


def test_all_descriptors_are_closed(planted_folder: Path) -> None:
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    intake = PipeIntake(["check", str(planted_folder)], 2)
    intake.close()
    assert not before or len(os.listdir("/proc/self/fd")) <= len(before)


def test_a_model_of_another_process_is_read_by_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "attach:1", "--jobs", "2"]) == 2
    assert "read by one process: --jobs 1" in capfd.readouterr().err


def test_which_job_it_is() -> None:
    assert job_of(None, [], {}, MODULE) is None
    assert job_of(None, [], TORCHRUN, MODULE) == Job("torchrun", 1, 4, 2)
    assert job_of(4, ["check", "x"], {}, MODULE) == Job("jobs", 0, 4, 4, arguments=("check", "x"))
    assert job_of(4, [], {VARIABLE: "2/4/9"}, MODULE) == Job("jobs", 2, 4, 4, 9)


def test_a_command_in_a_script_of_a_rank_reads_alone() -> None:
    assert job_of(None, [], TORCHRUN, "/usr/bin/tui-params") is None
    assert job_of(1, [], TORCHRUN, MODULE) is None
    assert job_of(None, [], TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"}, MODULE) is None


@pytest.mark.parametrize("wrong", [{"RANK": "x"}, {"RANK": "4"}, {"RANK": "-1"}])
def test_an_environment_that_makes_no_sense_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(TeamError, match="torchrun"):
        job_of(None, [], TORCHRUN | wrong, MODULE)


def test_the_others_start_before_numpy_is_imported() -> None:
    code = """
import sys
from tui_params.cli.app import run
from tui_params.ranks.pipes import PipeIntake

def start(self, arguments, ways):
    print("numpy" in sys.modules)
    raise OSError(11, "Resource temporarily unavailable")

PipeIntake.__init__ = start
sys.exit(run(["check", "/nowhere", "--jobs", "2"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "False\n"
    assert "1 more process could not be started: Resource temporarily unavailable" in done.stderr
