"""The probe of modules, of mappings, and of what holds both: parameters, buffers, gradients, states of optimizers."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import torch

from .absences import Ungraded, why_absent
from .adapters import Scaling, scalings_of
from .anatomy import ODD, attribute_of, instance_of, own, stored_on
from .arrays import Unread, value_leaf
from .description import Description, Enumeration, Severity
from .fully_sharded import find_sharded, is_fully_sharded, sharded_parameters
from .leaves import (
    MODULE_LIMIT,
    Find,
    Leaf,
    Siblings,
    attributes_of,
    entries_of,
    expanded,
    find_child,
    find_field,
    find_gradient,
    find_module,
    find_registry,
    gradient_of,
    is_filled,
    is_module,
    others_in,
    registry_of,
    requires_grad_of,
    walk_values,
)
from .optimizers import Held, Trained, is_optimizer_object, leaves_of, remarks_of, several
from .packed import constants_in, find_packed, is_part_of_module, packed_in
from .probe import Probe

_COPY_CLASSES = re.compile(r"AveragedModel|MovingAverage|EMA|Ema(?![a-z])")
_COPY_WORDS = frozenset({"ema", "target", "teacher", "averaged", "swa"})
"""Classes and words in names of modules that follow another: trainable by their flags, trained by nobody."""


_NONE: Mapping[Any, Any] = {}


class Root:
    """A module that was handed in, the segments before its names, and how to find it again."""

    def __init__(self, prefix: tuple[str, ...], module: Any, find: Find) -> None:
        self.prefix, self.module, self.find = prefix, module, find


class Place:
    """A module in the walk: its path below a root, and what it is inside of."""

    def __init__(self, root: Root, path: tuple[str, ...], module: Any, is_sharded: bool, is_copy: bool) -> None:
        self.root, self.path, self.module = root, path, module
        self.name = ".".join(self.full_path)
        self.others: list[Any] = []
        """The attributes of its own class that are no numbers or texts, by name."""
        self.is_sharded = is_sharded
        """Inside an FSDP1 wrapper, whose parameters are flat pieces."""
        self.owner: tuple[tuple[str, ...], Any] | None = None
        """The module that FSDP2 sharded this one with, and its path below the root."""
        self.is_copy = is_copy
        """Inside a copy that follows the weights of another module, such as an average of them."""

    @property
    def full_path(self) -> tuple[str, ...]:
        return (*self.root.prefix, *self.path)


class MappingProbe(Probe):
    """A probe of a mapping, possibly nested: its tensors, and those of the modules and optimizers in it."""

    looks_at_gradients = True
    """False where another thread trains: backward() sets gradients without the GIL, so that a look at one may crash."""

    names_owners = True
    """Whether it is remembered which parameter has which name, for the states of optimizers."""

    def __init__(self, mapping: Mapping[Any, Any]) -> None:
        super().__init__()
        self._target: Any = mapping
        self._metadata: dict[str, str] = {}
        self._modules: dict[str, str] = {}
        self._is_cut = False
        self._roots: list[Root] = []
        self._held: list[Held] = []
        self._owners: dict[int, str] = {}
        self._copies: set[str] = set()
        self._entered: dict[int, Place] = {}  # each module where it was met first, by its id
        self._adapters: list[tuple[str, Scaling]] = []

    def close(self) -> None:
        super().close()
        self._target = None
        self._roots, self._held, self._entered = [], [], {}

    def changed(self) -> str | None:
        said = super().changed()
        self._entered = {}
        return said

    def _find_target(self) -> Any:
        return self._target

    def _leaves(self) -> Iterator[Leaf]:
        return expanded(self._groups())

    def _groups(self) -> Iterator[Leaf | Siblings]:
        """Every tensor, those that are found in one place together."""
        self._modules, self._metadata, self._owners = {}, {}, {}
        self._roots, self._held, self._copies, self._is_cut, self._adapters = [], [], set(), False, []
        self._entered = {}
        if self._target is not None:
            yield from self._root_groups()
        for held in self._held:
            yield from leaves_of(held, self._owners, self._metadata)

    def _root_groups(self) -> Iterator[Leaf | Siblings]:
        yield from walk_values("", self._target, self._find_target, self._metadata, self._enter)

    def _enter(self, name: str, value: Any, find: Find) -> Iterable[Leaf] | None:
        if is_module(value):
            return expanded(self._module_groups(Root((name,), value, find)))
        if is_optimizer_object(value):
            self._held.append(Held(name, value, find))
            return ()
        leaf = value_leaf(name, value, find)
        return None if leaf is None else (leaf,)

    def _module_groups(self, root: Root) -> Iterator[Leaf | Siblings]:
        self._roots.append(root)
        for place in self._walk_modules(root):
            self._entered.setdefault(id(place.module), place)
            attributes = attributes_of(place.module)
            place.others = others_in(attributes)
            if place.others:
                self._adapters += [(place.name, scaling) for scaling in scalings_of(attributes)]
            for registry, kind in (("_parameters", "parameter"), ("_buffers", "buffer")):
                registered = attributes.get(registry) or _NONE
                if place.owner is not None and kind == "parameter":
                    registered = sharded_parameters(place.owner[1], place.module, registered)
                held = list(registered.items())
                held = [item for item in held if instance_of(item[1], torch.Tensor)]
                if held:
                    yield from self._registered(place, registry, kind, held)
            for key, packed in packed_in(place.module, place.others):
                yield self._packed_leaf(place, key, packed)
        yield from _constant_leaves(root)

    def _registered(
        self, place: Place, registry: str, kind: str, held: list[tuple[Any, Any]]
    ) -> Iterator[Leaf | Siblings]:
        before = f"{place.name}." if place.full_path else ""
        notes = ("FSDP: the flat piece that this rank holds",) if place.is_sharded else ()
        is_copy = place.is_copy and kind == "parameter"
        if self.names_owners:
            for key, tensor in held:
                self._owners.setdefault(id(tensor), f"{before}{key}")
        if is_copy:
            self._copies.update([f"{before}{key}" for key, _ in held])
        find = partial(find_registry, place.root.find, place.path, registry)
        if place.owner is not None and kind == "parameter":
            find = partial(find_sharded, place.root.find, place.owner[0], place.path)
        skipped = attributes_of(place.module).get("_non_persistent_buffers_set") if kind == "buffer" else ()
        if not skipped:
            keys, tensors = zip(*held)
            yield Siblings(before, kind, find, keys, tensors, notes, is_copy)
            return
        for key, tensor in held:
            own_notes = (*(("not saved in the state dict",) if key in skipped else ()), *notes)
            yield Leaf(f"{before}{key}", kind, partial(find_child, find, key), tensor, own_notes)

    def _packed_leaf(self, place: Place, key: str, packed: Any) -> Leaf:
        segments = place.full_path if is_part_of_module(packed) else (*place.full_path, key)
        is_scripted = key not in attributes_of(place.module)
        # A scripted module hands out another object at each look.
        find = partial(_find_packed, place.root.find, place.path, key, None if is_scripted else packed)
        origin = f"scripted {'.'.join((*place.full_path, key))}" if is_scripted else ""
        return Leaf(".".join(segments), "tensor", find, packed, origin=origin)

    def _walk_modules(self, root: Root) -> Iterator[Place]:
        """Every module under each of its paths, before its children; a module inside itself is not entered again."""
        first = Place(root, (), root.module, False, _is_copy(root.module, root.prefix[-1:]))
        stack: list[tuple[Place, frozenset[int]]] = [(first, frozenset())]
        while stack:
            place, above = stack.pop()
            if len(self._modules) >= MODULE_LIMIT:
                self._is_cut = True
                return
            self._modules[place.name] = kind = type(place.module).__name__
            if kind == "FullyShardedDataParallel":
                place.is_sharded = True
            if is_fully_sharded(place.module):
                place.owner = place.path, place.module
            yield place
            above |= {id(place.module)}
            for key, child in reversed(list(registry_of(place.module, "_modules").items())):
                if is_module(child) and id(child) not in above:
                    path = (*place.path, str(key))
                    is_copy = place.is_copy or _is_copy(child, path[-1:])
                    below = Place(root, path, child, place.is_sharded, is_copy)
                    below.owner = place.owner
                    stack.append((below, above))

    def _enumeration(self, found: list[Description], leaves: list[Leaf]) -> Enumeration:
        gradients: list[tuple[str, Description]] = []
        missing: list[str] = []
        trained: list[Trained] = []
        ungraded: list[Ungraded] = []
        seen: set[int] = set()
        for leaf in leaves:
            if leaf.kind != "parameter":
                continue
            gradient = gradient_of(leaf.tensor) if self.looks_at_gradients else None
            if gradient is not None:
                gradients += self._describe_gradient(leaf, gradient)
            is_copy = gradient is None and leaf.name in self._copies
            is_trained = requires_grad_of(leaf) is True
            if gradient is None:
                ungraded.append(Ungraded(leaf.name, leaf.tensor, is_trained, is_copy))
            if is_trained and id(leaf.tensor) not in seen and is_filled(leaf.tensor):
                trained.append(Trained(leaf.name, leaf.tensor, is_copy))
                if gradient is None and not is_copy:
                    missing.append(leaf.name)
            seen.add(id(leaf.tensor))
        remarks: list[tuple[Severity, str, str]] = []
        if missing and gradients:
            remarks.append(("info", "no-gradient", _missing_sentence(missing)))
        remarks += remarks_of(self._held, trained)
        views = {view for leaf in leaves for view in views_of(leaf.tensor)}
        remarks += self._remarks_on_modules([id(leaf.tensor) for leaf in leaves], views)
        absences = why_absent(ungraded, self._held, has_any=bool(gradients))
        adapters = self._adapters_found()
        metadata = self._all_metadata()
        return Enumeration(tuple(found), tuple(gradients), self._modules, metadata, tuple(remarks), absences, adapters)

    def _adapters_found(self) -> tuple[tuple[Any, ...], ...]:
        return tuple([(path, *scaling) for path, scaling in self._adapters])

    def _remarks_on_modules(
        self, known: Iterable[int], views: Container[tuple[int, str]]
    ) -> list[tuple[Severity, str, str]]:
        """What there is to say of the modules; ``known`` are the ids of all tensors that were listed."""
        remarks: list[tuple[Severity, str, str]] = []
        unregistered = self._unregistered(known, views)
        if unregistered:
            remarks.append(("info", "unregistered-tensor", _unregistered_sentence(unregistered)))
        if self._is_cut:
            remarks.append(("info", "many-modules", f"only the first {MODULE_LIMIT} modules are shown"))
        return remarks

    def _all_metadata(self) -> dict[str, str]:
        metadata = {} if not self._roots else {"torch": str(torch.__version__)}
        for root in self._roots:
            # A scripted module keeps the flag elsewhere.
            training = attributes_of(root.module).get("training")
            training = attribute_of(root.module, "training") if training is None else training
            metadata[".".join((*root.prefix, "training"))] = str(training)
        return {**metadata, **self._metadata}

    def _describe_gradient(self, leaf: Leaf, gradient: Any) -> Iterator[tuple[str, Description]]:
        """The gradient of a parameter; of a wrapper each piece belongs to the parameter's piece of that field."""
        find = partial(find_gradient, leaf.find)
        notes: tuple[str, ...] = ()
        try:
            is_sparse = own(gradient, "layout") == torch.sparse_coo
        except ODD:
            is_sparse = False
        if is_sparse:
            shape = tuple(own(gradient, "shape"))
            notes = (f"sparse gradient of shape {shape}: the stored values only, the other elements are zero",)
            find, gradient = partial(find_field, find, torch.Tensor._values), own(gradient, "_values")()
        for description in self._describe_parts(Leaf(leaf.name, "gradient", find, gradient, notes, ".grad")):
            yield description.name.removesuffix(".grad"), description

    def _unregistered(self, known: Iterable[int], views: Container[tuple[int, str]]) -> list[str]:
        """Paths of tensors and modules in plain attributes, where ``state_dict`` does not look."""
        entered, self._entered = self._entered, {}
        found: list[tuple[str, int]] = []
        for place in entered.values():
            module = place.module
            for key in place.others:
                value = attributes_of(module).get(key)
                if (id(module), key) in views:
                    continue
                for label, entry in entries_of(str(key), value):
                    if _is_computed(module, key):
                        break
                    is_hidden = instance_of(entry, torch.Tensor)
                    if is_hidden and stored_on(entry, "_is_flat_param"):
                        continue
                    if is_hidden or (is_module(entry) and id(entry) not in entered and label != key):
                        found.append((".".join((*place.full_path, label)), id(entry) if is_hidden else 0))
        listed = {number for _, number in found}.intersection(known) if found else ()
        return [path for path, number in found if number not in listed]


