"""Why a parameter has no gradient, as far as its model and its optimizers show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .anatomy import ODD, own, stored_on
from .optimizers import Held, states_of

_ELSEWHERE = ("main_grad", "grad_accum", "_hp_grad")
"""Attributes of a parameter in which Megatron-LM and others accumulate its gradient in another type."""

FROZEN = "frozen (requires_grad is False)"


class Ungraded(NamedTuple):
    """A parameter without ``.grad``; ``is_copy`` if it follows others and is not trained itself."""

    name: str
    tensor: Any
    requires_grad: bool
    is_copy: bool


def why_absent(ungraded: Sequence[Ungraded], held: Sequence[Held], *, has_any: bool) -> Mapping[str, str]:
    """One sentence for each parameter without a gradient; ``has_any`` says whether another one has a gradient."""
    states = {id(owner) for entry in held for owner in states_of(entry.optimizer)}
    groups = [group for entry in held for group in entry.optimizer.param_groups]
    changed = {id(parameter) for group in groups for parameter in group["params"]}
    found = {}
    for entry in ungraded:
        reason = _reason(entry, states, has_any)
        if entry.requires_grad and not entry.is_copy and changed and id(entry.tensor) not in changed:
            reason += "; it is in no group of the optimizer"
        found[entry.name] = reason
    return found


def _reason(entry: Ungraded, states: set[int], has_any: bool) -> str:
    if not entry.requires_grad:
        return FROZEN
    if entry.is_copy:
        return "it follows the weights of another module and is not trained itself"
    elsewhere = next((name for name in _ELSEWHERE if stored_on(entry.tensor, name) is not None), None)
    if elsewhere is not None:
        return f"it is accumulated in .{elsewhere}{_type_of(stored_on(entry.tensor, elsewhere))}, not in .grad"
    try:
        is_leaf = bool(own(entry.tensor, "is_leaf"))
    except ODD:
        is_leaf = True
    if not is_leaf:
        return "it is not a leaf: autograd keeps its gradient only after retain_grad()"
    if has_any:
        reached = "it was reached before: the optimizer has a state of it" if id(entry.tensor) in states else ""
        return f"the last backward() did not reach it, others have one{'; ' + reached if reached else ''}"
    if states:
        return "zero_grad() has set the gradients to None since the last step of the optimizer"
    return "no backward() yet: no parameter has a gradient"


def _type_of(gradient: Any) -> str:
    try:
        return f" ({str(own(gradient, 'dtype')).removeprefix('torch.')})"
    except ODD:
        return ""
