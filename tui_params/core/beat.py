"""Beat: how far a model that trains has come."""

from __future__ import annotations

from typing import Literal

import msgspec


class Beat(msgspec.Struct, frozen=True, gc=False):
    """How far a model that trains while it is looked at has come.

    ``steps`` counts the steps of its optimizers since it is served; ``age`` are the seconds since the last of them,
    None before the first. ``is_scaled`` says that its gradients are still multiplied by a loss scale, and ``skipped``
    counts the steps that were skipped because gradients were not finite. ``lost`` is why nothing more is heard of it.
    ``held`` is the step at whose end a viewer holds the training, 0 if none does. ``by`` is what says when nothing is
    written to the model: the steps of its optimizers; its passes, which are counted in their place where there are
    none; or nothing, and then what is read may be of two moments.
    """

    steps: int
    age: float | None = None
    is_scaled: bool = False
    skipped: int = 0
    lost: str | None = None
    held: int = 0
    by: Literal["steps", "passes", "nothing"] = "steps"
