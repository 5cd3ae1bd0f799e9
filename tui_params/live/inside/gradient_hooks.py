"""GradientHooks: calls when backward has made a gradient, for loops in which it is gone at the next pass."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from .anatomy import ODD
from .leaves import Find
from .step_clock import NO_TASK, graph_task

LOOKS = 64
"""How many parameters are looked for anew at a pass: one may have been replaced, or frozen before."""


class GradientHooks:
    """Hooks on the parameters that ``owners`` find, by their numbers, as long as passes stand in for steps.

    ``act`` is called with the number whenever a gradient has been added to that of a parameter, on the thread of
    backward and before all hooks that were there. torch calls them from a copy of their list, so they may go at any
    time.
    """

    def __init__(self, owners: list[Find | None], act: Callable[[int], None]) -> None:
        self._owners = [(number, owner) for number, owner in enumerate(owners) if owner is not None]
        self._act = act
        self._next = 0
        self._has_begun = False
        self.followed: dict[int, tuple[weakref.ref[Any], Any]] = {}
        """By the numbers of those that have a hook, the parameter and the handle."""

        _ALL.add(self)

    def at_step(self, optimizer: Any) -> None:
        """Called on the thread that trains: begin where no optimizer makes the step, end where one does."""
        if graph_task() != NO_TASK:
            return
        if optimizer is not None:
            self.end()
            return
        count = len(self._owners)
        for _ in range(min(LOOKS, count) if self._has_begun else count):
            self._look(*self._owners[self._next])
            self._next = (self._next + 1) % count
        self._has_begun = True

    def end(self) -> None:
        """Call nothing any more."""
        followed, self.followed = self.followed, {}
        self._has_begun = False
        for _, handle in followed.values():
            handle.remove()

    def _look(self, number: int, owner: Find) -> None:
        """Follow the parameter that is there now."""
        parameter: Any = None
        with suppress(*ODD):
            parameter = owner()
        if number in self.followed:
            before, handle = self.followed[number]
            if before() is parameter:
                return
            handle.remove()
            del self.followed[number]
        with suppress(*ODD):
            self._follow(number, parameter)

    def _follow(self, number: int, parameter: Any) -> None:
        if not isinstance(parameter, torch.Tensor) or not parameter.is_leaf or not parameter.requires_grad:
            return
        disable: Any = torch.compiler.disable
        act = partial(self._act, number)
        handle = parameter.register_post_accumulate_grad_hook(disable(lambda _: act()))
        self.followed[number] = weakref.ref(parameter), handle
        # An update of the loop's own, made in such a hook, takes the gradient away. torch follows the order of the dict
        # itself, which move_to_end of an OrderedDict leaves as it is.
        hooks: Any = parameter._post_accumulate_grad_hooks
        for key in [key for key in hooks if key != handle.id]:
            hooks[key] = hooks.pop(key)


_ALL: weakref.WeakSet[GradientHooks] = weakref.WeakSet()


def _forget_all() -> None:
    for each in tuple(_ALL):
        each.end()


if hasattr(os, "register_at_fork"):
    # A child that trains too would write its gradients over those of its parent, into memory that both share.
    os.register_at_fork(after_in_child=_forget_all)
