"""StepClock: counts the steps of the optimizers in this process, and marks when they may be writing.

torch calls global hooks before and after every optimizer's ``step`` (torch/optim/optimizer.py,
``register_optimizer_step_pre_hook``). They run on the training thread, so they make no system call, run no operator of
torch, and keep nothing alive, unless a viewer asks for it. Traced by ``torch.compile`` they would slow every step, so
Dynamo is told to leave them.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from .anatomy import ODD
from .hold import POLL_SECONDS, Hold
from .shared_page import HELD, LAST_STEP, PASSES, SCALED, SEQUENCE, SKIPPED, STEPS, SharedPage

_DYNAMO = f"{os.sep}_dynamo{os.sep}"

NO_TASK = -1
graph_task: Callable[[], int] = getattr(torch._C, "_current_graph_task_id", lambda: NO_TASK)
"""Which backward the thread is in; NO_TASK in none."""


class Step(NamedTuple):
    """The number of a step, and whether its gradients were still scaled, or told to the optimizer as not finite."""

    number: int
    is_scaled: bool
    is_skipped: bool


AtStep = Callable[[Any, Step], None]
"""Called on the training thread with the optimizer, after its step and before anything can change again; with None
where passes of the model stand in for steps."""


class StepClock:
    """Keeps the numbers of a SharedPage, from ``start`` to ``stop``.

    Of calls inside each other (a subclass that calls ``super().step()``, a wrapper around an optimizer) the outermost
    counts. A call that raised is forgotten at the next one.
    """

    def __init__(self, page: SharedPage) -> None:
        self._page = page
        self._lock = threading.Lock()
        self._running: dict[int, list[tuple[int, int]]] = {}
        """By thread, the calls of ``step`` under way: the depth of the stack and the frame of each."""

        self._handles: list[Any] = []
        self.at_step: list[AtStep] = []
        self.settles: list[Callable[[], None]] = []
        """Called before each step, and again and again while the thread stands: what comes by itself is taken in."""

        self.holds: list[Hold] = []
        self.stand_in: Callable[[], None] | None = None
        """Ends what stands in for steps as long as no optimizer makes one."""

        self._mover = 0
        """The thread whose pass that is trained with has ended, if what comes after it may not be over; else 0."""

    def start(self) -> None:
        """Begin to count. Raises what torch raises if it has no such hooks."""
        disable: Any = torch.compiler.disable
        self._handles = [
            register_optimizer_step_pre_hook(disable(self._before)),
            register_optimizer_step_post_hook(disable(self._after)),
        ]

    def stop(self) -> None:
        """Remove the hooks; the numbers stay as they are, and even."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        with self._lock:
            self._running.clear()
            self._set_writing(False)

    def forget(self) -> None:
        """In a forked child: remove the hooks, and touch neither the page nor the lock, which are the parent's."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self.settles:
            self._settle()
        # Taken once: the thread of a viewer that leaves takes it away.
        stand_in = self.stand_in
        if stand_in is not None:
            stand_in()
        frame = _caller()
        depth = _depth_of(frame)
        with self._lock:
            calls = self._running.setdefault(threading.get_ident(), [])
            while calls and not _is_under_way(calls[-1], frame, depth):
                calls.pop()
            calls.append((depth, id(frame)))
            self._set_writing(True)

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        thread = threading.get_ident()
        with self._lock:
            calls = self._running.get(thread, [])
            if calls:
                calls.pop()
            if calls:
                return
        words = self._page.words
        # Told of by GradScaler to optimizers that look themselves whether a step is to be skipped, the fused ones.
        is_scaled = getattr(optimizer, "grad_scale", None) is not None
        is_skipped = is_scaled and _is_set(getattr(optimizer, "found_inf", None))
        step = Step(int(words[STEPS]) + 1, is_scaled, is_skipped)
        acts = tuple(self.at_step)
        for act in acts:
            # Nothing that goes wrong here may reach the training.
            with suppress(*ODD):
                act(optimizer, step)
        with self._lock:
            words[SCALED] = int(is_scaled)
            words[SKIPPED] += int(is_skipped)
            words[STEPS] += 1
            words[LAST_STEP] = time.monotonic_ns()
            self._running.pop(thread, None)
            if not self._running:
                self._set_writing(False)
        if self.holds and any(hold.is_wanted for hold in tuple(self.holds)):
            with suppress(*ODD):
                self._stand(optimizer, step, acts)

    def begin_pass(self, *, is_trained: bool) -> None:
        """The model computes, and is not written to meanwhile; if one that is trained with came before, it is over.

        Beside a thread that trains another one may compute, which ends nothing.
        """
        words = self._page.words
        acts, mover = tuple(self.at_step), self._mover
        is_counted = mover != 0 and (is_trained or mover == threading.get_ident())
        self._settle()
        step = Step(int(words[STEPS]) + 1, False, False)
        for act in acts if is_counted else ():
            with suppress(*ODD):
                act(None, step)
        with self._lock:
            if self.stand_in is None:
                return
            words[PASSES] = 1
            if is_counted:
                words[STEPS] += 1
                words[LAST_STEP] = time.monotonic_ns()
                self._mover = 0
            self._set_writing(bool(self._running or self._mover))
        if is_counted and any(hold.is_wanted for hold in tuple(self.holds)):
            self._stand(None, step, acts)

    def end_pass(self, *, is_trained: bool) -> None:
        """What may write to the model comes now, if the pass is trained with."""
        with self._lock:
            if is_trained and self.stand_in is not None:
                self._mover = threading.get_ident()
                self._set_writing(True)

    def end_passes(self) -> None:
        """Steps are those of optimizers again, of which the next one is the first that is known."""
        with self._lock:
            self.stand_in = None
            self._page.words[PASSES] = 0
            self._page.words[LAST_STEP] = 0
            self._mover = 0
            self._set_writing(bool(self._running))

    def _settle(self) -> None:
        for settle in tuple(self.settles):
            with suppress(*ODD):
                settle()

    def _stand(self, optimizer: Any, step: Step, done: tuple[AtStep, ...]) -> None:
        """Stand still as long as a viewer holds. The step is counted, so that all can be read as it has left it.

        ``done`` has been called already; what viewers ask for meanwhile is called too.
        """
        holds: tuple[Hold, ...] = ()
        try:
            self._page.words[HELD] = step.number
            while True:
                holds = tuple(self.holds)
                # Each is asked, so that each knows that it is at the end of this step.
                if not sum(hold.lasts(step.number) for hold in holds):
                    return
                time.sleep(POLL_SECONDS)
                self._settle()
                for act in tuple(self.at_step):
                    if act not in done:
                        done = (*done, act)
                        with suppress(*ODD):
                            act(optimizer, step)
        except BaseException:
            # Ctrl+c in the terminal of the training is for the training: nothing holds it any more.
            for hold in holds:
                hold.release()
                hold.lasts(step.number)
            raise
        finally:
            self._page.words[HELD] = 0

    def _set_writing(self, is_writing: bool) -> None:
        words = self._page.words
        if words[SEQUENCE] % 2 != is_writing:
            words[SEQUENCE] += 1


def _caller() -> Any:
    """The frame that calls the hook, which lasts as long as the step; what Dynamo wraps around a hook does not."""
    frame: Any = sys._getframe(2)
    while frame.f_back is not None and _DYNAMO in frame.f_code.co_filename:
        frame = frame.f_back
    return frame


def _depth_of(frame: Any) -> int:
    depth = 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def _is_under_way(call: tuple[int, int], frame: Any, depth: int) -> bool:
    """Whether a call that began earlier is still on the stack above ``frame``."""
    before, identity = call
    while depth > before:
        frame, depth = frame.f_back, depth - 1
    return depth == before and id(frame) == identity and frame is not None


def _is_set(found_inf: Any) -> bool:
    """Whether the flag of a GradScaler says that gradients are not finite; one on a device is not asked."""
    if type(found_inf) is not torch.Tensor or found_inf.device.type != "cpu":
        return False
    return bool(found_inf.detach().count_nonzero())
