"""GradientHooks: calls at each gradient when backward has made it, for loops in which it is gone at the next pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class GradientHooks:
    """Hooks on parameters, from ``follow`` to ``end``. The first is called before all that were there.

    torch calls them on the thread of backward, from a copy of their list, so they may go at any time.
    """

    def __init__(self) -> None:
        self._handles: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self._handles)

    def follow(self, parameter: Any, act: Callable[[], None]) -> bool:
        """Call ``act`` whenever a gradient has been added to that of a parameter; False if it is none that can be.

        Called on the thread that trains, outside backward.
        """
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

    def end(self) -> None:
        """Call nothing any more."""
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()
