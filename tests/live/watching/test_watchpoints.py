"""Watchpoints on a model of this process: what they see, what they say, and that they end."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import tui_params
from tests.live.attached.conftest import runtime
from tui_params.api.opening import open_source
from tui_params.core.watching import Wish
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
    deadline = time.monotonic() + 100
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_events_are_told_with_their_step_and_kept(trained: Trained) -> None:
    watching = trained.viewer.watching()
    assert (watching.words, watching.events()) == ("", ())
    watching.start(["weight"], Wish("nan  norm>5"))
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
    watching.start(None, Wish("inf"))
    until(lambda: bool(watching.words))
    watching.start(["bias"], Wish("norm>1"))
    until(lambda: bool(watching.words))
    assert watching.words == "watching 1 tensor and gradient for norm>1"
    until(lambda: len(trained.server.clock.at_step) == 1)
    trained.step(9.0)
    until(lambda: bool(watching.events()))
    assert [finding.tensor for finding in watching.events()] == ["bias"]


def test_what_cannot_be_watched_says_why(trained: Trained) -> None:
    watching = trained.viewer.watching()
    with pytest.raises(QueryError):
        watching.start(None, Wish("nan sometimes"))
    assert watching.wish == Wish()
    watching.start([], Wish("nan"))
    until(lambda: bool(watching.words))
    assert watching.words == "nothing is watched: nothing here is what these conditions are about"
    watching.start(None, Wish("nan"))
    until(lambda: watching.words.startswith("watching"))
    trained.server.stop()
    until(lambda: "the process has gone" in watching.words)


def test_tensors_are_saved_and_the_training_stands_until_it_is_let_go(trained: Trained, tmp_path: Path) -> None:
    watching = trained.viewer.watching()
    watching.start(["weight"], Wish("nan", str(tmp_path), 60.0))
    until(lambda: bool(watching.words))
    work = threading.Thread(target=trained.step, args=(math.nan,))
    work.start()
    until(lambda: watching.standing.startswith("the training stands at the end of step 1, for at most "))
    until(lambda: bool(watching.events()))
    path = tmp_path / "step-1.safetensors"
    assert watching.events()[0].evidence.endswith(f"; saved as {path}")
    assert set(open_source(path).names()) == {"weight", "weight.grad"}
    assert trained.viewer.beat().held == 1
    watching.release()
    work.join(100)
    assert not work.is_alive()
    until(lambda: watching.standing == "")
    # It goes on holding, which is no event: the training does not stand again.
    trained.step(math.nan)
    assert len(watching.events()) == 2


def test_a_folder_that_is_not_there_is_said(trained: Trained, tmp_path: Path) -> None:
    watching = trained.viewer.watching()
    watching.start(None, Wish("nan", str(tmp_path / "absent")))
    until(lambda: bool(watching.words))
    assert watching.words == f"nothing is watched: there is no folder {tmp_path / 'absent'}"
