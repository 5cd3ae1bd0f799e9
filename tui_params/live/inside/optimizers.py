"""The states of optimizers by the name of their parameter, and which parameters no optimizer changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from .anatomy import ODD, attribute_of, instance_of, own
from .arrays import value_leaf
from .description import Severity
from .leaves import Find, Leaf, Siblings, attributes_of, is_optimizer, walk_values

_WRAPPED_AS = ("optim", "optimizer")
"""Attributes under which an optimizer keeps the one that does its work: ZeroRedundancyOptimizer, the first."""

_WRAPPER_LIMIT = 4
ALL_PARAMETERS = "all_parameters"


class Held(NamedTuple):
    """An optimizer, the name before its states, and how to find it again."""

    prefix: str
    optimizer: Any
    find: Find
    groups_before: int = 0
    """How many groups those before it have, which share its prefix."""


class Trained(NamedTuple):
    """A trainable parameter of a model; ``is_copy`` if it follows others and is not trained itself."""

    name: str
    tensor: Any
    is_copy: bool


def leaves_of(held: Held, names: Mapping[int, str], metadata: dict[str, str]) -> Iterator[Leaf | Siblings]:
    """The tensors in the states and settings of an optimizer. ``names`` are those of parameters, by their ids."""
    owners: dict[int, str] = dict(names)
    for index, group in enumerate(held.optimizer.param_groups):
        for position, parameter in enumerate(group["params"]):
            owners.setdefault(id(parameter), f"param_groups.{index}.params.{position}")
        rest = {key: value for key, value in group.items() if key not in ("params", "param_names")}
        prefix = f"{held.prefix}.param_groups.{held.groups_before + index}"
        yield from walk_values(prefix, rest, partial(_find_group, held.find, index), metadata, _enter)
    is_one_for_all = "LBFGS" in [ancestor.__name__ for ancestor in type(held.optimizer).__mro__]
    for owner, state in list(states_of(held.optimizer).items()):
        if is_one_for_all and id(owner) in owners:
            # torch.optim.LBFGS keeps vectors over all parameters, as the state of the first.
            name = ALL_PARAMETERS
        else:
            name = owners.get(id(owner), str(owner) if type(owner) is str else f"unnamed.{len(owners)}")
        owners.setdefault(id(owner), name)
        prefix, find = f"{held.prefix}.{name}", partial(_find_state, held.find, owner)
        if type(state) is dict and state and all(issubclass(type(value), torch.Tensor) for value in state.values()):
            yield Siblings(f"{prefix}.", "tensor", find, tuple(state), tuple(state.values()))
        else:
            yield from walk_values(prefix, state, find, metadata, _enter)


def _enter(name: str, value: Any, find: Find) -> tuple[Leaf, ...] | None:
    leaf = value_leaf(name, value, find)
    return None if leaf is None else (leaf,)


def remarks_of(held: Sequence[Held], trained: Sequence[Trained]) -> Iterator[tuple[Severity, str, str]]:
    """What there is to say of trainable parameters that are in no group of any of the optimizers."""
    changed = changed_by(held)
    own_ones = {id(entry.tensor): entry for entry in reversed(trained) if not entry.is_copy}
    left = [entry for entry in reversed(own_ones.values()) if id(entry.tensor) not in changed]
    yield from remarks_on(held, changed, left, len(own_ones) - len(left))


def changed_by(held: Sequence[Held]) -> dict[int, Any]:
    """The parameters that optimizers change, by their ids."""
    groups = [group for entry in held for group in entry.optimizer.param_groups]
    return {id(parameter): parameter for group in groups for parameter in group["params"]}


def remarks_on(
    held: Sequence[Held], changed: Mapping[int, Any], left: Sequence[Trained], others: int
) -> Iterator[tuple[Severity, str, str]]:
    """What ``remarks_of`` says, of the parameters ``left`` that are in no group, beside ``others`` that are in one."""
    if not left or not changed:
        return
    which = "the optimizer" if len(held) == 1 else f"the {len(held)} optimizers"
    if not others:
        # Mixed precision and flat partitions are trained through copies, of another type or shape.
        mine, theirs = (
            Counter(map(_kind_of, tensors)) for tensors in ([entry.tensor for entry in left], changed.values())
        )
        if theirs - mine:
            return
        sentence = (
            f"none of the {len(left)} trainable parameters is in a group of {which}, whose {len(changed)} parameters "
            "are other tensors of the same shapes and types: it was made for another copy of the model"
        )
    else:
        is_one = len(left) == 1
        verb = "1 trainable parameter is" if is_one else f"{len(left)} trainable parameters are"
        them = "it" if is_one else "them"
        named = ", ".join([entry.name for entry in left[:5]]) + (", …" if len(left) > 5 else "")
        sentence = f"{verb} in no group of {which}, so no step changes {them}: {named}; "
        sentence += "the other one is" if others == 1 else f"the other {others} are"
    yield "warning", "not-in-optimizer", sentence


def _kind_of(tensor: Any) -> tuple[Any, ...]:
    try:
        return tuple(own(tensor, "shape")), own(tensor, "dtype")
    except ODD:
        return ("unknown", id(tensor))


def states_of(optimizer: Any) -> Mapping[Any, Any]:
    """The states that an optimizer keeps itself or, if it has none, those of the one that it wraps."""
    for _ in range(_WRAPPER_LIMIT):
        if optimizer.state:
            break
        inner = next((found for found in map(partial(_stored, optimizer), _WRAPPED_AS) if found is not None), None)
        if inner is None:
            break
        optimizer = inner
    states: Mapping[Any, Any] = optimizer.state
    return states


def _stored(optimizer: Any, name: str) -> Any:
    try:
        found = attributes_of(optimizer).get(name)
    except AttributeError:
        return None
    return found if instance_of(found, torch.optim.Optimizer) and is_optimizer(found) else None


def _find_group(find: Find, index: int) -> Any:
    """A parameter group as it is now."""
    return find().param_groups[index]


def _find_state(find: Find, owner: Any) -> Any:
    """The state of one parameter as it is now."""
    # ``state`` is a defaultdict: a subscript would add an entry.
    return states_of(find()).get(owner, {})


def is_optimizer_object(value: Any) -> bool:
    """Whether a value among others is an optimizer: a real one, as anything may have ``state``."""
    return instance_of(value, torch.optim.Optimizer) and attribute_of(value, "param_groups") is not None


def several(optimizer: Any) -> tuple[Any, ...]:
    """One optimizer, a list of them, or None, as a tuple."""
    if optimizer is None:
        return ()
    return tuple(optimizer) if type(optimizer) in (list, tuple) else (optimizer,)
