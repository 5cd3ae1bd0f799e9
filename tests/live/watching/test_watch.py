"""A watch on a model of this very process, step by step: what it sees at which step, and what it did not see."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tui_params
from tests.live.attached.conftest import runtime
from tui_params.errors import ReadError
from tui_params.live.attached.source import AttachedSource
from tui_params.live.inside import round_layout
from tui_params.live.inside.finite_check import FiniteCheck
from tui_params.live.inside.server import Server
from tui_params.live.inside.shared_page import HELD
from tui_params.live.watching.condition import parse_condition
from tui_params.live.watching.watch import Look, Watch, choose_watched

__all__ = ["runtime"]


class Net(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(4, 3))
        self.b = nn.Parameter(torch.zeros(5, dtype=torch.bfloat16))
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
        self.tied = self.a
        self.empty = nn.Parameter(torch.zeros(0))
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("mean", torch.zeros(2))


class Trained:
    """A served model that makes a step when it is told, with the gradients that it is told."""

    def __init__(self) -> None:
        self.net = Net()
        self.optimizer = torch.optim.SGD([self.net.a, self.net.b], lr=0.5)
        self.server: Server = tui_params.serve(self.net, self.optimizer, name="net")

    def step(self, a: float | None = 0.0, b: float | None = 0.0) -> None:
        for parameter, value in ((self.net.a, a), (self.net.b, b)):
            parameter.grad = None if value is None else torch.full_like(parameter, value)
        self.optimizer.step()


@pytest.fixture
def trained(runtime: Path) -> Iterator[Trained]:
    found = Trained()
    yield found
    found.server.stop()


@pytest.fixture
def viewer(trained: Trained) -> Iterator[AttachedSource]:
    with AttachedSource(Path(trained.server.path)) as source:
        assert isinstance(source, AttachedSource)
        yield source


def watching(viewer: AttachedSource, *conditions: str, seconds: float = 0.0) -> Watch:
    parsed = [parse_condition(word) for word in conditions or ("nan", "inf")]
    listing = viewer.listing
    return Watch(viewer, choose_watched(listing, listing.tensors, listing.gradients.values(), parsed), seconds)


def seen(watch: Watch) -> Look:
    look = watch.look(0)
    assert look is not None
    return look


def told(look: Look) -> list[tuple[int, str, str]]:
    return [(event.step, event.info.name, event.condition.text) for event in look.events]


def test_each_condition_watches_what_it_is_about(viewer: AttachedSource) -> None:
    def names(*conditions: str) -> set[str]:
        return {judge.info.name for judge in watching(viewer, *conditions).judges}

    # Integers, tied and empty tensors are not among them; a frozen parameter is always still.
    assert names("nan") == {"a", "b", "frozen", "mean", "a.grad", "b.grad"}
    assert names("norm>1") == {"a.grad", "b.grad"}
    assert names("still:2") == {"a", "b"}


def test_every_step_is_looked_at_in_turn(trained: Trained, viewer: AttachedSource) -> None:
    trained.step()
    watch = watching(viewer)
    assert watch.is_whole
    assert watch.look(0) is None
    trained.step(a=math.nan)
    trained.step(b=-math.inf)
    look = seen(watch)
    assert told(look) == [(2, "a.grad", "nan"), (2, "a", "nan")]
    assert np.isnan(look.copies["a.grad"].view(np.float32)).all()
    # The NaN stays in the parameter, and is not told again.
    assert told(seen(watch)) == [(3, "b.grad", "inf"), (3, "b", "inf")]
    assert (watch.looked, watch.missed, watch.first_step, watch.last_step) == (2, 0, 2, 3)
    assert watch.unlooked() == {}


def test_a_copy_is_that_of_its_own_step(trained: Trained, viewer: AttachedSource) -> None:
    watch = watching(viewer, "norm>1e-9")
    for value in (1.0, 0.0, 3.0, 0.0, 5.0):
        trained.step(a=value)
    looks = [seen(watch) for _ in range(5)]
    values = [look.copies["a.grad"].view(np.float32).tolist() for look in looks if look.events]
    assert values == [[1.0] * 12, [3.0] * 12, [5.0] * 12]


def test_still_parameters_and_norms(trained: Trained, viewer: AttachedSource) -> None:
    watch = watching(viewer, "still:2", "norm>10")
    for _ in range(3):
        trained.step(a=1.0)
    looks = [told(seen(watch)) for _ in range(3)]
    assert looks == [[], [], [(3, "b", "still:2")]]
    trained.step(a=100.0, b=1.0)
    assert told(seen(watch)) == [(4, "a.grad", "norm>10")]


def test_a_viewer_that_is_late_misses_steps_and_says_so(trained: Trained, viewer: AttachedSource) -> None:
    watch = watching(viewer)
    for _ in range(round_layout.MAX_RING + 5):
        trained.step()
    while watch.look(0) is not None:
        pass
    assert watch.last_step == round_layout.MAX_RING + 5
    assert watch.seen == round_layout.MAX_RING + 5
    assert 0 < watch.looked < watch.seen


def test_tensors_beyond_the_budget_take_turns(
    trained: Trained, viewer: AttachedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_params.live.inside.requests.DEFAULT_BUDGET", 64)
    watch = watching(viewer)
    assert not watch.is_whole
    for _ in range(3):
        trained.step()
        seen(watch)
    assert set(watch.unlooked().values()) == {"it had no turn yet"}
    for _ in range(3):
        trained.step(a=math.nan)
        seen(watch)
    assert watch.unlooked() == {}


def test_a_gradient_that_never_was_and_a_tensor_that_was_replaced(trained: Trained, viewer: AttachedSource) -> None:
    watch = watching(viewer)
    trained.net.mean = torch.zeros(7)
    trained.net.b.data = torch.zeros(5)
    trained.step(a=1.0, b=None)
    assert told(seen(watch)) == []
    assert watch.unlooked() == {
        "b": "it is not the tensor that was listed any more",
        "mean": "it is not the tensor that was listed any more",
        "b.grad": "it had no gradient at any step that was looked at",
    }


def test_a_gradient_under_a_scaler_is_marked(trained: Trained, viewer: AttachedSource) -> None:
    trained.optimizer = torch.optim.SGD([trained.net.a], lr=0.1, fused=True)
    watch = watching(viewer, "inf")
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(torch.ones(()))
    trained.net.a.grad = torch.full_like(trained.net.a, math.inf)
    scaler.step(trained.optimizer)
    (event,) = seen(watch).events
    assert (event.info.name, event.is_scaled, event.is_skipped) == ("a.grad", True, True)


def test_steps_inside_backward_copy_what_is_theirs(trained: Trained, viewer: AttachedSource) -> None:
    optimizers = {parameter: torch.optim.SGD([parameter], lr=0.1) for parameter in (trained.net.a, trained.net.b)}
    handles = [
        parameter.register_post_accumulate_grad_hook(lambda each: optimizers[each].step()) for parameter in optimizers
    ]
    watch = watching(viewer, "norm>1e-9", "nan")
    rounds = watch._stream._rounds
    for _ in range(3):
        trained.net.a.grad = trained.net.b.grad = None
        (trained.net.a.sum() + trained.net.b.sum()).backward()
    assert rounds.done == 6
    names = [judge.info.name for judge in watch.judges]
    for number in range(1, 7):
        found = rounds.round(number)
        assert found is not None
        copied = {names[index] for index, _, _ in found.entries}
        assert len(found.entries) == len(copied) <= 3
        assert copied >= {"a", "a.grad"} or copied >= {"b", "b.grad"}
    looks = [seen(watch) for _ in range(6)]
    assert {name for look in looks for _, name, _ in told(look)} == {"a.grad", "b.grad"}
    assert watch.unlooked() == {}
    for handle in handles:
        handle.remove()


def test_a_watch_leaves_nothing_behind(trained: Trained) -> None:
    with AttachedSource(Path(trained.server.path)) as viewer:
        assert isinstance(viewer, AttachedSource)
        watching(viewer, seconds=5)
        watching(viewer, seconds=5)  # in place of the first
        clock = trained.server.clock
        assert (len(clock.at_step), len(clock.holds)) == (1, 1)
    wait_until(lambda: not clock.at_step and not clock.holds)
    trained.step(a=math.nan)


def test_nothing_is_held_without_the_wish(trained: Trained, viewer: AttachedSource) -> None:
    watch = watching(viewer)
    trained.step(a=math.nan)
    assert told(seen(watch))
    assert watch.held() is None


def wait_until(is_so: Callable[[], bool]) -> None:
    """Let other threads work until something is so; fail after some seconds."""
    for _ in range(2_000):
        if is_so():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come to that")


def stepping(trained: Trained, **gradients: float) -> threading.Thread:
    thread = threading.Thread(target=trained.step, kwargs=gradients)
    thread.start()
    return thread


def test_two_viewers_hold_and_the_training_waits_for_both(trained: Trained, viewer: AttachedSource) -> None:
    with AttachedSource(Path(trained.server.path)) as second:
        assert isinstance(second, AttachedSource)
        one, other = watching(viewer, "nan", seconds=60), watching(second, "nan", seconds=60)
        thread = stepping(trained, a=math.nan)
        for watch in (one, other):
            look = watch.look(20)
            assert look is not None
            assert told(look)[0] == (1, "a.grad", "nan")
            wait_until(lambda watch=watch: watch.held() is not None and watch.held().step == 1)  # type: ignore[misc]
        # A third looks at it meanwhile: all is as the step has left it, gradients too.
        with AttachedSource(Path(trained.server.path)) as third:
            assert third.read("b.grad").tolist() == [0.0] * 5
            assert third.read("b").tolist() == [0.0] * 5
            beat = third.beat()
            assert beat is not None
            assert beat.steps == 1
        one.release()
        wait_until(lambda: one.held() is None)
        assert thread.is_alive()
        assert trained.server.page.words[HELD] == 1
        other.release()
        thread.join(100)
        assert not thread.is_alive()
        assert trained.server.page.words[HELD] == 0


def test_a_hold_is_over_after_its_time(trained: Trained, viewer: AttachedSource) -> None:
    watch = watching(viewer, "nan", seconds=3600)
    watch.hold()
    watch.release()
    trained.step(a=0.0)  # returns, because it was let go before it stood
    watch = watching(viewer, "nan", seconds=0.05)
    trained.step(a=math.nan)  # returns, and nobody lets it go
    assert told(seen(watch))
    assert watch.held() is None


def test_ctrl_c_in_the_terminal_of_the_training_is_for_the_training(
    trained: Trained, viewer: AttachedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    watch = watching(viewer, "nan", seconds=3600)
    with monkeypatch.context() as patch:
        patch.setattr("tui_params.live.inside.step_clock.time.sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained.step(a=math.nan)
    assert watch.held() is None
    assert trained.server.page.words[HELD] == 0
    trained.step(a=0.0)
    assert [seen(watch).step, seen(watch).step] == [1, 2]


def test_what_goes_wrong_in_a_check_does_not_reach_the_training(
    trained: Trained, viewer: AttachedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no such kernel")

    watch = watching(viewer, "nan", seconds=3600)
    monkeypatch.setattr(torch, "_foreach_norm", fail)
    trained.step(a=math.nan)
    assert told(seen(watch)) == [(1, "a.grad", "nan"), (1, "a", "nan")]


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize(
    ("value", "minds_inf", "expected"),
    [(math.nan, True, True), (math.nan, False, True), (math.inf, True, True), (-math.inf, True, True),
     (math.inf, False, False), (-0.0, True, False), (60_000.0, True, False)],
)  # fmt: skip
def test_the_check_finds_what_is_not_finite(kind: Any, value: float, minds_inf: bool, expected: bool) -> None:
    check = FiniteCheck(minds_inf=minds_inf)
    fine = torch.zeros(100, 3, dtype=kind)
    bad = fine.clone()
    bad[57, 1] = value
    others = [(8, torch.empty(0)), (9, torch.tensor([1, 2])), (10, torch.tensor(1e300, dtype=torch.float64))]
    assert not check.look([(0, fine), (1, fine.t()), *others])
    assert check.look([(0, fine), (1, bad.t()), *others]) is expected
    assert not check.look([(0, fine), (1, bad.t()), *others])
    assert not check.look([(0, fine), (1, fine), *others])
    assert check.look([(0, bad), (1, fine), *others]) is expected


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({"ask": "hold"}, "only a viewer that watches can hold"),
        ({"ask": "held"}, "only a viewer that watches can hold"),
        ({"ask": "watch"}, "there is nothing to watch"),
        ({"ask": "watch", "values": 3}, "watch wants lists of handles"),
        ({"ask": "watch", "gradients": [10**9]}, "no readable tensor"),
        ({"ask": "watch", "values": [0], "limit": -1}, "limit in seconds, from 0 to 86400"),
        ({"ask": "watch", "values": [0], "limit": 1e9}, "limit in seconds"),
        ({"ask": "watch", "values": [0], "limit": float("nan")}, "limit in seconds"),
        ({"ask": "watch", "values": [0], "limit": True}, "limit in seconds"),
        ({"ask": "watch", "values": [0], "holds_on": ["norm"]}, "holds on nan and on inf"),
        ({"ask": "watch", "values": [0], "holds_on": "nan"}, "holds on nan and on inf"),
        ({"ask": "watch", "values": [0], "budget": 1.5}, "a budget in bytes"),
        ({"ask": "watch", "values": [0] * 200_001}, "at most 200000 tensors"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_question_that_makes_no_sense_is_answered_with_a_sentence(
    trained: Trained, viewer: AttachedSource, question: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ReadError, match=sentence):
        viewer.connection.ask(question)
    assert (trained.server.clock.at_step, trained.server.clock.holds) == ([], [])
