"""Copies from a device: when they are made, when they are there, and what becomes of those that cannot be made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.live.inside.slow_queue import SlowQueue
from tui_params.live.inside import device_lanes
from tui_params.live.inside.device_queue import QUEUES
from tui_params.live.inside.finite_check import FiniteCheck
from tui_params.live.inside.hold import Hold
from tui_params.live.inside.round_layout import BEGUN as ROUND_BEGUN
from tui_params.live.inside.round_layout import COUNT, INDEX, OFFSET
from tui_params.live.inside.round_layout import DONE as ROUND_DONE
from tui_params.live.inside.round_layout import STATE as ENTRY_STATE
from tui_params.live.inside.round_layout import STEP as ROUND_STEP
from tui_params.live.inside.shared_page import STEPS, SharedPage
from tui_params.live.inside.step_clock import Step, StepClock
from tui_params.live.inside.step_rounds import StepRounds
from tui_params.live.inside.step_watch import StepWatch
from tui_params.live.inside.tensor_copies import TensorCopies, Wanted
from tui_params.live.inside.tensor_slots import ABSENT, COPIED, DONE, NO_ROOM, ON_DEVICE, OTHER, STATE, STEP


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the host are looked at as if they lay on a device, and copied as from one."""
    monkeypatch.setitem(QUEUES, "cpu", SlowQueue)


class Held:
    """Tensors that can be replaced, wanted by a viewer."""

    def __init__(self, *tensors: Any) -> None:
        self.tensors = list(tensors)
        self.wanted = [self._wanted(number, tensor) for number, tensor in enumerate(tensors)]

    def _wanted(self, number: int, tensor: Any) -> Wanted:
        dtype = str(tensor.dtype).removeprefix("torch.")
        nbytes = tensor.numel() * tensor.element_size()
        return Wanted(lambda: self.tensors[number], tuple(tensor.shape), dtype, nbytes)


def at(number: int) -> Step:
    return Step(number, False, False)


def found(copies: TensorCopies, index: int) -> tuple[int, int, bytes]:
    """State, step and bytes of the last whole copy of a tensor; state 0 if there is none."""
    slot = copies.slots[index]
    words = np.frombuffer(copies.memory.map, np.uint64)[slot.header // 8 :]
    done = int(words[DONE])
    start = slot.halves[done % 2]
    data = bytes(copies.memory.map[start : start + slot.wanted.nbytes])
    return (int(words[STATE + done % 2]), int(words[STEP + done % 2]), data) if done else (0, 0, b"")


def raw(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8).numpy())


def test_a_copy_is_what_was_there_at_the_end_of_its_step() -> None:
    gradient = torch.arange(6.0).reshape(2, 3)
    copies = TensorCopies(Held(gradient).wanted)
    copies.take(None, at(1))
    before = raw(gradient)
    gradient.zero_()  # as zero_grad(set_to_none=False) does, long before the copy has come
    assert found(copies, 0) == (0, 0, b"")
    copies.settle()
    assert found(copies, 0) == (0, 0, b"")
    SlowQueue.last.come()
    copies.settle()
    assert found(copies, 0) == (COPIED, 1, before)
    copies.close()


def test_what_is_under_way_is_not_overwritten_and_the_last_copy_stays() -> None:
    tensor = torch.ones(3)
    copies = TensorCopies(Held(tensor).wanted)
    for number in range(1, 8):
        tensor.fill_(number)
        copies.take(None, at(number))
        if number % 3 == 0:
            SlowQueue.last.come()
        expected = 0 if number < 4 else 1 if number < 7 else 4
        state, step, data = found(copies, 0)
        assert (state, step, data) == (
            (COPIED, expected, raw(torch.full((3,), expected * 1.0))) if expected else (0, 0, b"")
        )
    copies.close()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
        torch.arange(12, dtype=torch.bfloat16).reshape(3, 4).T,
        torch.arange(24.0).reshape(2, 3, 4)[:, ::2, 1:],
        torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex64).conj(),
        torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex128),
        torch.tensor([1 + 2j]).conj().imag,
        torch.tensor(7, dtype=torch.int64),
        torch.tensor([True, False, True]),
        torch.ones(5, dtype=torch.float8_e4m3fn),
        torch.ones(1).expand(4),
    ],
    ids=lambda tensor: f"{tensor.dtype}-{tuple(tensor.stride())}",
)
def test_each_type_and_layout_comes_as_its_values(tensor: torch.Tensor) -> None:
    parameter = torch.nn.Parameter(tensor, requires_grad=False)
    odd = torch.zeros(3, dtype=torch.uint8)  # what follows does not begin where a double may
    copies = TensorCopies(Held(odd, parameter).wanted)
    copies.take(None, at(3))
    SlowQueue.last.come()
    copies.settle()
    assert found(copies, 1) == (COPIED, 3, raw(tensor.resolve_conj().resolve_neg()))
    copies.close()


