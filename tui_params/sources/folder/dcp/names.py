"""Which parameter the states of optimizers belong to, from the paths that the planner kept (``planner_data``).

torch/distributed/checkpoint/_nested_dict.py: a flat name such as ``optim.state.layers.0.weight.exp_avg`` is the path
("optim", "state", "layers.0.weight", "exp_avg"); with ``flatten_optimizer_state_dict`` it is ("optim",
"state.layers.0.weight.exp_avg").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.sources.folder.dcp.metadata import Shape

_MAX_PARAMETERS = 1_000_000
_FLAT = "state."


def state_notes(paths: Mapping[str, tuple[Any, ...]], names: Mapping[str, object]) -> dict[str, str]:
    """A note for each of the ``names`` that is the state of a parameter, by name."""
    owners = {name: owner for name in names if (owner := _owner(paths.get(name, ()))) is not None}
    flat = [name for name in names if _is_flat(paths.get(name, ()))]
    if flat:
        parameters = _parameters(paths, names, owners)
        for name in flat:
            owner = _longest(paths[name][-1].removeprefix(_FLAT), parameters)
            if owner is not None:
                owners[name] = owner
    return {name: f"state of {clean(owner, 200)}" for name, owner in owners.items()}


def name_numbered(
    tensors: list[TensorInfo], paths: Mapping[str, tuple[Any, ...]], lists: Mapping[str, list[Any]]
) -> None:
    """Add a note to states that are numbered as ``Optimizer.state_dict`` does, where their parameter is certain.

    ``lists`` are the objects that are lists of numbers, by name: those of ``optim.param_groups.0.params`` give the
    order of the states.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, items in lists.items():
        path = paths.get(name, ())
        if len(path) >= 3 and path[-1] == "params" and type(path[-2]) is int and path[-3] == "param_groups":
            groups.setdefault(".".join(map(str, path[:-3])), []).append({"params": items})
    if not groups:
        return
    from tui_params.sources.torch_save.optimizer_names import name_states

    by_name = {info.name: info for info in tensors}
    models: dict[str, list[tuple[str, Shape]]] = {}
    for name, path in list(paths.items())[:_MAX_PARAMETERS]:
        info = by_name.get(name)
        if info is None or "state" in path or info.dtype.kind not in ("float", "complex"):
            continue
        models.setdefault(str(path[0]) if len(path) > 1 else "", []).append((_below(path), info.shape))
    for prefix, some in groups.items():
        name_states(tensors, prefix, {"param_groups": some}, list(models.values()))


def _owner(path: tuple[Any, ...]) -> str | None:
    """The parameter in a path that ends with "state", its name, and the name of one of its states."""
    if len(path) < 3 or path[-3] != "state" or type(path[-2]) is not str or path[-2].isdecimal():
        return None
    return path[-2]


def _is_flat(path: tuple[Any, ...]) -> bool:
    return bool(path) and type(path[-1]) is str and path[-1].startswith(_FLAT)


def _parameters(
    paths: Mapping[str, tuple[Any, ...]], names: Mapping[str, object], owners: Mapping[str, str]
) -> set[str]:
    """The names that tensors have in the state dicts of their models."""
    return {
        below
        for name in names
        if name not in owners and (path := paths.get(name)) and not _is_flat(path)
        for below in (_below(path), name)
    }


def _below(path: tuple[Any, ...]) -> str:
    """The name of a tensor in the state dict that is the first key of its path."""
    return ".".join(map(str, path[1:] or path))


def _longest(name: str, parameters: set[str]) -> str | None:
    """The longest of the parameters that is followed by a dot in ``name``."""
    return next((start for start in _starts(name) if start in parameters), None)


def _starts(name: str) -> Iterator[str]:
    while (cut := name.rfind(".")) > 0:
        name = name[:cut]
        yield name
