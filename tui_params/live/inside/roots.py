"""The models of a process that named none: found in the variables of its threads, else among all objects.

No getter is called, and nothing is kept alive: a frame's variables, once they have been looked at, are let go again.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from .anatomy import attribute_of, family_of
from .fully_sharded import is_fully_sharded, pieces_of
from .leaves import is_module, registry_of

MAX_ROOTS = 4
_OPTIMIZED = 0x1  # inspect.CO_OPTIMIZED: the variables of a function, not those of a module or a class
_OWN_NAME = "self"
_SLICE = 2_000
_STEP_SECONDS = 3.0


class Root(NamedTuple):
    """A model, what its variable is called, and its optimizers, that of most parameters first."""

    name: str
    model: Any
    optimizers: tuple[Any, ...]


def find_roots() -> list[Root]:
    """The models of this process, the largest first: modules with parameters that are part of no other."""
    found = _Found()
    for name, value in _variables():
        found.look(name, value)
    if not found.modules:
        _look_everywhere(found)
    tops = _tops(found.modules)
    optimizers = list(found.optimizers.values())
    if tops and not optimizers:
        optimizers = _stepping()
    tops.sort(key=lambda entry: -_numel(entry[1]))
    tops = tops[:MAX_ROOTS]
    if tops and (not optimizers or any(_is_partly_trained(module, optimizers) for _, module in tops)):
        # One of several: the others may lie in a list, or one for each parameter in a dict.
        everything = _Found()
        _look_everywhere(everything)
        optimizers += [each for key, each in everything.optimizers.items() if key not in found.optimizers]
    return [Root(_name(name, module), module, _optimizers_of(module, optimizers)) for name, module in tops]


def _name(variable: str, module: Any) -> str:
    """What a model is called: its variable, or its class if that says nothing."""
    return type(module).__name__ if variable == _OWN_NAME or not variable.isidentifier() else variable


class _Found:
    """Modules with their names, and optimizers, by their ids."""

    def __init__(self) -> None:
        self.modules: dict[int, tuple[str, Any]] = {}
        self.optimizers: dict[int, Any] = {}

    def look(self, name: str, value: Any) -> None:
        kind = type(value)
        if issubclass(kind, torch.nn.Module):
            known = self.modules.get(id(value))
            # While it computes, it is met first as the ``self`` of its own forward.
            if known is None or (known[0] == _OWN_NAME and name != _OWN_NAME):
                self.modules[id(value)] = name, value
        elif issubclass(kind, torch.optim.Optimizer):
            self.optimizers.setdefault(id(value), value)


def _variables() -> Iterator[tuple[str, Any]]:
    """The variables of every frame of every thread but this one, and what the objects among them keep."""
    here = threading.get_ident()
    for thread, top in sys._current_frames().items():
        frame: Any = top
        while frame is not None and thread != here:
            kept = frame.f_locals
            for name, value in list(kept.items()):
                yield str(name), value
                yield from _attributes(value)
            # Before Python 3.13 the frame would keep these objects until it ends, with all the memory of a step.
            if frame.f_code.co_flags & _OPTIMIZED and frame.f_trace is None and type(kept) is dict:
                kept.clear()
            frame = frame.f_back


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """What an object that is neither a module nor a class keeps in its own dict: a trainer its model."""
    if isinstance(value, type) or is_module(value):
        return
    try:
        own: Any = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return
    if type(own) is dict:
        yield from [(str(name), each) for name, each in list(own.items())]


def _look_everywhere(found: _Found) -> None:
    """Among all objects that the collector knows, a few at a time, so that other threads go on."""
    everything = gc.get_objects()
    for start in range(0, len(everything), _SLICE):
        for value in everything[start : start + _SLICE]:
            found.look(type(value).__name__, value)
        time.sleep(0)


def _tops(modules: dict[int, tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Those that are part of no other and have a parameter."""
    parts: set[int] = set()
    for _, module in modules.values():
        below = _below(module)
        next(below)
        parts |= {id(part) for part in below}
    return [
        (name, module)
        for key, (name, module) in modules.items()
        if key not in parts and any(registry_of(part, "_parameters") for part in _below(module))
    ]


def _below(module: Any) -> Iterator[Any]:
    """A module, then all its parts, each once."""
    seen, stack = {id(module)}, [module]
    while stack:
        part = stack.pop()
        yield part
        for child in list(registry_of(part, "_modules").values()):
            if is_module(child) and id(child) not in seen:
                seen.add(id(child))
                stack.append(child)


def _parameters(module: Any) -> Iterator[Any]:
    """Those that have a shape; of FSDP2 the pieces too, as whole ones may stand in their places now."""
    for part in _below(module):
        found = list(registry_of(part, "_parameters").values())
        if is_fully_sharded(part):
            found += list(pieces_of(part))
        yield from [parameter for parameter in found if family_of(parameter) in ("plain", "DTensor")]


def _numel(module: Any) -> int:
    return sum({id(parameter): parameter.numel() for parameter in _parameters(module)}.values())


def _changed_by(optimizer: Any) -> set[int]:
    groups = attribute_of(optimizer, "param_groups") or ()
    return {id(parameter) for group in groups for parameter in group["params"]}


def _is_partly_trained(module: Any, optimizers: list[Any]) -> bool:
    """Whether a model has trainable parameters that optimizers change, and others that none of these does."""
    trainable = {id(parameter) for parameter in _parameters(module) if parameter.requires_grad}
    changed = {number for optimizer in optimizers for number in _changed_by(optimizer)}
    return bool(trainable & changed) and bool(trainable - changed)


def _optimizers_of(module: Any, optimizers: list[Any]) -> tuple[Any, ...]:
    """The optimizers of a model, that of most parameters first; none whose parameters the ones before it have."""
    left = {id(parameter) for parameter in _parameters(module)}
    found: list[Any] = []
    for optimizer in sorted(optimizers, key=lambda each: -len(left & _changed_by(each))):
        own = left & _changed_by(optimizer)
        if own:
            found.append(optimizer)
            left -= own
    return tuple(found)


def _stepping() -> list[Any]:
    """The optimizers that make a step in the next seconds; at once when there was one."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    found: dict[int, Any] = {}
    has_one = threading.Event()

    def see(optimizer: Any, args: Any, kwargs: Any) -> None:
        found[id(optimizer)] = optimizer
        has_one.set()

    disable: Any = torch.compiler.disable
    handle = register_optimizer_step_post_hook(disable(see))
    try:
        has_one.wait(_STEP_SECONDS)
    finally:
        handle.remove()
    return list(found.values())
