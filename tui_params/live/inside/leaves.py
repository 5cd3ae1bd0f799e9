"""Tensors inside modules, optimizers and nested containers: walked without calling a property, and found again."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch

from .anatomy import ODD, TEXT_LIMIT, attribute_of, family_of, instance_of, own

MODULE_LIMIT = 500_000
METADATA_LIMIT = 10_000
DEPTH_LIMIT = 64
MOST_NONE = 3
"""Of a list with more items that are None, as LBFGS keeps one, these are one line."""

Find = Callable[[], Any]
"""Finds a tensor as it is now, which may be another one than was listed. Raises LookupError, or anything of ODD."""

Enter = Callable[[str, Any, Find], Any]
"""Given a name, a value and how to find it again: its leaves, or None for a value that it does not know."""


class Leaf(NamedTuple):
    """A tensor under its name, and how to find it again."""

    name: str
    kind: str
    find: Find
    tensor: Any
    notes: tuple[str, ...] = ()
    ending: str = ""
    is_trained: bool | None = None
    """Whether the wrapper around it is trained; None if it is in none, or in one that is not."""

    origin: str = ""
    """What the tensor is unpacked from, if it is made anew at each look and so has no address."""


class Siblings(NamedTuple):
    """Tensors that one mapping holds: each is found under its key in what ``find`` returns.

    The name of each is ``before``, which ends with a dot unless it is empty, and its key.
    """

    before: str
    kind: str
    find: Find
    keys: tuple[Any, ...]
    tensors: tuple[Any, ...]
    notes: tuple[str, ...] = ()
    is_copy: bool = False
    """Whether they follow the weights of another module."""

    def leaves(self) -> Iterator[Leaf]:
        """Each of them as a leaf."""
        for key, tensor in zip(self.keys, self.tensors):
            yield Leaf(f"{self.before}{key}", self.kind, partial(find_child, self.find, key), tensor, self.notes)

    def parts(self, count: int) -> Iterator[Siblings]:
        """The same, at most ``count`` of them at a time."""
        for start in range(0, len(self.keys), count):
            some = slice(start, start + count)
            yield self._replace(keys=self.keys[some], tensors=self.tensors[some])


def expanded(found: Iterable[Leaf | Siblings]) -> Iterator[Leaf]:
    """Every tensor as a leaf."""
    for each in found:
        if type(each) is Siblings:
            yield from each.leaves()
        else:
            yield each  # type: ignore[misc]


OWN_ATTRIBUTES = frozenset(vars(torch.nn.Module()))
"""The attributes that every module has."""


def is_module(value: object) -> bool:
    """Whether it is a ``torch.nn.Module``."""
    return instance_of(value, torch.nn.Module)


def is_optimizer(value: object) -> bool:
    """Whether it is a ``torch.optim.Optimizer``, or has the parts of one that a probe reads."""
    if instance_of(value, torch.optim.Optimizer):
        return True
    return not isinstance(value, type) and all(
        attribute_of(value, part) is not None for part in ("param_groups", "state")
    )


def attributes_of(module: Any) -> dict[str, Any]:
    """The instance dictionary of a module, whatever its class does to attribute access.

    A traced module, or one of a class that derives from ScriptModule, is only a shell around the real one.
    """
    attributes: dict[str, Any] = object.__getattribute__(module, "__dict__")
    real = attributes.get("_actual_script_module")
    if real is not None and real is not module and instance_of(module, torch.jit.ScriptModule):
        return attributes_of(real)
    return attributes


_PLAIN = frozenset({bool, int, float, str, type(None)})


def others_in(attributes: Mapping[str, Any]) -> list[Any]:
    """The names of the attributes that not every module has and that are no plain number, text or None."""
    return [key for key in list(attributes) if key not in OWN_ATTRIBUTES and type(attributes.get(key)) not in _PLAIN]


def registry_of(module: Any, name: str) -> Any:
    """One of the dicts that every module keeps, such as ``_parameters``; empty where the module has none."""
    found = attributes_of(module).get(name)
    return {} if found is None else found


def find_module(find_root: Find, path: tuple[str, ...]) -> Any:
    """The module that is there now; the path is walked anew, as any module may have been replaced."""
    module = find_root()
    for step in path:
        module = registry_of(module, "_modules")[step]
    return module


def find_registry(find_root: Find, path: tuple[str, ...], registry: str) -> Any:
    """The tensors that are registered there now, by their keys."""
    return registry_of(find_module(find_root, path), registry)


def find_child(find: Find, key: Any) -> Any:
    """What is under a key now."""
    return find()[key]


def find_field(find: Find, field: Callable[[Any], Any]) -> Any:
    """A tensor inside a wrapper as it is now."""
    return field(find())


def gradient_of(parameter: Any) -> Any:
    """``.grad`` where it can be one; on other tensors torch warns."""
    try:
        has_one = own(parameter, "is_leaf") or own(parameter, "retains_grad")
        return own(parameter, "grad") if has_one else None
    except ODD:
        return None


def find_gradient(find: Find) -> Any:
    """The gradient as it is now. Raises LookupError if there is none any more."""
    gradient = gradient_of(find())
    if gradient is None:
        raise LookupError("the gradient was set to None")
    return gradient


def gradient_find(find: Find) -> Find:
    """What finds the gradient of a tensor as it is now, None if there is none.

    A tensor inside a wrapper has none of its own: that of the wrapper is another such wrapper, and has the same field.
    """
    if type(find) is partial and find.func is find_field:
        inner, field = find.args
        return partial(_find_field_if_any, gradient_find(inner), field)
    return partial(_find_gradient_if_any, find)


def _find_gradient_if_any(find: Find) -> Any:
    return gradient_of(find())


def _find_field_if_any(find: Find, field: Callable[[Any], Any]) -> Any:
    found = find()
    return None if found is None else field(found)


def requires_grad_of(leaf: Leaf) -> bool | None:
    """Whether it is trained, where that is a question: a buffer, an unpacked weight, a saved tensor: None."""
    if leaf.origin:
        return None
    flag = leaf.is_trained
    if flag is None:
        try:
            flag = bool(own(leaf.tensor, "requires_grad"))
        except ODD:
            flag = False
    return flag if flag or leaf.kind == "parameter" else None


def is_filled(parameter: Any) -> bool:
    """Whether it has elements; the empty pieces of FSDP and parameters not initialised yet have none."""
    try:
        return family_of(parameter) != "lazy" and prod(own(parameter, "shape")) > 0
    except ODD:
        return False


def walk_values(
    prefix: str,
    value: Any,
    find: Find,
    metadata: dict[str, str],
    enter: Enter | None = None,
    above: tuple[int, ...] = (),
) -> Iterator[Leaf]:
    """The tensors of nested mappings and sequences by dotted name; everything else goes to ``metadata`` as text.

    ``enter`` is asked first about every value that is no tensor.
    """
    if instance_of(value, torch.Tensor):
        yield Leaf(prefix, "tensor", find, value)
        return
    inside = enter(prefix, value, find) if enter is not None else None
    if inside is not None:
        yield from inside
        return
    is_mapping = instance_of(value, Mapping)
    if (is_mapping or type(value) in (list, tuple)) and not _is_flat(value):
        if id(value) in above or len(above) >= DEPTH_LIMIT:
            metadata[prefix] = "(contains itself)" if id(value) in above else "(nested too deeply to show)"
            return
        entries = list(value.items()) if is_mapping else list(enumerate(value))
        if not is_mapping:
            left = [item for item in entries if item[1] is not None]
            if len(entries) - len(left) > MOST_NONE:
                metadata[prefix] = f"{len(entries) - len(left):,} of {len(entries):,} items are None"
                entries = left
        for key, entry in entries:
            name = f"{prefix}.{key}" if prefix else str(key)
            yield from walk_values(name, entry, partial(find_child, find, key), metadata, enter, (*above, id(value)))
    elif len(metadata) < METADATA_LIMIT:
        metadata[prefix] = _text(value)


def _is_flat(value: Any) -> bool:
    """Whether it is a list or tuple of plain values only, such as Adam's betas: one line of text."""
    if instance_of(value, Mapping):
        return not value
    return all(entry is None or instance_of(entry, str, int, float, complex) for entry in value)


