"""PassClock: where no optimizer of torch makes a step, what the passes of the model say of when it stands still.

While a model computes forward nothing writes to its parameters. What comes after a pass that is trained with, up to the
next one, may: backward, and an update of the loop's own. So such a pass is over when the next one begins, as a step is
when it ends.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import torch

from .anatomy import ODD
from .step_clock import NO_TASK, StepClock, graph_task


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
            self._viewers.add(viewer)
            if self._handles:
                return True
            disable: Any = torch.compiler.disable
            handles = []
            try:
                # An older torch has no always_call, and a class may refuse hooks.
                handles.append(self._model.register_forward_hook(disable(self._after), always_call=True))
                handles.append(self._model.register_forward_pre_hook(disable(self._before)))
            except ODD:
                for handle in handles:
                    handle.remove()
                return False
            self._handles = handles
            self._clock.stand_in = self.stop
        return True

    def leave(self, viewer: int) -> None:
        """End, if a viewer was the last that wanted it."""
        with self._lock:
            self._viewers.discard(viewer)
            is_wanted = bool(self._viewers)
        if not is_wanted:
            self.stop()

    def stop(self) -> None:
        """Remove the hooks."""
        with self._lock:
            handles, self._handles = self._handles, []
            self._clock.stand_in = None
        for handle in handles:
            handle.remove()
        if handles:
            self._clock.end_passes()

    def forget(self) -> None:
        """In a forked child: remove the hooks, and touch neither the page nor a lock, which are the parent's."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _before(self, module: Any, args: Any) -> None:
        # Recomputed inside backward, it is no new pass.
        if self._handles and graph_task() == NO_TASK:
            with suppress(*ODD):
                self._clock.begin_pass()

    def _after(self, module: Any, args: Any, output: Any) -> None:
        if self._handles and graph_task() == NO_TASK:
            self._clock.end_pass(is_trained=bool(module.training) and torch.is_grad_enabled())
