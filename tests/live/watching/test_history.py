"""The courses of parameters: norms and updates step by step, against torch in float64; what fits, and what does not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import tui_params
from tests.live.attached.conftest import runtime
from tui_params.core.course import Course
from tui_params.core.dtypes import from_torch
from tui_params.live.attached.figures import update_of
from tui_params.live.inside.server import Server
from tui_params.live.watching import history
from tui_params.live.watching.source import WatchedSource

__all__ = ["runtime"]

TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.float8_e4m3fn)


def raw(tensor: torch.Tensor) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = tensor.reshape(-1).view(torch.uint8).numpy()
    return found


def reference(before: torch.Tensor, after: torch.Tensor) -> float:
    kind = torch.complex128 if before.is_complex() else torch.float64
    old, new = before.to(kind), after.to(kind)
    return float(torch.linalg.vector_norm(new - old) / torch.linalg.vector_norm(old))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_an_update_is_what_torch_makes_of_it_in_float64(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randn(70_001, generator=generator).to(dtype) for _ in range(2))
    described = from_torch(str(dtype).removeprefix("torch."))
    assert described is not None
    found = update_of(raw(before), raw(after), described, before.numel())
    assert found == pytest.approx(reference(before, after), rel=1e-12)
    assert update_of(raw(before), raw(before), described, before.numel()) == 0


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_an_update_from_or_to_what_is_not_finite_is_none(dtype: torch.dtype) -> None:
    described = from_torch(str(dtype).removeprefix("torch."))
    assert described is not None
    one = torch.ones(5).to(dtype)
    for odd in (math.nan, math.inf, -math.inf):
        other = torch.tensor([1.0, 1, odd, 1, 1]).to(dtype)
        if bool(other.to(torch.complex64).isfinite().all()):
            continue  # float8_e4m3fn has no infinity
        assert update_of(raw(one), raw(other), described, 5) is None
        assert update_of(raw(other), raw(one), described, 5) is None


@pytest.mark.parametrize("size", [1e308, 1e300, 1e-300, 5e-324, 1e-160])
def test_an_update_at_the_ends_of_the_range(size: float) -> None:
    kind = from_torch("float64")
    assert kind is not None
    before, after = torch.tensor([size, -size], dtype=torch.float64), torch.tensor([-size, size], dtype=torch.float64)
    assert update_of(raw(before), raw(after), kind, 2) == pytest.approx(2.0)
    zero = torch.tensor([0.0, -0.0], dtype=torch.float64)
    assert update_of(raw(zero), raw(after), kind, 2) == math.inf
    assert update_of(raw(zero), raw(-zero), kind, 2) == 0
    assert update_of(raw(after), raw(zero), kind, 2) == pytest.approx(1.0)


class Trained:
    """A served model of this process, and a viewer with its courses."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.optimizer = torch.optim.SGD(net.parameters(), lr=0.5, fused=True)
        self.server: Server = tui_params.serve(net, self.optimizer, name="net")
        self.viewer = WatchedSource(Path(self.server.path))
        self.courses = self.viewer.courses()

    def step(self, value: float | None) -> None:
        for parameter in self.net.parameters():
            parameter.grad = None if value is None else torch.full_like(parameter, value)
        self.optimizer.step()

    def until(self, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 100
        while not is_done():
            assert time.monotonic() < deadline
            self.courses.publish()
            time.sleep(0.002)

    def looked(self, name: str, steps: int) -> Course:
        def course() -> Course:
            return self.courses.of(name) or Course()

        self.until(lambda: bool(course().norms) and course().norms[-1].step == steps)
        return course()

    def watched(self) -> None:
        self.until(lambda: 1 in self.watches())

    def watches(self) -> set[int]:
        return {1} if self.server.clock.at_step else set()

    def close(self) -> None:
        self.viewer.close()
        self.server.stop()


@pytest.fixture
def trained(runtime: Path) -> Iterator[Trained]:
    net = nn.Linear(3, 2, bias=False)
    nn.init.constant_(net.weight, 2.0)
    found = Trained(net)
    yield found
    found.close()


def test_a_tied_parameter_is_followed_under_each_of_its_names(runtime: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    net[1].weight = net[0].weight
    trained = Trained(net)
    trained.courses.want(["1.weight"])
    trained.watched()
    trained.step(1.0)
    assert trained.looked("1.weight", 1) == trained.courses.of("0.weight")
    trained.close()


def test_norms_and_updates_step_by_step(trained: Trained) -> None:
    assert trained.courses.of("weight") is None
    trained.courses.want(["weight", "there is none"])
    trained.watched()
    trained.step(1.0)
    first = trained.looked("weight", 1)
    assert [point.value for point in first.norms] == [pytest.approx(6**0.5)]
    assert first.updates == ()  # what it was before the step is not known
    trained.step(1.0)
    second = trained.looked("weight", 2)
    # From 1.5 to 1.0.
    assert [point.step for point in second.updates] == [2]
    assert [point.value for point in second.updates] == [pytest.approx(0.5 / 1.5)]
    trained.step(math.nan)
    trained.step(None)
    last = trained.looked("weight", 4)
    assert [(point.value, point.word) for point in last.norms[2:]] == [(None, "NaN"), (None, "none")]
    assert (last.updates[-2].word, last.updates[-1].word) == ("NaN", "NaN")
    assert trained.courses.publish() is False


def test_gradients_that_are_still_scaled_say_so(trained: Trained) -> None:
    trained.courses.want(["weight"])
    trained.watched()
    trained.optimizer.grad_scale, trained.optimizer.found_inf = torch.tensor(2.0), torch.tensor(0.0)
    trained.step(1.0)
    assert trained.looked("weight", 1).norms[0].is_scaled


def test_a_watch_for_conditions_and_courses_do_not_end_each_other(trained: Trained) -> None:
    from tui_params.live.watching.condition import parse_condition
    from tui_params.live.watching.watch import Watch, choose_watched

    trained.courses.want(["weight"])
    trained.watched()
    listing = trained.viewer.listing
    choice = choose_watched(listing, (), listing.gradients.values(), [parse_condition("nan")])
    watch = Watch(trained.viewer, choice)
    trained.step(math.nan)
    look = watch.look(5)
    assert look is not None
    assert [event.info.name for event in look.events] == ["weight.grad"]
    assert trained.looked("weight", 1).norms[0].word == "NaN"


def test_what_is_on_screen_is_followed_as_far_as_it_fits(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BUDGET", 200)
    monkeypatch.setattr(history, "MOST", 1000)
    monkeypatch.setattr(history, "_PATIENCE", 0.01)
    net = nn.ParameterDict({"a": torch.ones(10), "b": torch.ones(10), "c": torch.ones(100), "d": torch.ones(1000)})
    trained = Trained(net)
    try:
        trained.courses.want(["c", "a", "d"])  # c alone is more than the budget, and is at the cursor
        trained.watched()
        trained.step(1.0)
        trained.looked("c", 1)
        assert trained.courses.of("a") is None
        trained.courses.want(["a", "b", "d"])
        steps = 1
        while trained.courses.of("b") is None or not trained.courses.of("b").norms:  # type: ignore[union-attr]
            trained.step(1.0)
            steps += 1
            time.sleep(0.002)
            trained.courses.publish()
        course = trained.courses.of("d")
        assert course is not None
        assert (course.norms, course.reason) == ((), "it is too large to be copied at every step")
    finally:
        trained.close()


def test_nothing_is_copied_any_more_when_the_viewer_has_closed(trained: Trained) -> None:
    trained.courses.want(["weight"])
    trained.watched()
    trained.viewer.close()
    trained.until(lambda: not trained.server.clock.at_step)
    trained.courses.want(["weight"])
    assert trained.server.clock.at_step == []