def _text(value: Any) -> str:
    # Never a repr or a str of a user's class, also where it derives from one of Python's: code of somebody else.
    if value is None or type(value) in (bool, torch.dtype, torch.device):
        text = str(value)
    elif instance_of(value, int):
        text = int.__repr__(value) if int.__abs__(value) < 10**TEXT_LIMIT else "a very large integer"
    elif instance_of(value, float, complex):
        text = (float if instance_of(value, float) else complex).__repr__(value)
    elif instance_of(value, str):
        text = str.__str__(value)
    elif type(value) in (list, tuple):
        shown = ", ".join(_text(entry) for entry in value[:16])
        text = f"[{shown}, … {len(value)} values]" if len(value) > 16 else f"[{shown}]"
    elif type(value) in (dict, OrderedDict) and not value:
        text = "{}"
    else:
        text = f"({type(value).__module__}.{type(value).__qualname__})"
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def entries_of(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """An attribute's value, or what a plain container of one level holds."""
    if instance_of(value, torch.Tensor) or is_module(value):
        yield key, value
    elif type(value) in (list, tuple):
        for index, entry in enumerate(itertools.islice(value, METADATA_LIMIT)):
            yield f"{key}.{index}", entry
    elif type(value) in (dict, OrderedDict):
        for name, entry in itertools.islice(list(value.items()), METADATA_LIMIT):
            yield f"{key}.{name}", entry
