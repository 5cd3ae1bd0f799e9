"""A model of another machine, through a relay: a pipe to this one, in place of ssh."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

import tui_params
from tests.live.attached.trainers import LOOP, training
from tests.live.relay.fakes import IMPOSTOR, be_ssh
from tests.live.watching.test_watchpoints import until
from tui_params import open_source
from tui_params.core.watching import Wish
from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.live.attached.finding import Serving, jobs_of
from tui_params.live.attached.source import AttachedSource
from tui_params.live.inside.server import Server
from tui_params.live.relay import messages as m
from tui_params.live.relay.address import Host
from tui_params.live.relay.places import find_far, find_places
from tui_params.live.relay.source import RelayedSource
from tui_params.live.relay.stream import _STREAMS, Stream, joined
from tui_params.live.watching.job import JobSource


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which each host that ssh knows has its runtime folder: ``far`` and ``other``."""
    folder = Path(tempfile.mkdtemp(prefix="rt"))
    for name in ("far", "other"):
        (folder / name).mkdir(0o700)
    be_ssh(monkeypatch, folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def serve(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Serves a model of this process as if it were on a host."""
    servers: list[Server] = []

    def start(host: str, model: nn.Module, rank: int | None = None, size: int = 2) -> Server:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(hosts / host))
        server = tui_params.serve(model, name="run, 7/a")
        described = {**server.served.describe(), "rank": rank, "world_size": size}
        monkeypatch.setattr(server.served, "describe", lambda: described)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


def test_everything_is_as_it_is_here(serve: Callable[..., Server]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(300, 400), nn.LayerNorm(400))
    net.register_buffer("bf", torch.arange(12, dtype=torch.bfloat16).reshape(3, 4).t())
    net.register_buffer("none", torch.empty(0, 3))
    server = serve("far", net)
    with open_source("attach:ssh://far/run%2C 7%2Fa") as source, AttachedSource(Path(server.path)) as local:
        assert isinstance(source, RelayedSource)
        assert source.label == f"run, 7/a ({os.getpid()}) on far"
        assert msgspec.structs.replace(source.listing, metadata={}) == msgspec.structs.replace(
            local.listing, metadata={}
        )
        assert np.array_equal(source.read("0.weight"), net[0].weight.detach().numpy())
        assert source.read("bf", "1:, ::-1").tolist() == local.read("bf", "1:, ::-1").tolist()
        assert source.read("bf", "0, 2").tolist() == 8
        assert source.read("none").shape == (0, 3)
        assert source.summarize("bf") == local.summarize("bf")
        info = source.find("0.weight")
        assert source.looks(info, 0.0) == local.looks(info, 0.0)
        assert (
            b"".join(block.tobytes() for block in source.blocks(info, 7, 20))
            == net[0].weight.detach().numpy().tobytes()[28:80]
        )
        assert source.beat().steps == 0
        assert source.beat().lost is None
        assert source.changed() is None
        assert source.line is not None
        assert (source.line.address, source.to_fetch(info)) == ("ssh://far", info.nbytes)
        assert info.nbytes < source.line.traffic.nbytes < 3 * info.nbytes
        net[0].weight = nn.Parameter(torch.zeros(300, 400))
        with pytest.raises(SourceChangedError, match=r"0\.weight was replaced"):
            source.read("0.weight")
        stream = source._stream
        with pytest.raises(ReadError, match="the window is not one of bf"):
            stream.ask_one(lambda mine: m.ReadWindow(mine, 1, "bf", False, [m.Axis(0, 1, 9, False)] * 2))
        with pytest.raises(ReadError, match="bf has no elements 0 to 13"):
            stream.ask_one(lambda mine: m.ReadBytes(mine, 1, "bf", False, 0, 13))
        with pytest.raises(ReadError, match="that source is closed"):
            stream.ask_one(lambda mine: m.Look(mine, 77, "bf", False, 0.0, True))
    with pytest.raises(ReadError, match="is closed"):
        source.read("bf")
    assert not _STREAMS
    with pytest.raises(OpenError, match="no process with the number or the name 'nobody' serves a model"):
        open_source("attach:ssh://far/nobody")
    with pytest.raises(OpenError, match="no process of yours serves a model on other"):
        open_source("attach:ssh://other")


def test_a_training_is_followed_and_watched(hosts: Path) -> None:
    with training(LOOP, hosts / "far", "served", "0"), open_source("attach:ssh://far") as source:
        assert isinstance(source, RelayedSource)
        assert source.read("0.weight.grad").shape == (64, 32)
        courses = source.courses()
        courses.want(["0.weight", "3.bias"])
        until(lambda: courses.publish() and len((courses.of("0.weight") or msgspec.UNSET).norms) > 1)  # type: ignore[union-attr]
        course = courses.of("0.weight")
        assert course is not None
        assert all(point.value is not None and point.value > 0 for point in course.norms)
        steps = [point.step for point in course.norms]
        assert steps == sorted({*steps})
        watching = source.watching()
        watching.start(["0.weight"], Wish("norm>1e-30", hold_seconds=60.0))
        until(lambda: len(watching.events()) > 0 and watching.standing != "")
        assert watching.words == "watching 1 tensor and gradient for norm>1e-30"
        assert {(event.tensor, event.rule) for event in watching.events()} == {("0.weight", "watch")}
        until(lambda: source.beat().held > 0)
        held = source.beat().steps
        watching.release()
        until(lambda: source.beat().steps > held)
        # A viewer that is gone leaves no training that stands.
        watching.start(["0.weight"], Wish("norm>1e-30", hold_seconds=60.0))
        until(lambda: source.beat().held > 0)
        source._stream._channel.close_sending()
        (path,) = (hosts / "far" / "tui-params").glob("*.sock")
        with AttachedSource(path) as local:
            until(lambda: local.beat().held == 0)
        until(lambda: source.beat().lost is not None)


def test_a_lost_connection_is_said_and_made_anew(serve: Callable[..., Server]) -> None:
    server = serve("far", nn.Linear(2, 2))
    with open_source("attach:ssh://far") as source:
        assert isinstance(source, RelayedSource)
        os.killpg(source._stream._process.pid, signal.SIGKILL)
        until(lambda: source.beat().lost is not None)
        assert str(source.changed()).startswith("the connection to far is lost")
        with pytest.raises(ReadError, match="the connection to far is lost"):
            source.read("weight")
        with open_source("attach:ssh://far") as again:
            assert isinstance(again, RelayedSource)
            assert again.read("weight").shape == (2, 2)
            # Now the process ends, and the relay says so.
            server.stop()
            until(lambda: again.beat().lost is not None)
            assert str(again.changed()).startswith("the process has ended, or no longer serves its model; ")


def test_ranks_of_two_machines_are_one_job(serve: Callable[..., Server], hosts: Path) -> None:
    class DistributedDataParallel(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 2)

    torch.manual_seed(0)
    first, second = DistributedDataParallel(), DistributedDataParallel()
    second.load_state_dict(first.state_dict())
    second.module.bias.data[0] += 1
    serve("far", first, rank=0)
    serve("other", second, rank=1)
    with open_source("attach:all:ssh://far,ssh://other") as source:
        assert isinstance(source, JobSource)
        assert source.label == "run, 7/a (2 of 2 ranks)"
        (finding,) = [each for each in source.listing.findings if each.rule == "replicas-differ"]
        assert (finding.severity, finding.tensor) == ("error", "rank1.module.bias")
        assert finding.evidence == "differs from rank 0 after step 0: 1 of 2 values, by 1 at most"
        over = source.over_ranks(source.find("rank0.module.bias"))
        assert over is not None
        assert over.odd == (1,)
    # A machine under two names is one.
    shutil.rmtree(hosts / "other")
    (hosts / "other").symlink_to("far")
    assert [each.host for each in find_places("ssh://far,ssh://other")] == ["ssh://far"]
    with open_source("attach:all:ssh://far") as source:
        (finding,) = [each for each in source.listing.findings if each.rule == "ranks-missing"]
        assert finding.evidence == "of 2 ranks, 1 is not served on far: 1"
    assert not _STREAMS


def test_two_machines_with_the_same_ranks_have_two_jobs() -> None:
    found = [
        Serving(Path(f"{host}{rank}.sock"), 10 + rank, "job", rank=rank, world_size=2, command="t.py", host=host)
        for host in ("ssh://a", "ssh://b")
        for rank in (0, 1)
    ]
    assert [[each.host for each in job.values()] for job in jobs_of(found)] == [["ssh://a"] * 2, ["ssh://b"] * 2]
    assert [[each.host for each in job.values()] for job in jobs_of([found[0], found[3]])] == [["ssh://a", "ssh://b"]]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\4\0\0\0\0\0\0\0null", "answers in a way that is not understood"),
        (b"\xff\xff\xff\xff\0\0\0\0", "which is refused"),
        (
            msgspec.json.encode(m.Greeting(m.VERSION + 1, "9.9", "little")),
            r"far has a newer version of tui-params \(9\.9\): use the same in both",
        ),
        (
            msgspec.json.encode(m.Greeting(m.VERSION - 1, "0.1", "little")),
            r"far has an older version of tui-params \(0\.1\): use the same in both",
        ),
        (msgspec.json.encode(m.Greeting(m.VERSION, "9.9", "middle")), "another order of bytes"),
    ],
)
def test_what_is_no_relay_is_refused(data: bytes, words: str) -> None:
    if data.startswith(b"{"):
        data = len(data).to_bytes(4, "little") + bytes(4) + data
    with pytest.raises(OpenError, match=words):
        Stream(Host("far"), [sys.executable, "-c", IMPOSTOR, repr(data), "and end"])


def test_questions_that_make_no_sense_end_a_relay(hosts: Path) -> None:
    with joined(Host("far")) as stream:
        stream._channel.send(b'{"ask":"os.system","id":1}')
        until(lambda: stream.lost is not None)
        assert "a question is not understood" in str(stream.lost)
    assert find_far(Host("far")) == []
