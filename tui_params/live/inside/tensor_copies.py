"""TensorCopies: tensors that are copied into shared memory at the end of a step, because they change before the next.

Gradients are set to None or overwritten between steps, so only the training thread can take them, and only then. It
does nothing but copy: what the values mean is worked out by the viewer. What lies on a device is on its way when the
step has ended, and is taken in by ``settle`` when it has come. Where passes stand in for steps, gradients are copied as
backward makes them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import torch

from .anatomy import ODD, needed_nbytes, own
from .device_lanes import DeviceLanes
from .device_queue import QUEUES
from .gradient_hooks import GradientHooks
from .leaves import Find
from .memory import Undisturbed, plain_view
from .shared_page import SharedMemory
from .step_clock import NO_TASK, Step, graph_task
from .tensor_slots import ABSENT, BEGUN, COPIED, DONE, HEADER_WORDS, ON_DEVICE, OTHER, STATE, STEP

MAX_NBYTES = 1 << 30
"""The most shared memory of one viewer, both halves counted."""

DEFAULT_BUDGET = 64 << 20
"""Bytes that are copied at one step; what is left over has its turn at the next."""


class Wanted(NamedTuple):
    """A tensor to be copied: how to find it, and the shape and type that it had when it was listed.

    ``owner`` finds the parameter of a gradient.
    """

    find: Find
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    owner: Find | None = None


class Slot(NamedTuple):
    """A tensor's place in the shared memory, in bytes: that of its header, and of each half."""

    wanted: Wanted
    header: int
    halves: tuple[int, int]


