"""Loops in which no optimizer of torch makes a step: what is counted in its place, and when the word is odd."""

from __future__ import annotations

import copy
import io
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tui_params.live.inside.gradient_hooks import LOOKS, GradientHooks
from tui_params.live.inside.hold import Hold
from tui_params.live.inside.pass_clock import PassClock
from tui_params.live.inside.round_layout import DONE as DONE_ROUND
from tui_params.live.inside.round_layout import OFFSET
from tui_params.live.inside.round_layout import STATE as ENTRY_STATE
from tui_params.live.inside.round_layout import STEP as ROUND_STEP
from tui_params.live.inside.shared_page import LAST_STEP, PASSES, SEQUENCE, STEPS, SharedPage
from tui_params.live.inside.step_clock import Step, StepClock
from tui_params.live.inside.step_rounds import StepRounds
from tui_params.live.inside.tensor_copies import TensorCopies, Wanted
from tui_params.live.inside.tensor_slots import ABSENT, COPIED, DONE, STATE, STEP

VIEWER = 1


class Net(nn.Module):  # type: ignore[misc]
    """Says whether the word was odd while it computed."""

    def __init__(self, page: SharedPage) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 1, bias=False)
        self.page, self.was_odd = page, False

    def forward(self, values: Any) -> Any:
        self.was_odd |= self.page.words[SEQUENCE] % 2 == 1
        return self.second(self.first(values))


