"""One tensor on all ranks: models of this process that say they are ranks, and ranks that are at different steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

import tui_params
from tests.live.attached.conftest import runtime
from tests.live.watching.test_watchpoints import until
from tui_params.core import dtypes
from tui_params.core.over_ranks import OverRanks, RankFigures
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError
from tui_params.live.attached import replicas, together
from tui_params.live.attached.replicas import compare_ranks
from tui_params.live.attached.source import AttachedSource
from tui_params.live.attached.together import Part, read_together
from tui_params.live.attached.trained import StepFigures
from tui_params.live.watching import drift, over_ranks
from tui_params.live.watching.job import JobSource
from tui_params.live.watching.source import WatchedSource

__all__ = ["runtime"]


class DistributedDataParallel(nn.Module):  # type: ignore[misc]
    """What a replica is known by."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(2, 2)
        self.module.weight.data = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
        self.register_buffer("count", torch.tensor([2**40 + 1]))
        self.register_buffer("none", torch.empty(0))


@pytest.fixture
def models() -> list[DistributedDataParallel]:
    torch.manual_seed(0)
    found = [DistributedDataParallel() for _ in range(3)]
    for each in found[1:]:
        each.load_state_dict(found[0].state_dict())
    return found


@pytest.fixture
def job(runtime: Path, models: list[DistributedDataParallel]) -> Iterator[JobSource]:
    servers = [tui_params.serve(model, name="job") for model in models]
    with JobSource(
        {rank: partial(WatchedSource, Path(server.path)) for rank, server in enumerate(servers)}, 3, "job"
    ) as source:
        assert isinstance(source, JobSource)
        yield source
    for server in servers:
        server.stop()