class TensorCopies:
    """The copies of one viewer, renewed at each step within ``budget`` bytes. Raises ValueError if they need too much.

    ``take`` and ``settle`` are called on the training thread, all else on the viewer's.
    """

    def __init__(self, wanted: list[Wanted], budget: int = DEFAULT_BUDGET) -> None:
        slots, end = [], 0
        for each in wanted:
            header, start = end, end + 8 * HEADER_WORDS
            size = _aligned(each.nbytes)
            slots.append(Slot(each, header, (start, start + size)))
            end = start + 2 * size
        if end > MAX_NBYTES:
            raise ValueError(f"copies of these {len(wanted)} tensors need {end} bytes, and {MAX_NBYTES} are allowed")
        self.slots = slots
        self.budget = budget
        self.memory = SharedMemory(max(end, 1))  # a file of no bytes cannot be mapped
        self._bytes = torch.frombuffer(self.memory.map, dtype=torch.uint8)
        self._words = memoryview(self.memory.map)[: end - end % 8].cast("Q") if end else None
        self._lanes = DeviceLanes([each.nbytes for each in wanted], budget)
        self._next = 0
        self._hooks = GradientHooks([each.owner for each in wanted], self._at_gradient)
        self._owned: dict[int, list[int]] | None = None
        """The slots of a parameter and of its gradient, by the id of the parameter."""

        self._step = 0
        self._lock = threading.Lock()
        self._is_closed = False

    def take(self, optimizer: Any, step: Step) -> None:
        """Copy as many of the tensors as the budget allows, from where the last step left off; at least one."""
        with self._lock:
            if self._is_closed:
                return
            self._settle()
            self._step = step.number
            self._hooks.at_step(optimizer)
            left, passed = self.budget, None
            for index in self._turn(optimizer):
                slot, is_next = self.slots[index], index == self._next
                if left < self.budget and slot.wanted.nbytes > left:
                    break
                if is_next:
                    self._next = (index + 1) % len(self.slots)
                if index in self._hooks.followed:
                    continue
                if self._copy(slot, step):
                    left -= slot.wanted.nbytes
                elif is_next and passed is None:
                    passed = index
            if passed is not None:
                self._next = passed
            self._lanes.send()

    def settle(self) -> None:
        """Take in what has come from devices since the last step."""
        if self._lanes.is_under_way:
            with self._lock:
                self._settle()

    def close(self) -> None:
        """Copy nothing any more, and release the memory."""
        with self._lock:
            self._is_closed = True
            self._hooks.end()
            if self._words is not None:
                self._words.release()
            del self._bytes
            self._lanes = DeviceLanes([], 0)
        self.memory.close()

    def _turn(self, optimizer: Any) -> Iterator[int]:
        """The slots that have their turn at a step.

        Where each parameter has an optimizer that steps inside backward, the gradients are those of its own.
        """
        first, count = self._next, len(self.slots)
        if graph_task() == NO_TASK:
            yield from range(first, count)
            yield from range(first)
            return
        if self._owned is None:
            self._owned = {}
            for index, slot in enumerate(self.slots):
                owner = slot.wanted.owner or slot.wanted.find
                with suppress(*ODD):
                    self._owned.setdefault(id(owner()), []).append(index)
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        own = [index for each in parameters for index in self._owned.get(id(each), ())]
        if self.slots and self.slots[first].wanted.owner is not None:
            self._next = (first + 1) % count
        elif self.slots:
            own.insert(0, first)
        yield from dict.fromkeys(own)

    def _at_gradient(self, index: int) -> None:
        """Copy a gradient of the pass that is under way."""
        with self._lock, suppress(*ODD):
            if not self._is_closed:
                self._settle()
                self._copy(self.slots[index], Step(self._step + 1, False, False))
                self._lanes.send()

    def _settle(self) -> None:
        if self._is_closed or not self._lanes.is_under_way:
            return
        with Undisturbed(plain=True):
            for (slot, step), data in self._lanes.arrivals():
                self._put(slot, step, COPIED, data)

    def _copy(self, slot: Slot, step: Step) -> bool:
        """Copy a tensor, or have it sent; False if that is left to a later step."""
        wanted = slot.wanted
        try:
            with Undisturbed(plain=True):
                tensor = wanted.find()
                state = state_of(wanted, tensor)
                if state == ON_DEVICE:
                    loaded = self._lanes.load(tensor, wanted.nbytes, (slot, step))
                    if loaded in (COPIED, None):
                        return loaded == COPIED
                    state = loaded
                self._put(slot, step, state, tensor)
        except ODD:
            self._put(slot, step, OTHER)
        return True

    def _put(self, slot: Slot, step: Step, state: int, tensor: Any = None) -> None:
        """Write what was found, and the values if there are any, into the half that is not the last one."""
        words, first = self._words, slot.header // 8
        assert words is not None
        number = words[first + DONE] + 1
        half = number % 2
        words[first + BEGUN] = number
        if state == COPIED:
            start = slot.halves[half]
            fill(self._bytes[start : start + slot.wanted.nbytes], tensor)
        words[first + STATE + half] = state
        words[first + STEP + half] = step.number
        words[first + DONE] = number


def state_of(wanted: Wanted, tensor: Any) -> int:
    """What is there in place of a tensor that is wanted; ON_DEVICE of one that is there, but not simply on the host.

    Raises what is in ODD; the caller is inside ``Undisturbed``.
    """
    if tensor is None:
        return ABSENT
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or own(tensor, "layout") != torch.strided:
        return OTHER
    if tuple(own(tensor, "shape")) != wanted.shape or str(own(tensor, "dtype")) != f"torch.{wanted.dtype}":
        return OTHER
    if own(tensor, "untyped_storage")().nbytes() < needed_nbytes(tensor):
        return OTHER  # freed, or made shorter, under the tensor: to touch it could crash the process
    place = own(tensor, "device").type
    return COPIED if not wanted.nbytes or (place == "cpu" and place not in QUEUES) else ON_DEVICE


def fill(target: Any, tensor: Any) -> None:
    """Copy a tensor of the host, or its bytes, into ``target``, which has as many bytes."""
    if target.numel():
        source = plain_view(tensor)
        target.view(source.dtype).view(source.shape).copy_(source)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // 64) * 64
