"""PassClock: where no optimizer of torch makes a step, what the passes of the model say of when it stands still.

While a model computes forward nothing writes to its parameters. What comes after a pass that is trained with, up to the
next one, may: backward, and an update of the loop's own. So such a pass is over when the next one begins, as a step is
when it ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import torch

from .anatomy import ODD
from .step_clock import NO_TASK, StepClock, graph_task


class PassHook:
    """A hook of this model alone: where the model is copied or saved as a whole, one that does nothing goes along."""

    def __init__(self, act: Callable[..., None]) -> None:
        disable: Any = torch.compiler.disable
        self._act = disable(act)

    def __call__(self, *values: Any) -> None:
        self._act(*values)

    def __reduce__(self) -> tuple[Any, ...]:
        # It has to be there wherever the file is opened, and to take any number of values.
        return getattr, (nullcontext, "__exit__")


class PassClock:
    """Hooks on a model, there as long as somebody wants them and no optimizer makes a step."""

    def __init__(self, clock: StepClock, model: Any) -> None:
        self._clock, self._model = clock, model
        self._lock = threading.Lock()
        self._handles: list[Any] = []
        self._viewers: set[int] = set()

    def want(self, viewer: int) -> bool:
        """Begin, if a viewer is the first to want it; whether there is a model whose passes can be seen."""
        if not isinstance(self._model, torch.nn.Module):
            return False
        with self._lock:
            if not self._handles and not self._begin():
                return False
            self._viewers.add(viewer)
        return True

    def _begin(self) -> bool:
        try:
            self._handles.append(self._model.register_forward_pre_hook(PassHook(self._before)))
            self._handles.append(self._model.register_forward_hook(PassHook(self._after), always_call=True))
        except ODD:  # a scripted model takes none
            self._remove()
            return False
        self._clock.stand_in = self.stop
        return True

    def leave(self, viewer: int) -> None:
        """End, if a viewer was the last that wanted it."""
        with self._lock:
            self._viewers.discard(viewer)
            if not self._viewers:
                self._end()

    def stop(self) -> None:
        """Remove the hooks."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._handles:
            self._remove()
            self._clock.end_passes()

    def forget(self) -> None:
        """In a forked child: remove the hooks, and touch neither the page nor a lock, which are the parent's."""
        self._remove()

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _before(self, module: Any, args: Any) -> None:
        # Recomputed inside backward, it is no new pass.
        if self._handles and graph_task() == NO_TASK:
            with suppress(*ODD):
                self._clock.begin_pass(is_trained=_is_trained(module))

    def _after(self, module: Any, args: Any, output: Any) -> None:
        if self._handles and graph_task() == NO_TASK:
            self._clock.end_pass(is_trained=_is_trained(module))


def _is_trained(module: Any) -> bool:
    return bool(module.training) and torch.is_grad_enabled()