def test_the_figures_of_all_ranks_and_the_one_that_differs(
    job: JobSource, models: list[DistributedDataParallel], monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = job.find("rank1.module.weight")
    over = job.over_ranks(weight)
    assert over is not None
    assert [(each.rank, each.norm, each.abs_max) for each in over.ranks] == [(0, 5, 4), (1, 5, 4), (2, 5, 4)]
    assert (over.step, over.odd, over.is_replica, over.is_piece) == (0, (), True, False)
    models[2].module.weight.data[0, 0] = math.nan
    for name in ("rank0.module.weight", "rank2.module.weight"):
        over = job.over_ranks(job.find(name))
        assert over is not None
        assert over.odd == (2,)
        assert over.ranks[2].non_finite == 1
        assert over.ranks[2].norm == 4
    count = job.over_ranks(job.find("rank0.count"))
    assert count is not None
    assert (count.odd, count.is_replica, count.ranks[0].norm) == ((), False, None)
    assert job.over_ranks(job.find("rank0.none")) is None
    assert job.over_ranks(job.find("rank0.module.weight.grad")) is None
    monkeypatch.setattr(over_ranks, "MOST", 47)
    with pytest.raises(ReadError, match="it has 48 B, and at most 47 B are read of all ranks to be compared"):
        job.over_ranks(weight)


def test_what_cannot_be_read_is_not_passed_over(job: JobSource, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [finding for finding in job.listing.findings if finding.rule.startswith("replicas")]
    second = job._ranks[1]
    tensors = tuple(
        msgspec.structs.replace(info, unreadable="it lies on cuda:1") if info.name == "module.weight" else info
        for info in second.listing.tensors
    )
    monkeypatch.setattr(second, "listing", msgspec.structs.replace(second.listing, tensors=tensors))
    monkeypatch.setitem(second._index, "module.weight", next(info for info in tensors if info.unreadable))
    assert [(finding.severity, finding.evidence) for finding in compare_ranks(job._ranks)] == [
        ("info", "1 parameter could not be read, and compared between ranks: it lies on cuda:1")
    ]
    over = job.over_ranks(job.find("rank0.module.weight"))
    assert over is not None
    assert ([each.rank for each in over.ranks], over.served) == ([0, 2], 3)


def test_what_ranks_drift_to_is_seen_while_they_are_on_screen(
    job: JobSource, models: list[DistributedDataParallel], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> list[tuple[str | None, str]]:
        return [(each.tensor, each.evidence) for each in job.listing.findings if each.rule == "replicas-differ"]

    monkeypatch.setattr(drift, "LEAST_REST", 0.01)
    monkeypatch.setattr(drift, "_SHARE", 1.0)
    job.courses()
    assert said() == []
    before = [info.name for info in job.listing.tensors]
    models[2].module.bias.data[1] += 1
    expected = ("rank2.module.bias", "differs from rank 0 after step 0: 1 of 2 values, by 1 at most")
    until(lambda: said() == [expected])
    models[2].module.bias.data = models[0].module.bias.data.clone()
    # It lies elsewhere now: that it could not be compared is said, and it is not called equal.
    until(lambda: any("was replaced" in each.evidence for each in job.listing.findings))
    assert [info.name for info in job.listing.tensors] == before


class Fast:
    """A rank of DistributedDataParallel that makes a step at each look; ``drifted`` from some step on."""

    line = None

    def __init__(self, first: int, length: int, drifted: int = 10**9) -> None:
        self.at, self.length, self.drifted = first, length, drifted
        info = TensorInfo("w", (1,), dtypes.named("float32") or dtypes.unknown("float32"), 1, 4, "parameter")
        self.listing = Listing("", (info,), modules={"": "DistributedDataParallel"})

    def __contains__(self, name: str) -> bool:
        return True

    def find(self, name: str) -> TensorInfo:
        return self.listing.tensors[0]

    def value(self, step: int) -> float:
        return step + (0.5 if step >= self.drifted else 0.0)

    def looks(self, info: TensorInfo, seconds: float, *, is_only_bits: bool = False) -> dict[int, StepFigures]:
        count = self.length if seconds else 1
        self.at += count
        return {step: StepFigures(str(self.value(step)).encode()) for step in range(self.at - count, self.at)}

    def bytes_at_step(self, info: TensorInfo) -> tuple[Any, int]:
        self.at += 1
        return np.array([self.value(self.at)], np.float32).view(np.uint8), self.at


def compared(*ranks: Fast) -> list[str]:
    return [each.evidence for each in compare_ranks(cast(Any, dict(enumerate(ranks))))]


def test_ranks_that_make_a_step_between_two_reads_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second is always read some steps later, but both were looked at after many of the same steps.
    assert compared(Fast(10, 50), Fast(17, 50)) == []
    (words,) = compared(Fast(10, 50), Fast(17, 50, drifted=0))
    assert words.startswith("differs from rank 0 after step ")
    monkeypatch.setattr(replicas, "TENSOR_SECONDS", 0.0)
    assert compared(Fast(10, 1), Fast(1_000, 1)) == [
        "1 parameter could not be compared between ranks after the same step: 0 s of looks at all ranks had no step in"
        " common"
    ]
    assert [each.evidence for each in compare_ranks(cast(Any, {0: Fast(1, 1), 1: Fast(1, 1)}), 0.0)] == [
        "1 parameter had no turn: ranks are compared for at most 0 s"
    ]


class Paced:
    """A rank that is some steps further at each look, with the number of the step as its only value."""

    def __init__(self, *steps: int) -> None:
        self.steps = list(steps)

    def bytes_at_step(self, info: TensorInfo) -> tuple[Any, int]:
        step = self.steps.pop(0)
        return np.array([step], np.float32).view(np.uint8), step


def test_ranks_are_read_until_all_were_read_after_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    info = TensorInfo("w", (1,), dtypes.named("float32") or dtypes.unknown("float32"), 1, 4)
    # The second has counted from its tenth step on.
    first, second = Paced(10, 12), Paced(2)
    parts = [Part(cast(AttachedSource, first), info, 0), Part(cast(AttachedSource, second), info, 10)]
    found, step = read_together(parts, 100, "")
    assert ([raw.view(np.float32)[0] for raw in found], step) == ([12, 2], 12)
    monkeypatch.setattr(together, "SECONDS", -1.0)
    first.steps, second.steps = [10], [1]
    with pytest.raises(ReadError, match="could not be read after the same step"):
        read_together(parts, 100, "")


def ranks(*norms: float, is_replica: bool = True, non_finite: int = 0) -> OverRanks:
    figures = [RankFigures(rank, norm, norm / 2, 0, str(norm).encode()) for rank, norm in enumerate(norms)]
    figures[-1] = RankFigures(len(norms) - 1, norms[-1], norms[-1] / 2, non_finite, str(norms[-1]).encode())
    return OverRanks(tuple(figures), 1_204, len(norms), is_replica=is_replica)


def test_who_stands_out() -> None:
    assert ranks(1, 1, 1).odd == ()
    assert ranks(1, 2, 2).odd == (0,)
    assert ranks(1, 2).odd == (1,)
    assert ranks(1, 1, 2, 2).odd == (2, 3)
    assert not ranks(1, 1, 2, 2).has_majority