def _is_computed(module: Any, key: Any) -> bool:
    """Whether the old weight_norm, spectral_norm or pruning keeps what it computes under that name."""
    # A scripted module's registries have keys() and no iterator.
    sources = {*registry_of(module, "_parameters").keys(), *registry_of(module, "_buffers").keys()}
    return f"{key}_g" in sources or f"{key}_orig" in sources


class ModelProbe(MappingProbe):
    """A probe of one module and, if it is given, of its optimizer, or several that share its parameters out."""

    def __init__(self, model: torch.nn.Module, optimizer: Any = None) -> None:
        super().__init__({})
        self._target = model
        self._optimizers = several(optimizer)

    def close(self) -> None:
        super().close()
        self._optimizers = ()

    def _find_optimizer(self, place: int) -> Any:
        return self._optimizers[place]

    def _root_groups(self) -> Iterator[Leaf | Siblings]:
        groups = 0
        for place, optimizer in enumerate(self._optimizers):
            self._held.append(Held("optimizer", optimizer, partial(self._find_optimizer, place), groups))
            groups += len(optimizer.param_groups)
        return self._module_groups(Root((), self._target, self._find_target))


def _constant_leaves(root: Root) -> Iterator[Leaf]:
    constants, hidden = constants_in(root.module)
    reason = "torch.jit.optimize_for_inference keeps it in the layout of oneDNN (MKL-DNN), inside the compiled code"
    named: list[tuple[str, Any]] = [(str(index), tensor) for index, tensor in enumerate(constants)]
    named += [(name, Unread(reason, (), "unknown")) for name in hidden]
    for name, value in named:
        full = ".".join((*root.prefix, "constants", name))
        yield Leaf(full, "tensor", partial(_constant, value), value, origin=full if type(value) is Unread else "")


