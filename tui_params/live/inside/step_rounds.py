"""StepRounds: the tensors of a watch, copied at every step into shared memory, in rounds that a viewer reads in turn.

Unlike TensorCopies, which keeps the last copy of each tensor, it keeps what was copied at each of the last steps: a
viewer that is late for a moment misses none of them. Of a round with tensors of a device a part is under way when the
step has ended; until it has come, there is no other round. Where passes stand in for steps, gradients are kept as
backward makes them, until the pass is over.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch

from .anatomy import ODD
from .device_lanes import DeviceLanes
from .gradient_hooks import GradientHooks
from .memory import Undisturbed
from .round_layout import (
    BEGUN,
    COUNT,
    DONE,
    FLAGS,
    INDEX,
    IS_SCALED,
    IS_SKIPPED,
    MAX_RING,
    MIN_RING,
    OFFSET,
    STATE,
    STEP,
    Layout,
    aligned,
)
from .shared_page import SharedMemory
from .step_clock import NO_TASK, Step, graph_task
from .tensor_copies import MAX_NBYTES, Wanted, fill, state_of
from .tensor_slots import COPIED, ON_DEVICE, OTHER

RING_NBYTES = 64 << 20
"""The most memory for more than two places."""


class StepRounds:
    """The rounds of one viewer: of each step as many tensors as ``budget`` bytes allow, in turn, at least one.

    Where each parameter has an optimizer of its own that steps inside backward, a round has what belongs to it, and one
    tensor more: all of them at each of these steps would be the whole model as many times as it has parameters.
    ``owners`` are the ids of the parameters that the tensors are, or are the gradients of. ``places`` is the most
    rounds that are kept, where memory allows.
    Raises ValueError if they need too much memory. ``close`` is called on the viewer's thread, all else on the one that
    trains.
    """

    def __init__(self, wanted: list[Wanted], owners: list[int], budget: int, places: int = MAX_RING) -> None:
        sizes = [aligned(each.nbytes) for each in wanted]
        room = max(*sizes, min(sum(sizes), budget // 64 * 64), 64)
        ring = max(MIN_RING, min(MAX_RING, places, RING_NBYTES // room))
        self.layout = Layout(len(wanted), ring, room)
        if self.layout.nbytes > MAX_NBYTES:
            raise ValueError(
                f"copies of these {len(wanted)} tensors need {self.layout.nbytes} bytes, and {MAX_NBYTES} are allowed"
            )
        self._wanted = wanted
        self._owned: dict[int, list[int]] = {}
        for index, owner in enumerate(owners):
            self._owned.setdefault(owner, []).append(index)
        self.memory = SharedMemory(self.layout.nbytes)
        self._bytes = torch.frombuffer(self.memory.map, dtype=torch.uint8)
        self._lanes = DeviceLanes([each.nbytes for each in wanted], room)
        self._hooks = GradientHooks([each.owner for each in wanted], self._at_gradient)
        self._made: dict[int, Any] = {}
        self._left = room
        """How many bytes of gradients more may be kept."""

        self._next = 0
        self._number = 0
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def is_under_way(self) -> bool:
        """Whether a part of the last round has not come yet."""
        return self._lanes.is_under_way

    def take(self, optimizer: Any, step: Step) -> list[tuple[int, Any]]:
        """Copy what has its turn; returns the tensors that were copied, with their indices. Ended by ``finish``.

        Nothing is taken as long as a part of the last round is under way.
        """
        with self._lock:
            if self._is_closed or self._lanes.is_under_way:
                return []
            self._hooks.at_step(optimizer)
            number, layout, words = self._number + 1, self.layout, self.memory.words
            words[BEGUN] = number
            at = layout.place(number)
            words[at + STEP], words[at + COUNT] = step.number, 0
            words[at + FLAGS] = IS_SCALED * step.is_scaled + IS_SKIPPED * step.is_skipped
            taken, end, entries, passed = [], 0, 0, None
            with Undisturbed(plain=True):
                for index in self._turn(optimizer):
                    wanted = self._wanted[index]
                    if entries and end + wanted.nbytes > layout.room:
                        break
                    is_next = index == self._next
                    if is_next:
                        self._next = (index + 1) % len(self._wanted)
                    state, tensor = self._copy(index, layout.bytes_at(number) + end)
                    if state is None:
                        passed = index if is_next and passed is None else passed
                        continue
                    entry = layout.entry(number, entries)
                    words[entry + INDEX], words[entry + STATE], words[entry + OFFSET] = index, state, end
                    if tensor is not None:
                        taken.append((index, tensor))
                    end += aligned(wanted.nbytes)
                    entries += 1
                if passed is not None:
                    self._next = passed
                words[at + COUNT] = entries
                # Of nothing there is no round: its number is used again.
                self._number += bool(entries)
                self._lanes.send()
            self._made.clear()
            self._left = layout.room
            return taken

    def arrived(self) -> list[tuple[int, Any]]:
        """Take in what has come from devices since ``finish``; returns what is floating, with the indices.

        Ended by ``finish``.
        """
        found: list[tuple[int, Any]] = []
        with self._lock:
            if self._is_closed or not self._lanes.is_under_way:
                return found
            with Undisturbed(plain=True):
                for (index, start), data in self._lanes.arrivals():
                    wanted, dtype = self._wanted[index], getattr(torch, self._wanted[index].dtype)
                    target = self._bytes[start : start + wanted.nbytes]
                    target.copy_(data)
                    if dtype.is_floating_point or dtype.is_complex:
                        found.append((index, target.view(dtype).view(wanted.shape)))
        return found

    def _turn(self, optimizer: Any) -> Iterator[int]:
        """The tensors that are to be copied at a step, as far as there is room, each once."""
        count = len(self._wanted)
        first = self._next
        if graph_task() == NO_TASK:
            yield from range(first, count)
            yield from range(first)
            return
        groups = optimizer.param_groups
        own = [index for group in groups for each in group["params"] for index in self._owned.get(id(each), ())]
        yield from dict.fromkeys([first, *own])

    def finish(self) -> None:
        """Let the viewer see the round that was taken last, if all of it is there."""
        with self._lock:
            if not self._is_closed and not self._lanes.is_under_way:
                self.memory.words[DONE] = self._number

    def close(self) -> None:
        """Copy nothing any more, and release the memory."""
        with self._lock:
            self._is_closed = True
            self._hooks.end()
            self._made.clear()
            del self._bytes
            self._lanes = DeviceLanes([], 0)
        self.memory.close()

    def _copy(self, index: int, start: int) -> tuple[int | None, Any]:
        """The state of a tensor, and the tensor itself if it was copied; None for the state if it has to wait.

        What is under way from a device counts as copied, and is not returned.
        """
        wanted = self._wanted[index]
        try:
            tensor = self._made.get(index) if index in self._hooks.followed else wanted.find()
            state = state_of(wanted, tensor)
            if state == ON_DEVICE:
                return self._lanes.load(tensor, wanted.nbytes, (index, start)), None
            if state == COPIED:
                fill(self._bytes[start : start + wanted.nbytes], tensor)
                return COPIED, tensor
        except ODD:
            return OTHER, None
        return state, None

    def _at_gradient(self, index: int) -> None:
        wanted = self._wanted[index]
        with self._lock, suppress(*ODD), Undisturbed(plain=True):
            self._left += wanted.nbytes * (index in self._made)
            if self._is_closed or self._left < wanted.nbytes:
                self._made.pop(index, None)
                return
            tensor = wanted.find()
            if state_of(wanted, tensor) in (COPIED, ON_DEVICE):
                self._made[index] = tensor.clone()
                self._left -= wanted.nbytes
