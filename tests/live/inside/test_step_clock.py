"""Every row of the table of loops: how many steps are counted, and that the word is odd exactly while one writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from tui_params.live.inside.shared_page import GENERATION, LAST_STEP, SCALED, SEQUENCE, SKIPPED, STEPS, SharedPage
from tui_params.live.inside.step_clock import StepClock


class Counted:
    """A clock that runs, its page, and what the word was whenever a parameter was seen to be written."""

    def __init__(self) -> None:
        self.page = SharedPage()
        self.clock = StepClock(self.page)
        self.clock.start()

    @property
    def steps(self) -> int:
        return int(self.page.words[STEPS])

    @property
    def sequence(self) -> int:
        return int(self.page.words[SEQUENCE])

    def close(self) -> None:
        self.clock.stop()
        self.page.close()


@pytest.fixture
def counted() -> Iterator[Counted]:
    counted = Counted()
    yield counted
    counted.close()


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))


def backward(net: nn.Module, scale: float = 1.0) -> torch.Tensor:
    loss: torch.Tensor = net(torch.ones(4, 8)).pow(2).mean() * scale
    loss.backward()
    return loss


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}), ("SGD", {"momentum": 0.9, "fused": True}), ("Adam", {}), ("AdamW", {"foreach": True}),
    ("AdamW", {"foreach": False}), ("AdamW", {"fused": True}), ("Adagrad", {}), ("Adafactor", {}), ("Muon", {}),
    ("NAdam", {}), ("RMSprop", {}), ("ASGD", {}), ("Rprop", {}), ("Adamax", {}), ("Adadelta", {}), ("RAdam", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_an_optimizer_of_torch_makes_one_step_a_step(counted: Counted, name: str, options: dict[str, Any]) -> None:
    net = model()
    optimizer = getattr(torch.optim, name)(net.parameters(), **options)
    for number in range(3):
        optimizer.zero_grad()
        backward(net)
        assert counted.sequence == 2 * number
        optimizer.step()
    assert (counted.steps, counted.sequence) == (3, 6)
    assert counted.page.words[LAST_STEP] > 0


def test_sparse_adam_counts(counted: Counted) -> None:
    net = nn.Embedding(5, 8, sparse=True)
    optimizer = torch.optim.SparseAdam(net.parameters())
    net(torch.arange(3)).sum().backward()
    optimizer.step()
    assert counted.steps == 1


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, torch.optim.SGD, torch.optim.AdamW])
def test_a_step_with_a_closure_counts_once_and_is_odd_all_the_while(counted: Counted, kind: Any) -> None:
    net = model()
    optimizer = kind(net.parameters(), lr=0.01)
    seen = []

    def closure() -> torch.Tensor:
        seen.append(counted.sequence % 2)
        optimizer.zero_grad()
        return backward(net)

    for _ in range(3):
        optimizer.step(closure)
    assert (counted.steps, counted.sequence) == (3, 6)
    assert set(seen) == {1}


class Outer(torch.optim.SGD):  # type: ignore[misc]
    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class Wrapper(torch.optim.Optimizer):  # type: ignore[misc]
    """Like the wrappers of training libraries: an optimizer itself, around another one."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.inner = inner

    def step(self, closure: Any = None) -> Any:
        return self.inner.step(closure)


def test_of_calls_inside_each_other_the_outermost_counts(counted: Counted) -> None:
    net = model()
    # The class of the parent is instrumented once one has been made.
    torch.optim.SGD(net.parameters(), lr=0.1)
    for optimizer in (Outer(net.parameters(), lr=0.1), Wrapper(torch.optim.SGD(net.parameters(), lr=0.1))):
        before = counted.steps
        backward(net)
        optimizer.step()
        optimizer.step()
        assert counted.steps == before + 2
        assert counted.sequence % 2 == 0


def test_two_optimizers_count_each(counted: Counted) -> None:
    net = model()
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in net.children()]
    backward(net)
    for optimizer in optimizers:
        optimizer.step()
    assert (counted.steps, counted.sequence) == (2, 4)


def test_an_optimizer_for_each_parameter_stepped_inside_backward(counted: Counted) -> None:
    net = model()
    optimizers = {parameter: torch.optim.SGD([parameter], lr=0.1) for parameter in net.parameters()}

    def step(parameter: Any) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in net.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    backward(net)
    assert (counted.steps, counted.sequence) == (2, 4)


@pytest.mark.parametrize(("is_fused", "counts"), [(False, 2), (True, 3)])
def test_a_step_that_the_scaler_skips(counted: Counted, is_fused: bool, counts: int) -> None:
    net = model()
    optimizer = torch.optim.AdamW(net.parameters(), fused=is_fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for number in range(3):
        optimizer.zero_grad()
        loss = net(torch.ones(4, 8)).pow(2).mean() * (float("inf") if number == 1 else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    # Only a fused optimizer is called at all, and is told of the scale.
    assert (counted.steps, counted.page.words[SKIPPED], counted.page.words[SCALED]) == (counts, is_fused, is_fused)


def test_a_step_that_raised_is_forgotten_at_the_next_one(counted: Counted) -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def fail() -> float:
        raise RuntimeError("out of memory")

    def caught(deeper: int) -> None:
        if deeper:
            caught(deeper - 1)
            return
        with pytest.raises(RuntimeError, match="out of memory"):
            optimizer.step(fail)

    for depth in (0, 1, 3):
        caught(depth)
        assert counted.sequence % 2 == 1
        before = counted.steps
        backward(net)
        optimizer.step()
        assert (counted.steps, counted.sequence % 2) == (before + 1, 0)


@pytest.mark.parametrize("is_later", [False, True])
def test_a_compiled_step_counts(counted: Counted, is_later: bool) -> None:
    if is_later:
        counted.clock.stop()
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step: Callable[[], Any] = torch.compile(optimizer.step, backend="eager")
    backward(net)
    step()
    if is_later:
        counted.clock.start()
    before = counted.steps
    for _ in range(3):
        backward(net)
        step()
    assert counted.steps == before + 3
    assert counted.sequence % 2 == 0


def test_a_loop_that_makes_no_step_of_an_optimizer_counts_nothing(counted: Counted) -> None:
    net = model()
    backward(net)
    with torch.no_grad():
        for parameter in net.parameters():
            assert parameter.grad is not None
            parameter -= 0.1 * parameter.grad
    assert (counted.steps, counted.sequence, counted.page.words[GENERATION]) == (0, 0, 0)


def test_after_stop_nothing_is_left_of_it(counted: Counted) -> None:
    from torch.optim import optimizer as module

    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    counted.clock.stop()
    backward(net)
    optimizer.step()
    assert counted.steps == 0
    assert counted.clock._before not in module._global_optimizer_pre_hooks.values()


def test_what_is_called_at_a_step_sees_the_word_odd_and_the_gradients(counted: Counted) -> None:
    net = model()
    optimizer = torch.optim.AdamW(net.parameters())
    seen: list[tuple[int, bool]] = []
    counted.clock.at_step.append(
        lambda stepped, step: seen.append(
            (counted.sequence % 2, stepped is optimizer and net[0].weight.grad is not None)
        )
    )
    backward(net)
    optimizer.step()
    assert seen == [(1, True)]
