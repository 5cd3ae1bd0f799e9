"""TensorCopies: tensors that are copied into shared memory at the end of a step, because they change before the next.

Gradients are set to None or overwritten between steps, so only the training thread can take them, and only then. It
does nothing but copy: what the values mean is worked out by the viewer.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import torch

from .anatomy import ODD, needed_nbytes, own
from .leaves import Find
from .memory import Undisturbed, plain_view
from .shared_page import SharedMemory
from .step_clock import Step
from .tensor_slots import ABSENT, BEGUN, COPIED, DONE, HEADER_WORDS, ON_DEVICE, OTHER, STATE, STEP

MAX_NBYTES = 1 << 30
"""The most shared memory of one viewer, both halves counted."""

DEFAULT_BUDGET = 64 << 20
"""Bytes that are copied at one step; what is left over has its turn at the next."""


class Wanted(NamedTuple):
    """A tensor to be copied: how to find it, and the shape and type that it had when it was listed."""

    find: Find
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


class Slot(NamedTuple):
    """A tensor's place in the shared memory, in bytes: that of its header, and of each half."""

    wanted: Wanted
    header: int
    halves: tuple[int, int]


class TensorCopies:
    """The copies of one viewer, renewed at each step within ``budget`` bytes. Raises ValueError if they need too much.

    ``take`` is called on the training thread, all else on the viewer's.
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
        self._next = 0
        self._lock = threading.Lock()
        self._is_closed = False

    def take(self, optimizer: Any, step: Step) -> None:
        """Copy as many of the tensors as the budget allows, from where the last step left off; at least one."""
        with self._lock:
            if self._is_closed:
                return
            left = self.budget
            for _ in range(len(self.slots)):
                slot = self.slots[self._next % len(self.slots)]
                if left < self.budget and slot.wanted.nbytes > left:
                    return
                left -= slot.wanted.nbytes
                self._next = (self._next + 1) % len(self.slots)
                self._copy(slot, step)

    def close(self) -> None:
        """Copy nothing any more, and release the memory."""
        with self._lock:
            self._is_closed = True
            if self._words is not None:
                self._words.release()
            del self._bytes
        self.memory.close()

    def _copy(self, slot: Slot, step: Step) -> None:
        words, first = self._words, slot.header // 8
        assert words is not None
        number = words[first + DONE] + 1
        half = number % 2
        words[first + BEGUN] = number
        try:
            with Undisturbed(plain=True):
                state = self._fill(slot, slot.halves[half])
        except ODD:
            state = OTHER
        words[first + STATE + half] = state
        words[first + STEP + half] = step.number
        words[first + DONE] = number

    def _fill(self, slot: Slot, start: int) -> int:
        wanted = slot.wanted
        return copy_to(self._bytes[start : start + wanted.nbytes], wanted, wanted.find())


def copy_to(target: Any, wanted: Wanted, tensor: Any) -> int:
    """Copy a tensor into ``target``, as many bytes, if it is still the one that is wanted; returns its state.

    Raises what is in ODD; the caller is inside ``Undisturbed``.
    """
    if tensor is None:
        return ABSENT
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or own(tensor, "layout") != torch.strided:
        return OTHER
    if tuple(own(tensor, "shape")) != wanted.shape or str(own(tensor, "dtype")) != f"torch.{wanted.dtype}":
        return OTHER
    if own(tensor, "device").type != "cpu":
        return ON_DEVICE
    if own(tensor, "untyped_storage")().nbytes() < needed_nbytes(tensor):
        return OTHER  # freed, or made shorter, under the tensor: to touch it could crash the process
    if wanted.nbytes:
        source = plain_view(tensor)
        target.view(source.dtype).view(source.shape).copy_(source)
    return COPIED


def _aligned(nbytes: int) -> int:
    return -(-nbytes // 64) * 64