def _constant(tensor: Any) -> Any:
    """A constant of compiled code, which nothing replaces."""
    return tensor


def _find_packed(find_root: Find, path: tuple[str, ...], key: str, listed: Any) -> Any:
    packed = find_packed(find_module(find_root, path), key)
    if listed is not None and packed is not listed:
        raise LookupError("the object that holds it was replaced")
    return packed


def _is_copy(module: Any, last: tuple[str, ...]) -> bool:
    """Whether a module, by its class or by the last segment of its name, follows the weights of another."""
    kind: Any = type(module)
    return any(map(_names_a_copy, last)) or _is_class_of_copies(kind)


@lru_cache(maxsize=4096)
def _names_a_copy(segment: str) -> bool:
    return not _COPY_WORDS.isdisjoint(segment.lower().split("_"))


@lru_cache(maxsize=1024)
def _is_class_of_copies(kind: Any) -> bool:
    return any(_COPY_CLASSES.search(ancestor.__name__) for ancestor in kind.__mro__)


def views_of(tensor: Any) -> Iterator[tuple[int, str]]:
    """Modules and attributes that FSDP1 sets to views of a flat parameter: torch/distributed/fsdp/_flat_param.py."""
    if not stored_on(tensor, "_is_flat_param"):
        return
    for registry in ("_param_infos", "_shared_param_infos"):
        for info in stored_on(tensor, registry) or ():
            yield id(info.module), info.param_name


def _missing_sentence(missing: Sequence[str]) -> str:
    verb = "1 trainable parameter has" if len(missing) == 1 else f"{len(missing)} trainable parameters have"
    return f"{verb} no gradient while others have one: {_some(missing)}"


def _unregistered_sentence(found: Sequence[str]) -> str:
    verb = "1 attribute holds" if len(found) == 1 else f"{len(found)} attributes hold"
    return f"{verb} tensors or modules that are not registered, so no state dict has them: {_some(found)}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
