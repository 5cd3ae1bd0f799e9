"""Watchpoints on a model of this process: what they see, what they say, and that they end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import tui_params
from tests.live.attached.conftest import runtime
from tui_params.errors import QueryError
from tui_params.live.inside.server import Server
from tui_params.live.watching.source import WatchedSource

__all__ = ["runtime"]


class Trained:
    def __init__(self) -> None:
        self.net = nn.Linear(3, 2)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.0)
        self.server: Server = tui_params.serve(self.net, self.optimizer, name="net")
        self.viewer = WatchedSource(Path(self.server.path))

    def step(self, value: float) -> None:
        for parameter in self.net.parameters():
            parameter.grad = torch.full_like(parameter, value)
        self.optimizer.step()


@pytest.fixture
def trained(runtime: Path) -> Iterator[Trained]:
    found = Trained()
    yield found
    found.viewer.close()
    found.server.stop()


def until(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_events_are_told_with_their_step_and_kept(trained: Trained) -> None:
    watching = trained.viewer.watching()
    assert (watching.words, watching.events()) == ("", ())
    watching.start(["weight"], "nan  norm>5")
    until(lambda: bool(watching.words))
    assert watching.words == "watching 2 tensors and gradients for nan norm>5"
    trained.step(1.0)
    trained.step(math.nan)
    until(lambda: len(watching.events()) == 3)  # NaN, and so no norm, and in the weight too
    assert {finding.tensor for finding in watching.events()} == {"weight"}
    assert watching.events()[0].evidence.startswith("step 2, in its gradient: nan: 6 of 6 values NaN")
    watching.stop()
    until(lambda: not trained.server.clock.at_step)
    assert len(watching.events()) == 3


def test_another_start_takes_the_place_of_the_first(trained: Trained) -> None:
    watching = trained.viewer.watching()
    watching.start(None, "inf")
    until(lambda: bool(watching.words))
    watching.start(["bias"], "norm>1")
    until(lambda: bool(watching.words))
    assert watching.words == "watching 1 tensor and gradient for norm>1"
    until(lambda: len(trained.server.clock.at_step) == 1)
    trained.step(9.0)
    until(lambda: bool(watching.events()))
    assert [finding.tensor for finding in watching.events()] == ["bias"]


def test_what_cannot_be_watched_says_why(trained: Trained) -> None:
    watching = trained.viewer.watching()
    with pytest.raises(QueryError):
        watching.start(None, "nan sometimes")
    assert watching.conditions == ""
    watching.start([], "nan")
    until(lambda: bool(watching.words))
    assert watching.words == "nothing is watched: nothing here is what these conditions are about"
    watching.start(None, "nan")
    until(lambda: watching.words.startswith("watching"))
    trained.server.stop()
    until(lambda: "the process has gone" in watching.words)