def test_what_is_not_there_needs_no_device() -> None:
    held = Held(torch.ones(2), torch.ones(3), torch.ones(0), torch.ones(2))
    held.tensors[0], held.tensors[1] = None, torch.ones(4)
    copies = TensorCopies(held.wanted)
    copies.take(None, at(5))
    assert [found(copies, index)[:2] for index in range(4)] == [(ABSENT, 5), (OTHER, 5), (COPIED, 5), (0, 0)]
    copies.close()


def test_a_graph_that_is_captured_is_left_alone() -> None:
    tensor = torch.ones(3)
    copies = TensorCopies(Held(tensor).wanted)
    copies.take(None, at(1))
    queue = SlowQueue.last
    queue.come()
    queue.is_recording = True
    copies.settle()
    copies.take(None, at(2))
    assert (found(copies, 0), queue.sent) == ((0, 0, b""), [])
    queue.is_recording = False
    copies.take(None, at(3))
    assert found(copies, 0)[:2] == (COPIED, 1)
    assert len(queue.sent) == 1
    copies.close()


def test_a_device_without_memory_to_spare_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_lanes, "MIN_ROOM", 64)
    monkeypatch.setattr(device_lanes, "MARGIN", 1000)
    spare = {900: 0, 1063: 0, 1064: 64, 1130: 128, 3000: 1192}
    for nbytes, room in spare.items():
        monkeypatch.setattr(SlowQueue, "spare_nbytes", lambda _, nbytes=nbytes: nbytes)
        copies = TensorCopies(Held(torch.ones(250), torch.ones(16)).wanted)
        copies.take(None, at(1))
        states = [found(copies, index)[0] for index in range(2)]
        assert (SlowQueue.last.made, states) == (
            [room] * bool(room),
            [0 if room >= 1000 else NO_ROOM, 0 if room >= 64 else NO_ROOM],
        )
        copies.close()


def test_memory_that_is_refused_is_no_error_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: SlowQueue, nbytes: int) -> Any:
        raise torch.OutOfMemoryError(f"{nbytes} bytes")

    monkeypatch.setattr(SlowQueue, "buffers", refuse)
    copies = TensorCopies(Held(torch.ones(4)).wanted)
    for number in (1, 2):
        copies.take(None, at(number))
        assert found(copies, 0)[:2] == (NO_ROOM, number)
    copies.close()


def test_a_device_that_nothing_is_copied_from_says_so() -> None:
    copies = TensorCopies(Held(torch.ones(4, device="meta")).wanted)
    copies.take(None, at(1))
    assert found(copies, 0)[:2] == (ON_DEVICE, 1)
    copies.close()


def test_a_load_is_bounded_and_tensors_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_lanes, "MAX_ROOM", 256)
    monkeypatch.setattr(device_lanes, "MIN_ROOM", 64)
    tensors = [torch.zeros(32) for _ in range(5)]  # of 128 bytes
    copies = TensorCopies(Held(*tensors).wanted)
    seen = []
    for number in range(1, 6):
        for tensor in tensors:
            tensor.fill_(number)
        copies.take(None, at(number))
        SlowQueue.last.come()
        copies.settle()
        seen.append([found(copies, index)[1] for index in range(5)])
        assert SlowQueue.last.made == [256]
    assert seen == [[1, 1, 0, 0, 0], [1, 1, 2, 2, 0], [3, 1, 2, 2, 3], [3, 4, 4, 2, 3], [3, 4, 4, 5, 5]]
    copies.close()


def test_copies_may_end_while_one_is_under_way() -> None:
    copies = TensorCopies(Held(torch.ones(3)).wanted)
    copies.take(None, at(1))
    copies.close()
    SlowQueue.last.come()
    copies.settle()
    copies.take(None, at(2))
    assert SlowQueue.last.sent == []