class Loop:
    """A model whose loop updates its parameters by itself."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.page = SharedPage()
        self.clock = StepClock(self.page)
        self.clock.start()
        self.net = Net(self.page)
        self.passes = PassClock(self.clock, self.net)

    def word(self, word: int) -> int:
        return int(self.page.words[word])

    def backward(self) -> None:
        self.net(torch.ones(2, 4)).sum().backward()

    def update(self) -> None:
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None

    def train(self, count: int) -> None:
        for _ in range(count):
            self.backward()
            assert self.word(SEQUENCE) % 2 == self.word(PASSES)
            self.update()


@pytest.fixture
def loop() -> Iterator[Loop]:
    found = Loop()
    yield found
    found.passes.stop()
    found.clock.stop()
    found.page.close()


def test_passes_that_are_trained_with_count_once_somebody_wants_them(loop: Loop) -> None:
    loop.train(2)
    assert (loop.word(STEPS), loop.word(SEQUENCE)) == (0, 0)
    assert loop.passes.want(VIEWER)
    assert loop.passes.want(VIEWER + 1)
    assert loop.word(PASSES) == 0  # nothing is known before the next one
    loop.train(3)
    # The last one is over when the next one begins.
    assert (loop.word(STEPS), loop.word(PASSES), loop.word(SEQUENCE) % 2) == (2, 1, 1)
    assert loop.word(LAST_STEP) > 0
    assert not loop.net.was_odd
    loop.passes.leave(VIEWER)
    loop.train(1)
    assert loop.word(STEPS) == 3
    loop.passes.leave(VIEWER + 1)
    assert (loop.word(PASSES), loop.word(SEQUENCE) % 2) == (0, 0)
    loop.train(1)
    assert loop.word(STEPS) == 3
    assert not loop.net._forward_pre_hooks
    assert not loop.net._forward_hooks


def test_passes_without_gradients_stand_still_and_do_not_count(loop: Loop) -> None:
    loop.passes.want(VIEWER)
    with torch.no_grad():
        loop.net(torch.ones(1, 4))
    # A process that only computes never writes: its values can be read at any time.
    assert (loop.word(STEPS), loop.word(PASSES), loop.word(SEQUENCE)) == (0, 1, 0)
    loop.train(1)
    loop.net.eval()
    for _ in range(2):
        loop.net(torch.ones(1, 4))
        # What came after the pass that was trained with is over, and nothing is written until there is another.
        assert (loop.word(STEPS), loop.word(SEQUENCE) % 2, loop.net.was_odd) == (1, 0, False)
    loop.net.train()
    loop.train(1)
    assert (loop.word(STEPS), loop.word(SEQUENCE) % 2) == (1, 1)


def test_an_optimizer_that_makes_a_step_ends_it(loop: Loop) -> None:
    loop.passes.want(VIEWER)
    loop.train(2)
    optimizer = torch.optim.SGD(loop.net.parameters(), lr=0.1)
    loop.backward()
    optimizer.step()
    # The two passes before, and a step: the third pass is the one of that step.
    assert (loop.word(STEPS), loop.word(PASSES), loop.word(SEQUENCE) % 2) == (3, 0, 0)
    loop.backward()
    optimizer.step()
    assert loop.word(STEPS) == 4
    assert not loop.net._forward_pre_hooks


def test_a_pass_that_raises_is_over(loop: Loop) -> None:
    loop.passes.want(VIEWER)
    with pytest.raises(RuntimeError):
        loop.net(torch.ones(2, 5))
    assert (loop.word(STEPS), loop.word(SEQUENCE) % 2) == (0, 1)
    loop.train(1)
    assert (loop.word(STEPS), loop.net.was_odd) == (1, False)


def test_what_is_computed_again_in_backward_is_no_pass(loop: Loop) -> None:
    loop.passes.want(VIEWER)
    for _ in range(3):
        checkpoint(loop.net, torch.ones(2, 4, requires_grad=True), use_reentrant=True).sum().backward()
    # Where the first of the two passes is made without gradients, it is the one that there is.
    assert loop.word(STEPS) == 0
    for _ in range(3):
        checkpoint(loop.net, torch.ones(2, 4), use_reentrant=False).sum().backward()
    assert loop.word(STEPS) == 2


@pytest.mark.parametrize("wraps", [lambda net: torch.compile(net, backend="eager"), lambda net: net])
def test_a_compiled_model_is_not_compiled_again(loop: Loop, wraps: Any) -> None:
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    net = nn.Linear(4, 1)
    model = wraps(net)
    passes = PassClock(loop.clock, model)
    graphs = []
    for number in range(5):
        if number == 2:
            passes.want(VIEWER)
        model(torch.ones(2, 4)).sum().backward()
        graphs.append(counters["stats"].get("unique_graphs"))
    assert len({*graphs}) == 1
    assert loop.word(STEPS) == 2
    passes.stop()


class NoHooks(nn.Linear):  # type: ignore[misc]
    """Takes hooks before a pass, and none after it."""

    def register_forward_hook(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no such hook")


def test_of_what_takes_no_hooks_there_are_no_passes(loop: Loop) -> None:
    odd = NoHooks(1, 1)
    for model in ({"w": torch.ones(1)}, torch.jit.script(nn.Linear(1, 1)), odd):
        assert not PassClock(loop.clock, model).want(VIEWER)
    assert not odd._forward_pre_hooks
    assert loop.clock.stand_in is None


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_model_is_copied_and_saved_as_a_whole_as_if_nobody_looked(loop: Loop, protocol: int) -> None:
    net = nn.Linear(4, 1)
    passes = PassClock(loop.clock, net)
    passes.want(VIEWER)
    file = io.BytesIO()
    torch.save(net, file, pickle_protocol=protocol)
    file.seek(0)
    saved = torch.load(file, weights_only=False)
    net(torch.ones(2, 4)).sum().backward()
    for other in (copy.deepcopy(net), saved):
        with torch.no_grad():
            assert torch.equal(other(torch.ones(2, 4)), net.forward(torch.ones(2, 4)))
        # A pass of the other one is none of the model, which may be written to.
        assert (loop.word(STEPS), loop.word(SEQUENCE) % 2) == (0, 1)
    passes.stop()
    assert not net._forward_pre_hooks


def test_a_thread_that_computes_beside_the_training_ends_nothing(loop: Loop) -> None:
    loop.passes.want(VIEWER)
    loop.backward()

    def compute() -> None:
        with torch.no_grad():
            loop.net(torch.ones(1, 4))

    other = threading.Thread(target=compute)
    other.start()
    other.join()
    assert (loop.word(STEPS), loop.word(SEQUENCE) % 2) == (0, 1)
    # The next pass of the training may be made by any thread.
    other = threading.Thread(target=loop.train, args=(1,))
    other.start()
    other.join()
    assert loop.word(STEPS) == 1


def test_a_viewer_may_leave_while_an_optimizer_begins_a_step(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Callable[[], None] | None] = [loop.passes.stop]
    monkeypatch.setattr(StepClock, "stand_in", property(lambda clock: looks.pop() if looks else None), raising=False)
    torch.optim.SGD(loop.net.parameters(), lr=0.1).step()
    assert not looks
    assert loop.word(STEPS) == 1


def test_who_comes_when_passes_are_no_longer_counted_finds_none(loop: Loop) -> None:
    loop.passes.want(VIEWER)
    loop.train(3)
    loop.passes.leave(VIEWER)
    # A viewer asks for passes where there was no step.
    assert (loop.word(LAST_STEP), loop.word(PASSES), loop.word(STEPS)) == (0, 0, 2)
    loop.clock.begin_pass(is_trained=True)  # it had begun before the hooks were removed
    loop.clock.end_pass(is_trained=True)
    assert (loop.word(PASSES), loop.word(SEQUENCE) % 2) == (0, 0)


def test_a_model_that_refuses_hooks_keeps_none(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(hook: Any) -> None:
        raise RuntimeError("no hooks")

    monkeypatch.setattr(loop.net, "register_forward_pre_hook", refuse, raising=False)
    assert not loop.passes.want(VIEWER)
    assert not loop.net._forward_hooks
    loop.train(2)
    loop.passes.leave(VIEWER)
    assert (loop.word(STEPS), loop.word(PASSES), loop.clock.stand_in) == (0, 0, None)


def test_a_viewer_may_hold_a_pass(loop: Loop) -> None:
    loop.passes.want(VIEWER)
    hold = Hold(30.0)
    loop.clock.holds.append(hold)
    seen: list[tuple[int, int]] = []

    def look() -> None:
        if hold.step:
            seen.append((hold.step, loop.word(SEQUENCE) % 2))
            hold.release()

    loop.clock.settles.append(look)
    loop.train(2)
    hold.want()
    loop.train(2)
    assert seen == [(2, 0)]


def wanted(parameter: Any) -> Wanted:
    return Wanted(lambda: parameter.grad, tuple(parameter.shape), "float32", 4 * parameter.numel(), lambda: parameter)


def found(copies: TensorCopies, index: int) -> tuple[int, int, Any]:
    """State, step and values of the last whole copy of a tensor; state 0 if there is none."""
    slot = copies.slots[index]
    words = np.frombuffer(copies.memory.map, np.uint64)[slot.header // 8 :]
    done = int(words[DONE])
    start = slot.halves[done % 2]
    values = np.frombuffer(copies.memory.map[start : start + slot.wanted.nbytes], np.float32).tolist()
    return (int(words[STATE + done % 2]), int(words[STEP + done % 2]), values) if done else (0, 0, None)


def test_gradients_are_copied_as_backward_makes_them(loop: Loop) -> None:
    loop.passes.want(VIEWER)
    loop.train(1)
    parameters = list(loop.net.parameters())
    copies = TensorCopies([wanted(parameter) for parameter in parameters])
    loop.clock.at_step.append(copies.take)
    for number in (2, 3, 4):
        loop.backward()
        expected = [parameter.grad.flatten().tolist() for parameter in parameters]
        loop.update()
        assert [found(copies, index) for index in range(2)] == [(COPIED, number, values) for values in expected]
    copies.close()
    assert not parameters[0]._post_accumulate_grad_hooks


def test_a_round_has_the_gradients_of_the_pass_and_what_its_update_made(loop: Loop) -> None:
    loop.passes.want(VIEWER)
    loop.train(1)
    (parameter, _) = loop.net.parameters()
    value = wanted(parameter)._replace(find=lambda: parameter, owner=None)
    rounds = StepRounds([value, wanted(parameter)], [0, 0], 1 << 20)
    layout, words = rounds.layout, rounds.memory.words

    def act(optimizer: Any, step: Step) -> None:
        rounds.take(optimizer, step)
        rounds.finish()

    loop.clock.at_step.append(act)
    loop.train(1)  # at its beginning the first one is over, of which no gradient was kept
    assert [words[layout.entry(1, entry) + ENTRY_STATE] for entry in range(2)] == [COPIED, ABSENT]
    gradient = None
    for number in (2, 3):
        loop.backward()  # at its beginning the one before is over
        made = parameter.grad.flatten().tolist()
        after = parameter.detach().flatten().tolist()
        at = [layout.bytes_at(number) + words[layout.entry(number, entry) + OFFSET] for entry in range(2)]
        copies = [np.frombuffer(rounds.memory.map[start : start + 64], np.float32).tolist() for start in at]
        assert (words[DONE_ROUND], words[layout.place(number) + ROUND_STEP], copies[0]) == (number, number, after)
        assert gradient is None or copies[1] == gradient
        gradient = made
        loop.update()
    rounds.close()
    assert not parameter._post_accumulate_grad_hooks


def test_an_update_inside_backward_does_not_take_the_gradient_away(loop: Loop) -> None:
    (parameter, _) = loop.net.parameters()
    taken: list[Any] = []

    def update(parameter: Any) -> None:
        with torch.no_grad():
            taken.append(parameter.grad.flatten().tolist())
            parameter -= 0.1 * parameter.grad
        parameter.grad = None

    own = parameter.register_post_accumulate_grad_hook(update)
    loop.passes.want(VIEWER)
    loop.backward()
    copies = TensorCopies([wanted(parameter)])
    loop.clock.at_step.append(copies.take)
    for number in (2, 3):
        loop.backward()
        assert parameter.grad is None
        assert found(copies, 0) == (COPIED, number, taken[-1])
    own.remove()
    copies.close()
    assert not parameter._post_accumulate_grad_hooks


def test_steps_of_an_optimizer_copy_gradients_at_their_end_again(loop: Loop) -> None:
    (parameter, _) = loop.net.parameters()
    copies = TensorCopies([wanted(parameter)])
    copies.take(None, Step(1, False, False))
    assert found(copies, 0)[0] == 0
    loop.backward()
    assert found(copies, 0)[:2] == (COPIED, 2)
    parameter.grad.fill_(7)
    copies.take(object(), Step(2, False, False))
    assert found(copies, 0)[1:] == (2, [7.0] * 16)
    assert not parameter._post_accumulate_grad_hooks
    copies.close()


def test_a_parameter_that_is_replaced_or_unfrozen_is_followed_too() -> None:
    parameters = [nn.Parameter(torch.ones(1)) for _ in range(LOOKS + 1)]
    parameters[1].requires_grad_(False)
    seen: list[int] = []
    hooks = GradientHooks([lambda at=at: parameters[at] for at in range(LOOKS + 1)], seen.append)  # type: ignore[misc]

    def made() -> set[int]:
        seen.clear()
        sum(parameters[1:], parameters[0]).backward()
        return {*seen}

    hooks.at_step(None)
    assert made() == {*range(LOOKS + 1)} - {1}
    before = parameters[0]
    parameters[0] = nn.Parameter(torch.ones(1))
    parameters[1].requires_grad_(True)
    assert made() == {*range(2, LOOKS + 1)}
    for _ in range(2):
        hooks.at_step(None)
    assert made() == {*range(LOOKS + 1)}
    assert not before._post_accumulate_grad_hooks
    hooks.end()
    assert made() == set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_that_trains_writes_no_gradient_of_its_parent() -> None:
    parameter = nn.Parameter(torch.ones(1))
    copies = TensorCopies([wanted(parameter)])
    copies.take(None, Step(1, False, False))
    parameter.sum().backward()
    pid = os.fork()
    if not pid:
        try:
            parameter.mul(7).sum().backward()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert found(copies, 0) == (COPIED, 2, [1.0])
    parameter.sum().backward()
    assert found(copies, 0) == (COPIED, 2, [2.0])
    copies.close()


def test_training_goes_on_bit_by_bit_as_if_nobody_looked() -> None:
    def trained(*, is_looked_at: bool) -> list[bytes]:
        loop = Loop()
        copies = TensorCopies([wanted(parameter) for parameter in loop.net.parameters()])
        if is_looked_at:
            loop.passes.want(VIEWER)
            loop.clock.at_step.append(copies.take)
        loop.train(20)
        loop.passes.stop()
        loop.clock.stop()
        copies.close()
        return [parameter.detach().numpy().tobytes() for parameter in loop.net.parameters()]

    assert trained(is_looked_at=True) == trained(is_looked_at=False)
