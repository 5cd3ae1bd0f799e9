"""AskedCopies: what a process copies for this viewer at the end of its steps, asked for and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from tui_params.errors import ReadError
from tui_params.live.attached.connection import Connection
from tui_params.live.attached.guard import Guard
from tui_params.live.attached.replies import Copied, not_understood, shared
from tui_params.live.attached.shared import Copies, Slot, StepPage

_T = TypeVar("_T")

COPIES_NBYTES = 128 << 20
"""The most bytes of tensors that are copied at each step; those that were asked for last."""

STEP_SECONDS = 15.0
"""How long to wait for the end of a step."""

COPY_STEPS = 16
"""How many steps to wait for a copy: what lies on a device comes a step or two later, and copies take turns."""


class Key(NamedTuple):
    """A tensor by its handle, or the gradient of a parameter by that of the parameter."""

    handle: int
    is_gradient: bool


class AskedCopies:
    """The tensors that are copied, the latest that were asked for. ``close`` ends them."""

    def __init__(self, connection: Connection, page: StepPage, guard: Guard) -> None:
        self._connection, self._page, self._guard = connection, page, guard
        self._lock = Lock()
        self._nbytes: dict[Key, int] = {}
        """The bytes of each tensor that is copied; the latest last."""

        self._copies: Copies | None = None
        self._slots: dict[Key, Slot] = {}
        self._waited_at = -1
        """The number of steps at which one more was waited for in vain: nothing else waits for it as long again."""

        self._is_closed = False

    def read(
        self, key: Key, near: Callable[[], Sequence[tuple[Key, int]]], most: int, read: Callable[[Any, int], _T]
    ) -> tuple[_T, int]:
        """What ``read`` makes of the last copy of a tensor, given a Place and its bytes, and the step that it is of.

        If it is not copied yet, ``near`` says what is to be copied too, with the bytes of each, the tensor itself last;
        at most ``most`` tensors are copied. Raises ReadError.
        """
        with self._lock:
            asked = self._page.steps
            if key not in self._slots:
                self._ask(near(), most)
            copies, slot = self._copies, self._slots[key]
            assert copies is not None
            self._wait(copies, slot, asked)
            return copies.steadily(slot, lambda place: read(place, slot.nbytes))

    def forget(self) -> None:
        """Have nothing copied any more, but what is asked for from now on."""
        with self._lock:
            self._nbytes.clear()
            self._drop()

    def close(self) -> None:
        self._is_closed = True
        with self._lock:
            self._drop()

    def _wait(self, copies: Copies, slot: Slot, asked: int) -> None:
        deadline, seen = time.monotonic() + (0.0 if self._waited_at == asked else STEP_SECONDS), asked
        while True:
            lost = self._connection.look()
            if lost is not None:
                raise ReadError(lost)
            if copies.step_of(slot) >= max(asked, 1) or self._is_held_at(copies.step_of(slot)):
                return
            now, steps = time.monotonic(), self._page.steps
            if seen < steps < asked + COPY_STEPS:
                deadline, seen = now + STEP_SECONDS, steps
            if self._guard.asked:
                deadline = max(deadline, self._guard.asked + STEP_SECONDS)
            if now > deadline and seen > asked:
                raise ReadError(f"it was not copied at the end of the last {steps - asked:,} steps")
            if now > deadline or self._is_closed:
                self._waited_at = asked
                raise ReadError(
                    f"no step ended within {STEP_SECONDS:.0f} s: gradients, and what cannot be read from outside, are"
                    " copied at the end of a step of an optimizer of torch, else at a pass of the model"
                )
            time.sleep(0.002)

    def _is_held_at(self, step: int) -> bool:
        """Whether the training stands at the end of that step: no later copy will come, and this one is of now."""
        return step > 0 and self._page.held == step

    def _ask(self, near: Sequence[tuple[Key, int]], most: int) -> None:
        for key, nbytes in near:
            self._nbytes.pop(key, None)
            self._nbytes[key] = nbytes
        while len(self._nbytes) > 1 and (len(self._nbytes) > most or sum(self._nbytes.values()) > COPIES_NBYTES):
            del self._nbytes[next(iter(self._nbytes))]
        # The process copies in this order: what is waited for comes first.
        newest = list(reversed(self._nbytes))
        keys = sorted(newest, key=lambda key: key.is_gradient)
        question = {
            "ask": "copy",
            "values": [key.handle for key in keys if not key.is_gradient],
            "gradients": [key.handle for key in keys if key.is_gradient],
            "budget": COPIES_NBYTES,
        }
        self._drop()
        copied, descriptor = shared(self._connection.ask_shared(question), Copied, "the copies")
        self._copies = Copies(descriptor, copied.nbytes)
        if len(copied.slots) != len(keys):
            raise not_understood(f"{len(copied.slots):,} places for {len(keys):,} copies")
        self._slots = {
            key: Slot(header, (first, second), self._nbytes[key])
            for key, (header, first, second) in zip(keys, copied.slots, strict=True)
        }

    def _drop(self) -> None:
        self._slots = {}
        if self._copies is not None:
            self._copies.close()
            self._copies = None
