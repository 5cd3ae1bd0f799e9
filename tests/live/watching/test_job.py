"""All ranks of a job in one tree: two processes of gloo, under DDP and FSDP2; replicas that have drifted apart."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.factories_elsewhere import ElsewhereSource
from tests.live.attached.conftest import runtime
from tests.live.watching.test_watchpoints import until
from tui_params.api.opening import open_source
from tui_params.core.beat import Beat
from tui_params.core.findings import Finding
from tui_params.core.health.places import first_places
from tui_params.core.health.sought import NAN
from tui_params.core.tensor import TensorInfo
from tui_params.core.watching import Wish
from tui_params.errors import OpenError
from tui_params.live.attached.finding import Serving, jobs_of, ranks_of
from tui_params.live.attached.trained import StepFigures, TrainedSource
from tui_params.live.watching.job import JobSource

__all__ = ["runtime"]

distributed = pytest.importorskip("torch.distributed")
pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed")

RANK = """
import os, sys, torch, tui_params
import torch.distributed as distributed
from torch import nn
way, store = sys.argv[1:3]
rank = int(os.environ["RANK"])
torch.set_num_threads(1)
distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 8))
if way == "fsdp2":
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    net = fully_shard(net, mesh=init_device_mesh("cpu", (2,)))
elif way == "ddp":
    net = nn.parallel.DistributedDataParallel(net)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
tui_params.serve(net, optimizer, name="job")
data = torch.randn(4, 8, generator=torch.Generator().manual_seed(rank))

def step():
    optimizer.zero_grad()
    net(data).pow(2).mean().backward()
    optimizer.step()

step()
print("serving", flush=True)
for line in sys.stdin:
    if line == "drift\\n" and rank == 1:
        with torch.no_grad():
            next(net.parameters())[2, 3] += 1.0
    elif line == "nan\\n" and rank == 1:
        data[0, 0] = float("nan")
    elif line == "step\\n":
        step()
    print("done", flush=True)
"""


class Job:
    """The two processes, told what to do one word at a time."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self.processes = processes

    def tell(self, word: str) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{word}\n")
            process.stdin.flush()
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"


