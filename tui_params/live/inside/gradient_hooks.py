"""GradientHooks: calls when backward has made a gradient, for loops in which it is gone at the next pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from .anatomy import ODD
from .leaves import Find
from .step_clock import NO_TASK, graph_task


class GradientHooks:
    """Hooks on the parameters that ``owners`` find, by their numbers, as long as passes stand in for steps.

    ``act`` is called with the number whenever a gradient has been added to that of a parameter, on the thread of
    backward and before all hooks that were there. torch calls them from a copy of their list, so they may go at any
    time.
    """

    def __init__(self, owners: list[Find | None], act: Callable[[int], None]) -> None:
        self._owners, self._act = owners, act
        self._handles: list[Any] = []
        self.followed: set[int] = set()

    def at_step(self, optimizer: Any) -> None:
        """Called on the thread that trains: begin where no optimizer makes the step, end where one does."""
        if graph_task() != NO_TASK:
            return
        if optimizer is not None:
            self.end()
        elif not self.followed:
            for number, owner in enumerate(self._owners):
                with suppress(*ODD):
                    if owner is not None and self._follow(owner(), partial(self._act, number)):
                        self.followed.add(number)

    def end(self) -> None:
        """Call nothing any more."""
        handles, self._handles = self._handles, []
        self.followed.clear()
        for handle in handles:
            handle.remove()

    def _follow(self, parameter: Any, act: Callable[[], None]) -> bool:
        if not isinstance(parameter, torch.Tensor) or not parameter.is_leaf or not parameter.requires_grad:
            return False
        disable: Any = torch.compiler.disable
        handle = parameter.register_post_accumulate_grad_hook(disable(lambda _: act()))
        self._handles.append(handle)
        # An update of the loop's own, made in such a hook, takes the gradient away. torch follows the order of the dict
        # itself, which move_to_end of an OrderedDict leaves as it is.
        hooks: Any = parameter._post_accumulate_grad_hooks
        for key in [key for key in hooks if key != handle.id]:
            hooks[key] = hooks.pop(key)
        return True