def round_of(rounds: StepRounds) -> tuple[int, int, list[tuple[int, int, bytes]]]:
    """The number and the step of the newest whole round, and its entries."""
    words, layout = rounds.memory.words, rounds.layout
    number = int(words[ROUND_DONE])
    at_word = layout.place(number)
    entries = []
    for entry in range(words[at_word + COUNT]):
        first = layout.entry(number, entry)
        start = layout.bytes_at(number) + words[first + OFFSET]
        entries.append(
            (int(words[first + INDEX]), int(words[first + ENTRY_STATE]), bytes(rounds.memory.map[start : start + 8]))
        )
    return number, int(words[at_word + ROUND_STEP]) if number else 0, entries


def test_a_round_is_seen_when_all_of_it_has_come() -> None:
    held = Held(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    rounds = StepRounds(held.wanted, [0, 0], 1 << 20)
    assert rounds.take(None, at(1)) == []
    rounds.finish()
    assert (rounds.is_under_way, round_of(rounds)[0]) == (True, 0)
    first = [raw(tensor) for tensor in held.tensors]
    for tensor in held.tensors:
        tensor.fill_(9)
    assert rounds.take(None, at(2)) == []  # there is no other before
    rounds.finish()
    assert rounds.arrived() == []
    SlowQueue.last.come()
    arrived = rounds.arrived()
    assert [(index, tensor.tolist()) for index, tensor in arrived] == [(0, [1.0, 2.0]), (1, [3.0, 4.0])]
    assert round_of(rounds)[0] == 0
    rounds.finish()
    assert round_of(rounds) == (1, 1, [(0, COPIED, first[0]), (1, COPIED, first[1])])
    rounds.take(None, at(3))
    rounds.finish()
    SlowQueue.last.come()
    rounds.arrived()
    rounds.finish()
    nines = raw(torch.full((2,), 9.0))
    assert round_of(rounds) == (2, 3, [(0, COPIED, nines), (1, COPIED, nines)])
    rounds.close()


def test_while_a_graph_is_captured_there_is_no_round() -> None:
    held = Held(torch.ones(2))
    rounds = StepRounds(held.wanted, [0], 1 << 20)
    rounds.take(None, at(1))
    rounds.finish()
    SlowQueue.last.come()
    rounds.arrived()
    rounds.finish()
    SlowQueue.last.is_recording = True
    for number in (2, 3):
        rounds.take(None, at(number))
        rounds.finish()
        assert round_of(rounds)[:2] == (1, 1)
    assert rounds.memory.words[ROUND_BEGUN] == 2
    SlowQueue.last.is_recording = False
    rounds.take(None, at(4))
    rounds.finish()
    SlowQueue.last.come()
    rounds.arrived()
    rounds.finish()
    assert round_of(rounds)[:2] == (2, 4)
    rounds.close()


def test_a_nan_from_a_device_holds_the_step_in_which_it_has_come() -> None:
    page = SharedPage()
    clock = StepClock(page)
    clock.start()
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    held = Held(parameter)
    rounds, hold = StepRounds(held.wanted, [id(parameter)], 1 << 20), Hold(30.0)
    watch = StepWatch(clock, rounds, hold, FiniteCheck(minds_inf=False))
    watch.start()

    stood = []

    def look() -> None:
        """Called while the thread stands, as it takes in what has come."""
        if hold.step:
            stood.append((hold.step, round_of(rounds)[1]))
            SlowQueue.last.come()
            if stood[-1][1] == 3:
                hold.release()

    clock.settles.append(look)
    try:
        for gradient in (1.0, float("nan"), 1.0, 1.0):
            parameter.grad = torch.full((2,), gradient)
            optimizer.step()
            SlowQueue.last.come()
    finally:
        watch.close()
        clock.stop()
    # Step 2 makes it NaN; that has come before step 3, at whose end the thread stands and its own round comes.
    assert stood == [(3, 2), (3, 3)]
    assert page.words[STEPS] == 4
    page.close()


def test_what_is_copied_while_the_thread_stands_comes_too() -> None:
    page = SharedPage()
    clock = StepClock(page)
    clock.start()
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    copies, hold = TensorCopies(Held(parameter).wanted), Hold(30.0)
    clock.holds.append(hold)
    hold.want()
    seen: list[tuple[int, int]] = []

    def look() -> None:
        if not hold.step:
            return
        if copies.take not in clock.at_step:
            clock.at_step.append(copies.take)
            clock.settles.append(copies.settle)
        elif found(copies, 0)[0]:
            seen.append(found(copies, 0)[:2])
            hold.release()
        else:
            SlowQueue.last.come()

    clock.settles.append(look)
    parameter.grad = torch.ones(2)
    optimizer.step()
    assert seen == [(COPIED, 1)]
    clock.stop()
    copies.close()
    page.close()
