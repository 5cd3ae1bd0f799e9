"""The parameters of FSDP2 as they are between two steps.

While a module computes, ``fully_shard`` has whole tensors stand in the places of its parameters, whose memory is given
back afterwards. What is trained, and what the optimizer and the gradients belong to, are the pieces that stand there
else: torch/distributed/fsdp/_fully_shard/_fsdp_param.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from .anatomy import attribute_of
from .leaves import Find, find_module, registry_of

_STATES = "torch.distributed._composable_state"


def is_fully_sharded(module: Any) -> bool:
    """Whether ``fully_shard`` was called with this very module, which gets a class of its own from it."""
    return any(kind.__name__ == "FSDPModule" for kind in type(module).__mro__)


def sharded_parameters(owner: Any, module: Any, registered: Mapping[Any, Any]) -> dict[Any, Any]:
    """The parameters that are ``registered`` in a module, with the pieces of this rank where whole tensors stand now.

    ``owner`` is the module that ``fully_shard`` was called with: the same one, or the nearest around it.
    """
    found = dict(registered)
    for shard in _shards_of(owner):
        for place, name in _places_of(shard):
            if place is module and name in found:
                found[name] = vars(shard).get("sharded_param", found[name])
    return found


def pieces_of(owner: Any) -> Iterator[Any]:
    """The pieces of all parameters that ``fully_shard`` manages for a module."""
    for shard in _shards_of(owner):
        piece = vars(shard).get("sharded_param")
        if piece is not None:
            yield piece


def find_sharded(find_root: Find, above: tuple[str, ...], path: tuple[str, ...]) -> Any:
    """The parameters of the module at ``path`` as they are between two steps; its owner is at ``above``."""
    owner = find_module(find_root, above)
    module = find_module(find_root, path)
    return sharded_parameters(owner, module, registry_of(module, "_parameters"))


def _shards_of(owner: Any) -> Iterator[Any]:
    """What FSDP2 keeps of each parameter of a module."""
    states = attribute_of(sys.modules.get(_STATES), "_module_state_mapping")
    reference = None if states is None else states.get(owner)
    state = None if reference is None else reference()
    if state is None:
        return
    attributes = vars(state)
    # One group before torch 2.11, a list of them since.
    groups = attributes.get("_fsdp_param_groups") or [attributes.get("_fsdp_param_group")]
    for group in list(groups):
        yield from list(getattr(group, "fsdp_params", ()))


def _places_of(shard: Any) -> Iterator[tuple[Any, str]]:
    """The modules in which a parameter stands, and its name in each: several of one that is tied."""
    info = vars(shard).get("_module_info")
    if info is not None:
        yield info.module, info.param_name
        yield from zip(info.shared_modules, info.shared_param_names)
