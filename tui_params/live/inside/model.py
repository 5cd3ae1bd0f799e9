"""The probe of a module: parameters, buffers, gradients, and the states of an optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from .anatomy import attribute_of
from .description import Description, Enumeration
from .leaves import (
    MODULE_LIMIT,
    OWN_ATTRIBUTES,
    Leaf,
    attributes_of,
    entries_of,
    find_field,
    find_gradient,
    find_group,
    find_registered,
    find_state,
    gradient_of,
    is_filled,
    is_module,
    registry_of,
    requires_grad_of,
    walk_values,
)
from .probe import Probe


class ModelProbe(Probe):
    """A probe of a module: parameters, buffers, gradients, and the states of an optimizer."""

    def __init__(self, model: torch.nn.Module, optimizer: Any = None) -> None:
        super().__init__()
        self._model: Any = model
        self._optimizer = optimizer
        self._metadata: dict[str, str] = {}
        self._modules: dict[str, str] = {}
        self._is_cut = False

    def close(self) -> None:
        super().close()
        self._model = self._optimizer = None

    def _leaves(self) -> Iterator[Leaf]:
        self._modules, self._metadata = {}, {}
        if self._model is None:
            return
        names: dict[int, str] = {}
        for path, module, inside in self._walk_modules():
            skipped = registry_of(module, "_non_persistent_buffers_set")
            for registry, kind in (("_parameters", "parameter"), ("_buffers", "buffer")):
                for key, tensor in list(registry_of(module, registry).items()):
                    if not isinstance(tensor, torch.Tensor):
                        continue
                    notes: tuple[str, ...] = (
                        ("not saved in the state dict",) if kind == "buffer" and key in skipped else ()
                    )
                    if inside:
                        notes += ("FSDP: the flat piece that this rank holds",)
                    name = ".".join((*path, str(key)))
                    names.setdefault(id(tensor), name)
                    yield Leaf(name, kind, partial(find_registered, self._model, path, registry, key), tensor, notes)
        yield from self._optimizer_leaves(names)

    def _walk_modules(self) -> Iterator[tuple[tuple[str, ...], Any, bool]]:
        """Every module under each of its paths, before its children; a module inside itself is not entered again.

        The flag says that the module is inside an FSDP1 wrapper, whose parameters are flat pieces.
        """
        stack: list[tuple[tuple[str, ...], Any, frozenset[int], bool]] = [((), self._model, frozenset(), False)]
        self._is_cut = False
        while stack:
            path, module, above, inside = stack.pop()
            if len(self._modules) >= MODULE_LIMIT:
                self._is_cut = True
                return
            self._modules[".".join(path)] = type(module).__name__
            inside = inside or type(module).__name__ == "FullyShardedDataParallel"
            yield path, module, inside
            above |= {id(module)}
            for key, child in reversed(list(registry_of(module, "_modules").items())):
                if is_module(child) and id(child) not in above:
                    stack.append(((*path, str(key)), child, above, inside))

    def _optimizer_leaves(self, names: Mapping[int, str]) -> Iterator[Leaf]:
        optimizer = self._optimizer
        if optimizer is None:
            return
        owners: dict[int, str] = dict(names)
        for index, group in enumerate(optimizer.param_groups):
            for position, parameter in enumerate(group["params"]):
                owners.setdefault(id(parameter), f"param_groups.{index}.params.{position}")
            rest = {key: value for key, value in group.items() if key not in ("params", "param_names")}
            prefix = f"optimizer.param_groups.{index}"
            yield from walk_values(prefix, rest, partial(find_group, optimizer, index), self._metadata)
        for owner, state in list(optimizer.state.items()):
            name = owners.get(id(owner), str(owner) if isinstance(owner, str) else f"unnamed.{len(owners)}")
            owners.setdefault(id(owner), name)
            yield from walk_values(f"optimizer.{name}", state, partial(find_state, optimizer, owner), self._metadata)

    def _enumeration(self, found: list[Description], leaves: list[Leaf]) -> Enumeration:
        gradients: list[tuple[str, Description]] = []
        missing: list[str] = []
        seen: set[int] = set()
        for leaf in leaves:
            if leaf.kind != "parameter":
                continue
            gradient = gradient_of(leaf.tensor)
            if gradient is not None:
                gradients += self._describe_gradient(leaf, gradient)
            elif id(leaf.tensor) not in seen and requires_grad_of(leaf) and is_filled(leaf.tensor):
                missing.append(leaf.name)
            seen.add(id(leaf.tensor))
        remarks = [("no-gradient", _missing_sentence(missing))] if missing and gradients else []
        unregistered = self._unregistered(leaves)
        if unregistered:
            remarks.append(("unregistered-tensor", _unregistered_sentence(unregistered)))
        if self._is_cut:
            remarks.append(("many-modules", f"only the first {MODULE_LIMIT} modules are shown"))
        metadata = {"training": str(attribute_of(self._model, "training")), "torch": str(torch.__version__)}
        return Enumeration(tuple(found), tuple(gradients), self._modules, metadata | self._metadata, tuple(remarks))

    def _describe_gradient(self, leaf: Leaf, gradient: Any) -> Iterator[tuple[str, Description]]:
        """The gradient of a parameter; of a wrapper each piece belongs to the parameter's piece of that field."""
        find = partial(find_gradient, leaf.find)
        notes: tuple[str, ...] = ()
        if attribute_of(gradient, "layout") == torch.sparse_coo:
            shape = tuple(gradient.shape)
            notes = (f"sparse gradient of shape {shape}: the stored values only, the other elements are zero",)
            find, gradient = partial(find_field, find, torch.Tensor._values), gradient._values()
        for description in self._describe_parts(Leaf(leaf.name, "gradient", find, gradient, notes, ".grad")):
            yield description.name.removesuffix(".grad"), description

    def _unregistered(self, leaves: list[Leaf]) -> list[str]:
        """Paths of tensors and modules in plain attributes, where ``state_dict`` does not look."""
        known = {id(leaf.tensor) for leaf in leaves}
        entered: dict[int, tuple[tuple[str, ...], Any]] = {}
        for path, module, _ in self._walk_modules():
            entered.setdefault(id(module), (path, module))
        found: list[str] = []
        for path, module in entered.values():
            # A scripted module's registries have keys() and no iterator.
            derived = {*registry_of(module, "_parameters").keys(), *registry_of(module, "_buffers").keys()}
            for key, value in list(attributes_of(module).items()):
                # The old weight_norm, spectral_norm and pruning keep the computed weight in a plain attribute.
                if key in OWN_ATTRIBUTES or {f"{key}_g", f"{key}_orig"} & derived:
                    continue
                for label, entry in entries_of(str(key), value):
                    is_hidden = isinstance(entry, torch.Tensor) and id(entry) not in known
                    if is_hidden or (is_module(entry) and id(entry) not in entered and label != key):
                        found.append(".".join((*path, label)))
        return found


def _missing_sentence(missing: Sequence[str]) -> str:
    verb = "1 trainable parameter has" if len(missing) == 1 else f"{len(missing)} trainable parameters have"
    return f"{verb} no gradient while others have one: {_some(missing)}"


def _unregistered_sentence(found: Sequence[str]) -> str:
    verb = "1 attribute holds" if len(found) == 1 else f"{len(found)} attributes hold"
    return f"{verb} tensors or modules that are not registered, so no state dict has them: {_some(found)}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