@contextmanager
def job(way: str, folder: Path) -> Iterator[Job]:
    processes = []
    for rank in range(2):
        known = {"XDG_RUNTIME_DIR": str(folder), "RANK": str(rank), "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
        environment = {**os.environ, **known, "PYTHONPATH": os.pathsep.join(sys.path)}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", RANK, way, str(folder / "store")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                text=True,
            )
        )
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "serving\n"
        yield Job(processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def said(source: JobSource) -> list[Finding]:
    return [finding for finding in source.listing.findings if finding.rule.startswith("replicas")]


def opened(name: str = "attach:all") -> JobSource:
    source = open_source(name)
    assert isinstance(source, JobSource)
    return source


def test_replicas_of_ddp_that_drift_apart(runtime: Path) -> None:
    with job("ddp", runtime) as ranks:
        with opened() as source:
            assert isinstance(source, JobSource)
            assert source.label == "job (2 of 2 ranks)"
            assert said(source) == []
            assert {"rank0.module.0.weight", "rank1.module.0.weight"} <= set(source.names())
            assert np.array_equal(source.read("rank0.module.0.weight"), source.read("rank1.module.0.weight"))
            assert source.beat().steps == 1
            assert "rank1.optimizer.module.0.weight.exp_avg" in source
        ranks.tell("drift")
        with opened("attach:all:job") as source:
            assert isinstance(source, JobSource)
            (finding,) = said(source)
            assert (finding.severity, finding.tensor) == ("error", "rank1.module.0.weight")
            assert finding.evidence == "differs from rank 0 after step 1: 1 of 48 values, by 1 at most"
        ranks.tell("step")
        with opened() as source:
            assert isinstance(source, JobSource)
            assert source.beat().steps == 2
            assert "rank1.module.0.weight" in {finding.tensor for finding in said(source)}
        # One rank alone says that the other is missing here.
        ranks.processes[1].kill()
        ranks.processes[1].wait()
        with opened() as source:
            assert isinstance(source, JobSource)
            assert [finding.evidence for finding in source.listing.findings if finding.rule == "ranks-missing"] == [
                "of 2 ranks, 1 is not served on this machine: 1"
            ]


def test_shards_of_fsdp2_are_not_replicas(runtime: Path, tmp_path: Path) -> None:
    with job("fsdp2", runtime) as ranks, opened() as source:
        assert isinstance(source, JobSource)
        assert said(source) == []
        weight = source.find("rank1.0.weight")
        assert weight.shape == (3, 8)
        assert any("placements (Shard(dim=0),)" in note for note in weight.notes)
        torch.manual_seed(0)
        assert not np.array_equal(source.read("rank0.0.weight"), source.read("rank1.0.weight"))
        ranks.tell("step")
        assert source.beat().steps == 2
        # The rows of both are one tensor: what a model of one process has after the same steps.
        whole = source.find("whole.0.weight")
        assert (whole.shape, whole.notes) == ((6, 8), ("2 ranks have the rows of it, one after the other: 3, 3",))
        rows = [source.read(f"rank{rank}.0.weight") for rank in range(2)]
        assert np.array_equal(source.read("whole.0.weight"), np.concatenate(rows))
        assert source.read("whole.0.weight", "2:4, 1").tolist() == [rows[0][2, 1], rows[1][0, 1]]
        parts = [source.summarize(f"rank{rank}.0.weight") for rank in range(2)]
        assert source.summarize("whole.0.weight") == parts[0].merge(parts[1])
        assert "whole.optimizer.0.weight.exp_avg" in source
        assert "whole.optimizer.0.weight.step" not in source  # a number that each rank has
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(source.read, "whole.0.weight.grad")
            while not asked.done():
                ranks.tell("step")
        assert asked.result().shape == (6, 8)
        assert np.isfinite(asked.result()).all()
        made = source.beat().steps
        # What comes of one rank's data is seen on all, and saved for each.
        watching = source.watching()
        watching.start(["rank0.0.weight", "rank1.0.weight"], Wish("nan", str(tmp_path)))
        until(lambda: watching.words.startswith("each rank: watching 2 tensors and gradients for nan"))
        ranks.tell("nan")
        ranks.tell("step")
        until(lambda: len(watching.events()) >= 4)
        assert {event.tensor for event in watching.events()} == {"rank0.0.weight", "rank1.0.weight"}
        assert {path.name for path in tmp_path.iterdir()} == {
            f"rank{rank}-step-{made + 1}.safetensors" for rank in range(2)
        }


def test_a_model_that_is_not_known_to_be_replicated(runtime: Path) -> None:
    with job("plain", runtime) as ranks:
        with opened() as source:
            assert isinstance(source, JobSource)
            # Each trains on its own data without a word to the other: most parameters differ, which may be meant.
            (finding,) = said(source)
            assert finding.severity == "info"
            assert "parameters differ between ranks: each may have a part of its own" in finding.evidence
        assert ranks.processes[0].poll() is None


class RankElsewhere(ElsewhereSource, TrainedSource):
    """A rank on another machine."""

    def bytes_at_step(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> tuple[NDArray[np.uint8], int]:
        raise AssertionError("nobody compares one rank")

    def looks(self, info: TensorInfo, seconds: float, *, is_only_bits: bool = False) -> dict[int, StepFigures]:
        raise AssertionError("nobody compares one rank")

    def beat(self) -> Beat:
        return Beat(1, 0.0)


def test_each_rank_is_asked_what_it_works_out_itself() -> None:
    source = RankElsewhere({"a": np.ones(3, np.float32), "b": np.array([1, np.nan], np.float32)}, worth=1)
    with JobSource({1: lambda: source}, 2, "job") as job, job.expecting(lambda: job.listing.tensors):
        assert [info.name for info in job] == ["rank1.a", "rank1.b"]
        assert source.expected == [["a", "b"]]
        assert first_places(job, job.find("rank1.b"), [NAN]) == {NAN: ((1,),)}
        assert (source.sought, source.fetched) == (["b"], [])


def serving(rank: int | None, pid: int, name: str = "job", size: int = 2, command: str = "train.py") -> Serving:
    return Serving(Path(f"{pid}.sock"), pid, name, rank=rank, world_size=size, command=command)


def test_which_ranks_are_a_job() -> None:
    two = [serving(1, 11), serving(0, 10)]
    assert [each.pid for each in ranks_of(two, None).values()] == [10, 11]
    others = [serving(0, 20, "other"), serving(None, 30, "alone")]
    assert [each.pid for each in ranks_of([*two, *others], "11").values()] == [10, 11]
    assert [each.pid for each in ranks_of([*two, *others], "other").values()] == [20]
    for found, wanted, words in (
        ([*two, *others], None, "2 jobs are served: choose by the number of one of their ranks (10, 20)"),
        (others[1:], None, "no rank of a job is served here"),
        (others, "alone", "is no rank of a job"),
        (two, "nobody", "no process with the number or the name"),
    ):
        with pytest.raises(OpenError) as raised:
            ranks_of(found, wanted)
        assert words in str(raised.value)


def test_ranks_whose_commands_have_their_numbers_are_one_job() -> None:
    def jobs(*commands: tuple[int, str], size: int = 2) -> list[list[int]]:
        found = [serving(rank, 10 + at, size=size, command=words) for at, (rank, words) in enumerate(commands)]
        return [[each.pid for each in job.values()] for job in jobs_of(found)]

    assert jobs((1, "t.py 1"), (0, "t.py 0")) == [[11, 10]]
    assert jobs((5, "t.py --local-rank=1 -v"), (4, "t.py --local-rank=0 -v"), size=8) == [[11, 10]]
    # Two jobs, of which each is whole, or of which neither says the rank.
    assert jobs((0, "t.py 0"), (1, "t.py 0"), (0, "t.py 1"), (1, "t.py 1")) == [[10, 11], [12, 13]]
    assert jobs((1, "t.py --seed 8"), (0, "t.py --seed 7")) == [[10], [11]]
    assert jobs((1, "t.py --to a"), (0, "t.py --to b")) == [[10], [11]]
    assert jobs((1, "t.py 1"), (0, "t.py 0 -v")) == [[10], [11]]
    assert jobs((0, "t.py 0"), (1, "t.py 1"), (2, "t.py 2")) == [[10, 11], [12]]
