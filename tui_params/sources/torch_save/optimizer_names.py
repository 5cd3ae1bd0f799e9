"""Finds which parameter an optimizer's state belongs to, where that is certain.

An optimizer's ``state_dict()`` keys its state by integers (torch/optim/optimizer.py, ``state_dict``). The name is known
if the groups have ``param_names``, or if the shapes fit in exactly one way when the numbered states are matched, in
order, with the parameters of a model's state dict in the same file. Otherwise no name is given.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tui_params.core.tensor import TensorInfo
from tui_params.sources.torch_save.tree_walk import TreeWalk

_MAX_PARAMETERS = 1_000_000
_MAX_OPTIMIZERS = 16

# What the normalisation layers of torch.nn register as buffers; a plain state dict does not tell them apart.
_BUFFER_ENDINGS = ("running_mean", "running_var", "num_batches_tracked")

Shape = tuple[int, ...]


def name_optimizer_states(walk: TreeWalk) -> None:
    """Add a note to each tensor of an optimizer's state whose parameter is known."""
    if not walk.optimizers:
        return
    optimizers = walk.optimizers[:_MAX_OPTIMIZERS]
    prefixes = tuple(f"{prefix}." if prefix else "" for prefix, _ in optimizers)
    models = []
    size = 0
    for prefix, first, last in walk.state_dicts:
        if any(f"{prefix}.".startswith((f"{other}state.", f"{other}param_groups.")) for other in prefixes):
            continue
        size += last - first
        if size > _MAX_PARAMETERS:
            return
        models.append(_parameters(walk.lister.tensors[first:last], prefix))
    for prefix, optimizer in optimizers:
        name_states(walk.lister.tensors, prefix, optimizer, models)


def numbered_groups(walk: TreeWalk) -> dict[str, tuple[tuple[int, ...], ...]]:
    """The numbers of the parameters in the groups of each optimizer, by the name prefix of the optimizer."""
    found = {}
    for prefix, optimizer in walk.optimizers[:_MAX_OPTIMIZERS]:
        groups = optimizer["param_groups"]
        if type(groups) is not list or not groups or not all(type(group) is dict for group in groups):
            continue
        lists: list[Any] = [group.get("params") for group in groups]
        is_plain = all(type(params) is list and all(type(index) is int for index in params) for params in lists)
        if is_plain and sum(map(len, lists)) <= _MAX_PARAMETERS:
            found[prefix] = tuple([tuple(params) for params in lists])
    return found


def _parameters(tensors: list[TensorInfo], prefix: str) -> list[tuple[str, Shape]]:
    """Name (below ``prefix``) and shape of each tensor that an optimizer may have been given; tied ones count once."""
    start = len(prefix) + 1 if prefix else 0
    return [
        (info.name[start:], info.shape)
        for info in tensors
        if info.kind not in ("buffer", "array")
        and info.tied_to is None
        and info.dtype.kind in ("float", "complex")
        and not info.name.endswith(_BUFFER_ENDINGS)
    ]


def name_states(
    tensors: list[TensorInfo], prefix: str, optimizer: dict[Any, Any], models: list[list[tuple[str, Shape]]]
) -> None:
    """Add the notes for one optimizer, whose name is ``prefix``; ``models`` are the parameters of each, in order."""
    below = f"{prefix}.state." if prefix else "state."
    members: dict[int, list[int]] = {}
    for position, info in enumerate(tensors):
        if info.name.startswith(below):
            digits = info.name[len(below) :].partition(".")[0]
            if digits.isdecimal() and len(digits) < 9:
                members.setdefault(int(digits), []).append(position)
    names, certainty = _names_of(optimizer["param_groups"], tensors, members, models)
    for index, positions in members.items():
        if index in names:
            note = f"state of {names[index]}{certainty}"
            for position in positions:
                info = tensors[position]
                tensors[position] = msgspec.structs.replace(info, notes=(*info.notes, note))


def _names_of(
    groups: Any, tensors: list[TensorInfo], members: dict[int, list[int]], models: list[list[tuple[str, Shape]]]
) -> tuple[dict[int, str], str]:
    """Parameter names by index, and a remark on how they were found, to be added to the notes."""
    if type(groups) is not list or not all(type(group) is dict for group in groups):
        return {}, ""
    indices: list[int] = []
    named: dict[int, str] = {}
    for group in groups:
        params, names = group.get("params"), group.get("param_names")
        if type(params) is not list or len(indices) + len(params) > _MAX_PARAMETERS:
            return {}, ""
        if not all(type(index) is int for index in params):
            return {}, ""
        indices += params
        if type(names) is list and len(names) == len(params) and all(type(name) is str for name in names):
            named |= dict(zip(params, names, strict=True))
    if named:
        return named, ""
    # Several groups usually reorder the parameters (with and without weight decay): their order proves nothing.
    if sum(1 for group in groups if group["params"]) != 1 or indices != sorted(set(indices)):
        return {}, ""
    shapes = [_state_shape(tensors, members.get(index, [])) for index in indices]
    layouts = {tuple(names) for model in models if (names := _lay_over(shapes, model)) is not None}
    if len(layouts) != 1 or not any(shapes):
        return {}, ""
    return dict(zip(indices, layouts.pop(), strict=True)), " (by order and shapes)"


def _state_shape(tensors: list[TensorInfo], positions: list[int]) -> Shape | None:
    """The shape that the states of one parameter share, not counting step counters; None if there is no such shape."""
    shapes = {tensors[position].shape for position in positions if tensors[position].shape not in ((), (1,))}
    if len(shapes) == 1:
        return shapes.pop()
    return None


def _lay_over(shapes: list[Shape | None], model: list[tuple[str, Shape]]) -> list[str] | None:
    """The names of ``model`` that have these shapes, in order; None if no choice of names fits, or more than one.

    Exactly one choice fits if taking each name as early as possible and as late as possible gives the same names.
    """
    if len(shapes) > len(model):
        return None
    early = _choose(shapes, model)
    late = _choose(shapes[::-1], model[::-1])
    return early if early is not None and late is not None and early == late[::-1] else None


def _choose(shapes: list[Shape | None], model: list[tuple[str, Shape]]) -> list[str] | None:
    names = []
    candidates = iter(model)
    for shape in shapes:
        for name, other in candidates:
            if shape is None or shape == other:
                names.append(name)
                break
        else:
            return None
    return names
