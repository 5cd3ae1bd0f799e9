"""Tensors inside modules, optimizers and nested containers: walked without calling a property, and found again."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch

from .anatomy import ODD, TEXT_LIMIT, attribute_of, family_of

MODULE_LIMIT = 500_000
METADATA_LIMIT = 10_000
DEPTH_LIMIT = 64

Find = Callable[[], Any]
"""Finds a tensor as it is now, which may be another one than was listed. Raises LookupError, or anything of ODD."""


class Leaf(NamedTuple):
    """A tensor under its name, and how to find it again."""

    name: str
    kind: str
    find: Find
    tensor: Any
    notes: tuple[str, ...] = ()
    ending: str = ""


OWN_ATTRIBUTES = frozenset(vars(torch.nn.Module()))
"""The attributes that every module has."""


def is_module(value: object) -> bool:
    """Whether it is a ``torch.nn.Module``; asked of its class, as a proxy may lie about ``__class__``."""
    return issubclass(type(value), torch.nn.Module)


def is_optimizer(value: object) -> bool:
    """Whether it is a ``torch.optim.Optimizer``, or has the parts of one that a probe reads."""
    if isinstance(value, torch.optim.Optimizer):
        return True
    return not isinstance(value, type) and all(
        attribute_of(value, part) is not None for part in ("param_groups", "state")
    )


def attributes_of(module: Any) -> dict[str, Any]:
    """The instance dictionary of a module, whatever its class does to attribute access."""
    attributes: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return attributes


def registry_of(module: Any, name: str) -> Any:
    """One of the dicts that every module keeps, such as ``_parameters``; empty where the module has none."""
    found = attributes_of(module).get(name)
    return {} if found is None else found


def find_registered(model: Any, path: tuple[str, ...], registry: str, key: str) -> Any:
    """The tensor that is registered there now; the path is walked anew, as any module may have been replaced."""
    for step in path:
        model = registry_of(model, "_modules")[step]
    return registry_of(model, registry)[key]


def find_group(optimizer: Any, index: int) -> Any:
    """A parameter group as it is now."""
    return optimizer.param_groups[index]


def find_state(optimizer: Any, owner: Any) -> Any:
    """The state of one parameter as it is now."""
    # ``state`` is a defaultdict: a subscript would add an entry.
    return optimizer.state.get(owner, {})


def _find_child(find: Find, key: Any) -> Any:
    return find()[key]


def find_field(find: Find, field: Callable[[Any], Any]) -> Any:
    """A tensor inside a wrapper as it is now."""
    return field(find())


def gradient_of(parameter: Any) -> Any:
    """``.grad`` where it can be one; on other tensors torch warns."""
    try:
        return parameter.grad if parameter.is_leaf or parameter.retains_grad else None
    except ODD:
        return None


def find_gradient(find: Find) -> Any:
    """The gradient as it is now. Raises LookupError if there is none any more."""
    gradient = gradient_of(find())
    if gradient is None:
        raise LookupError("the gradient was set to None")
    return gradient


def requires_grad_of(leaf: Leaf) -> bool | None:
    """Whether it is trained, where that is a question: a buffer or a saved tensor that is not, says None."""
    flag = bool(attribute_of(leaf.tensor, "requires_grad"))
    return flag if flag or leaf.kind == "parameter" else None


def is_filled(parameter: Any) -> bool:
    """Whether it has elements; the empty pieces of FSDP and parameters not initialised yet have none."""
    try:
        return family_of(parameter) != "lazy" and prod(parameter.shape) > 0
    except ODD:
        return False


def walk_values(
    prefix: str, value: Any, find: Find, metadata: dict[str, str], above: tuple[int, ...] = ()
) -> Iterator[Leaf]:
    """The tensors of nested mappings and sequences by dotted name; everything else goes to ``metadata`` as text."""
    if isinstance(value, torch.Tensor):
        yield Leaf(prefix, "tensor", find, value)
        return
    is_mapping = isinstance(value, Mapping)
    if (is_mapping or type(value) in (list, tuple)) and not _is_flat(value):
        if id(value) in above or len(above) >= DEPTH_LIMIT:
            metadata[prefix] = "(contains itself)" if id(value) in above else "(nested too deeply to show)"
            return
        for key, entry in list(value.items()) if is_mapping else list(enumerate(value)):
            name = f"{prefix}.{key}" if prefix else str(key)
            yield from walk_values(name, entry, partial(_find_child, find, key), metadata, (*above, id(value)))
    elif len(metadata) < METADATA_LIMIT:
        metadata[prefix] = _text(value)


def _is_flat(value: Any) -> bool:
    """Whether it is a list or tuple of plain values only, such as Adam's betas: one line of text."""
    if isinstance(value, Mapping):
        return not value
    return all(entry is None or isinstance(entry, (str, int, float, complex)) for entry in value)


def _text(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, float, complex, torch.dtype, torch.device)):
        text = str(value) if not isinstance(value, int) or abs(value) < 10**TEXT_LIMIT else "a very large integer"
    elif isinstance(value, str):
        text = value
    elif isinstance(value, (list, tuple)):
        shown = ", ".join(_text(entry) for entry in value[:16])
        text = f"[{shown}, … {len(value)} values]" if len(value) > 16 else f"[{shown}]"
    elif isinstance(value, Mapping) and not value:
        text = "{}"
    else:
        # Never its repr: that is code of somebody else.
        text = f"({type(value).__module__}.{type(value).__qualname__})"
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def entries_of(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """An attribute's value, or what a plain container of one level holds."""
    if isinstance(value, torch.Tensor) or is_module(value):
        yield key, value
    elif type(value) in (list, tuple):
        for index, entry in enumerate(itertools.islice(value, METADATA_LIMIT)):
            yield f"{key}.{index}", entry
    elif type(value) in (dict, OrderedDict):
        for name, entry in itertools.islice(list(value.items()), METADATA_LIMIT):
            yield f"{key}.{name}", entry
