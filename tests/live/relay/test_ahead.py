"""What a sweep asks a relay for before it comes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from tests.factories_memory import MemorySource
from tests.live.relay.test_relay import hosts, serve
from tui_params import open_source
from tui_params.cli.stats import read
from tui_params.core.reading import worked_out
from tui_params.core.reading.outcome import Outcome
from tui_params.core.reading.partial import WorkedOut
from tui_params.core.reading.sweep import measure_alone, scan_all
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError, SourceChangedError, StoppedError
from tui_params.live.attached.source import AttachedSource
from tui_params.live.inside.server import Server
from tui_params.live.relay import ahead as relay_ahead
from tui_params.live.relay import messages as m
from tui_params.live.relay.ahead import Ahead
from tui_params.live.relay.source import RelayedSource
from tui_params.live.relay.stream import Asked, Stream

__all__ = ["hosts", "serve"]


def test_a_sweep_asks_for_many_at_once(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m, "MOST_WORKED_OUT", 16)
    torch.manual_seed(0)
    net = nn.Module()
    net.layers = nn.ModuleList(nn.Linear(40, 40) for _ in range(15))
    net.head = nn.Linear(40, 40)
    net.head.weight = net.layers[0].weight
    net.register_buffer("none", torch.empty(0, 3))
    net.register_buffer("steps", torch.tensor(7))
    net.register_buffer("waves", torch.randn(50, 40, dtype=torch.complex64).t())
    net.requires_grad_(False)
    server = serve("far", net)
    outcomes: list[Outcome] = []
    with open_source("attach:ssh://far") as source, AttachedSource(Path(server.path)) as local:
        assert isinstance(source, RelayedSource)
        own: list[Outcome] = []
        scan_all(local, local.names(), own.append)
        net.layers[7].bias = nn.Parameter(torch.zeros(40))  # replaced: nothing else is to suffer from that
        begun = source._stream.requests
        scan_all(source, source.names(), outcomes.append)
        assert source._stream.requests - begun == 3  # of 34 tensors
        replaced = next(outcome for outcome in outcomes if outcome.name == "layers.7.bias")
        assert str(replaced.reason).startswith("layers.7.bias was replaced")
        outcomes.remove(replaced)
        assert outcomes == [each for each in own if each.name != replaced.name]
        begun = source._stream.requests
        results = list(read(source, [*source]))
        assert source._stream.requests - begun == 3
        figures = {outcome.name: outcome.figures for outcome in (*outcomes, replaced)}
        assert {result.info.name: result.figures for result in results} == figures
        # What is not expected is asked for by itself, by another thread too.
        with source.expecting(lambda: [source.find("waves"), source.find("steps")]):
            begun = source._stream.requests
            with ThreadPoolExecutor(1) as pool:
                apart = pool.submit(measure_alone, source, source.find("waves")).result()
            assert apart.figures == figures["waves"]
            assert source._stream.requests - begun == 1
            for name in ("waves", "none", "steps"):
                assert measure_alone(source, source.find(name)).figures == figures[name]
            assert source._stream.requests - begun == 3


class Scripted:
    """A stream to a relay that answers as a test wants."""

    def __init__(self) -> None:
        self.asked: list[m.WorkOutAll] = []
        self.answers: list[Asked] = []
        self.posted: list[m.Stop] = []
        self.open = 0
        self.why_lost = "it is lost"

    @contextmanager
    def begin(self, make: Callable[[int], m.WorkOutAll], most: int) -> Iterator[Asked]:
        number = len(self.asked) + 1
        self.asked.append(make(number))
        self.answers.append(Asked(cast(Stream, self), number, most))
        self.open += 1
        try:
            yield self.answers[-1]
        finally:
            self.open -= 1

    def post(self, make: Callable[[int], m.Stop]) -> None:
        self.posted.append(make(0))

    def say(self, question: int, raw: bytes = b"", **fields: Any) -> None:
        worked = m.Worked(**fields)
        self.answers[question].put(m.Answer(question + 1, msgspec.to_builtins(worked)), raw)


SOURCE = MemorySource(
    {f"w{number}": np.arange(number, number + 3, dtype=np.float32) for number in range(20)},
    tied_to={"w3": "w1"},
    unreadable={"w4": "it is elsewhere"},
)
INFOS = list(SOURCE)
ASKED = [f"w{number}" for number in range(20) if number not in (3, 4)]


def record(name: str) -> bytes:
    figures, channels = measure_alone(SOURCE, SOURCE.find(name))
    return worked_out.pack(WorkedOut(figures, channels, None))


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    monkeypatch.setattr(m, "MOST_WORKED_OUT", 5)
    return Scripted()


def ahead_of(stream: Scripted, infos: list[TensorInfo] | None = None) -> Ahead:
    expected = INFOS if infos is None else infos
    return Ahead(cast(Stream, stream), 1, lambda: expected, lambda info: (info.name, False))


def names(question: m.WorkOutAll) -> list[str]:
    return [wanted.name for wanted in question.tensors]


def test_two_questions_are_on_their_way_and_what_is_passed_over_is_not_waited_for(stream: Scripted) -> None:
    ahead = ahead_of(stream)
    done: list[int] = []

    def take(name: str) -> None:
        found = ahead.worked_out(SOURCE.find(name), None, done.append)
        assert found is not None
        assert found.figures == measure_alone(SOURCE, SOURCE.find(name)).figures

    with pytest.raises(StoppedError):
        ahead.worked_out(SOURCE.find("w0"), lambda: True, None)
    assert [names(question) for question in stream.asked] == [ASKED[:5], ASKED[5:10]]
    stream.say(0, at=0, done=2)
    stream.say(0, at=0, done=99)  # more than it has
    stream.say(0, record("w0"), at=0, is_found=True)
    take("w0")
    assert done == [2, 3]
    assert ahead.worked_out(SOURCE.find("w0"), None, None) is None  # once
    assert ahead.worked_out(SOURCE.find("w3"), None, None) is None  # tied
    assert ahead.worked_out(SOURCE.find("w4"), None, None) is None
    stream.say(0, at=1, error="w1 was replaced", is_changed=True)
    with pytest.raises(SourceChangedError, match="w1 was replaced"):
        ahead.worked_out(SOURCE.find("w1"), None, None)
    for at, name in enumerate(ASKED[2:5], 2):
        stream.say(0, record(name), at=at, is_found=True)
    take(ASKED[4])  # two are passed over, which somebody else has read
    assert len(stream.asked) == 2
    stream.say(1, record(ASKED[5]), at=0, is_found=True)
    take(ASKED[5])
    assert names(stream.asked[2]) == ASKED[10:15]
    assert (stream.open, stream.posted) == (2, [])
    # Passing over whole questions: of those that are not answered nothing is wanted, those to come are not asked.
    with pytest.raises(StoppedError):
        ahead.worked_out(SOURCE.find(ASKED[17]), lambda: True, None)
    assert [stop.question for stop in stream.posted] == [2, 3]
    assert [names(question) for question in stream.asked[3:]] == [[ASKED[17]]]
    ahead.close()
    assert [stop.question for stop in stream.posted] == [2, 3, 4]
    assert stream.open == 0


def test_nothing_is_asked_before_the_first_is_read(stream: Scripted) -> None:
    ahead_of(stream).close()
    assert ahead_of(stream, []).worked_out(INFOS[0], None, None) is None
    assert (stream.asked, stream.posted) == ([], [])


def test_long_names_go_alone(stream: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_ahead, "MOST_NAMES", 5)
    ahead = ahead_of(stream)
    with pytest.raises(StoppedError):
        ahead.worked_out(SOURCE.find("w0"), lambda: True, None)
    assert [names(question) for question in stream.asked] == [["w0", "w1"], ["w2", "w5"], ["w6", "w7"]]


@pytest.mark.parametrize(
    ("fields", "raw", "words"),
    [
        ({"at": 1, "is_found": True}, record("w1"), "not asked for"),
        ({"at": 99, "is_found": True}, record("w0"), "not asked for"),
        ({"at": 0, "is_found": True}, bytes((1 << 16) + 1), "not asked for"),
        ({"at": 0, "is_found": True}, b"", "cannot be right"),
        ({"at": 0, "is_found": True}, record("w0")[:-1], "cannot be right"),
    ],
    ids=["another", "none", "too long", "empty", "cut"],
)
def test_what_is_no_answer_is_refused(stream: Scripted, fields: dict[str, Any], raw: bytes, words: str) -> None:
    ahead = ahead_of(stream)
    with pytest.raises(StoppedError):
        ahead.worked_out(INFOS[0], lambda: True, None)
    stream.say(0, raw, **fields)
    with pytest.raises(ReadError, match=words):
        ahead.worked_out(INFOS[0], None, None)


def test_the_end_of_an_answer_is_the_reason_of_all_that_are_left(stream: Scripted) -> None:
    ahead = ahead_of(stream)
    with pytest.raises(StoppedError):
        ahead.worked_out(INFOS[0], lambda: True, None)
    stream.answers[0].put(m.Answer(1, {}, is_last=True), b"")
    stream.answers[1].put(m.Answer(2, {}, is_last=True, error="that source is closed"), b"")
    for name in ASKED[:5]:
        with pytest.raises(ReadError, match="the statistics of 0 of 5 tensors"):
            ahead.worked_out(SOURCE.find(name), None, None)
    for name in ASKED[5:10]:
        with pytest.raises(ReadError, match="that source is closed"):
            ahead.worked_out(SOURCE.find(name), None, None)
    stream.answers[2].lose()
    with pytest.raises(ReadError, match="it is lost"):
        ahead.worked_out(SOURCE.find(ASKED[10]), None, None)
    ahead.close()
    assert [stop.question for stop in stream.posted] == [4]  # the others have ended


def test_a_relay_that_sends_without_end_fills_no_memory(stream: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_ahead, "MOST_NBYTES", 10_000)
    ahead = ahead_of(stream)
    with pytest.raises(StoppedError):
        ahead.worked_out(INFOS[0], lambda: True, None)
    for _ in range(1000):
        stream.say(0, bytes(1000), at=0, done=1)
    assert stream.answers[0]._parts.qsize() < 12
    with pytest.raises(ReadError, match="more than 10,000 bytes that nobody has asked for yet"):
        ahead.worked_out(INFOS[0], None, None)
