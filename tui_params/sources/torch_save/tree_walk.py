"""From the object that a pickle builds to a listing: dotted names for tensors, short texts for everything else.

Each container is walked once, so the work is linear in the size of the file, however its values refer to each other.
"""

from __future__ import annotations

from typing import Any

from tui_params.core.findings import Finding
from tui_params.core.piece import LocalPart
from tui_params.core.tensor import TensorKind
from tui_params.core.text import article, clean
from tui_params.sources.inert_pickle.distributed import local_parts
from tui_params.sources.inert_pickle.values import (
    SCALARS,
    ArrayValue,
    Composite,
    Obj,
    OddKey,
    Parameter,
    SetValue,
    Storage,
    Stub,
    TensorValue,
    Text,
    TypedTensor,
    Unread,
    render,
)
from tui_params.sources.torch_save.arrays import add_array, is_metadata, objects_of, text_fault
from tui_params.sources.torch_save.layout import MAX_TENSORS, MalformedTensorError, TensorLister
from tui_params.sources.torch_save.leaves import LEAVES, are_leaves, is_leaf, is_rich
from tui_params.sources.torch_save.names import MAX_SEGMENT, duplicate_names, join
from tui_params.sources.torch_save.notes import Notes
from tui_params.sources.torch_save.object_parts import parts_of
from tui_params.sources.torch_save.packed import packed_fields
from tui_params.sources.torch_save.python_numbers import (
    MIN_LIST,
    MIN_TABLE,
    NumberWatch,
    add_list,
    are_numbers,
    list_shape,
)
from tui_params.sources.torch_save.quantizer import quantizer_notes
from tui_params.sources.torch_save.unread import TENSORS, data_of, unread_tensor

MAX_DEPTH = 100
MAX_STEPS = 5_000_000
MOST_NONE = 3
"""Of a list with more items that are None, as LBFGS keeps one, these are one line."""

_SEQUENCES = frozenset({list, tuple, SetValue})
_ROOTS = {Storage: "storage", ArrayValue: "array"}

# Fields of every nn.Module that say nothing about its tensors: torch/nn/modules/module.py.
_MODULE_INTERNALS = frozenset({"training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"})


class TreeWalk:
    """One walk over what a pickle built. The results are the public attributes, and the tensors of ``lister``.

    ``local_parts`` are tensors that are one rank's part of a larger one, by name, where the file says which.
    ``state_dicts`` has, for each dict of tensors and each whole module, its name prefix and the first and last
    (exclusive) index of its tensors in ``lister.tensors``. ``optimizers`` has the name prefix and the dict of each
    optimizer's state dict. ``roles`` gives the names of parameters and buffers by TorchScript class.
    """

    def __init__(
        self, lister: TensorLister, roles: dict[str, tuple[frozenset[str], frozenset[str]]] | None = None
    ) -> None:
        self.lister = lister
        notes = Notes()
        self.metadata, self.texts, self._note = notes.texts, notes.whole, notes.add
        self.modules: dict[str, str] = {}
        self.state_dicts: list[tuple[str, int, int]] = []
        self.optimizers: list[tuple[str, dict[Any, Any]]] = []
        self.collisions: list[str] = []
        self.local_parts: dict[str, LocalPart] = {}
        self.is_complete = True
        self._roles = roles or {}
        self.names: set[str] = set()
        self._seen: dict[int, str] = {}
        self._steps = 0
        self._numbers = NumberWatch()

    def walk(self, root: Any, name: str = "") -> None:
        """Visit everything that can be reached from ``root``, below ``name``."""
        if not name and (type(root) in LEAVES or type(root) in TENSORS or type(root) in _ROOTS):
            name = "value" if type(root) in LEAVES else _ROOTS.get(type(root), "tensor")
        self._visit(name, root, 0)

    def findings(self) -> list[Finding]:
        """Findings about the names that were met."""
        found = [*duplicate_names(self.collisions), *self._numbers.findings()]
        if not self.is_complete:
            evidence = f"the file nests or repeats so much that only {len(self.lister.tensors):,} tensors are listed"
            found.append(Finding("warning", "walk-limit", None, evidence))
        return found

    def _visit(
        self, name: str, value: Any, depth: int, kind: TensorKind = "tensor", notes: tuple[str, ...] = ()
    ) -> None:
        self._steps += 1
        kind_of = type(value)
        if self._steps > MAX_STEPS or len(self.lister.tensors) >= MAX_TENSORS:
            self.is_complete = False
        elif kind_of is TensorValue:
            self._add_tensor(name, value, kind, None, notes)
        elif kind_of in LEAVES:
            self._note(name, value)
            if kind_of is float:
                self._numbers.look_at(name, (value,))
        elif kind_of is ArrayValue:
            self._visit_array(name, value, depth, notes)
        elif depth >= MAX_DEPTH:
            self.is_complete = False
        elif kind_of is Parameter:
            self._visit_parameter(name, value, depth, notes)
        elif kind_of is dict:
            self._visit_dict(name, value, depth)
        elif kind_of in _SEQUENCES:
            self._visit_sequence(name, value, depth)
        elif kind_of is Obj:
            self._visit_object(name, value, depth)
        elif kind_of is Composite:
            self._visit_composite(name, value, depth, kind, notes)
        elif kind_of is TypedTensor:
            self._visit_typed(name, value, depth, kind, notes)
        elif kind_of is Storage:
            self._add_storage(name, value)
        elif kind_of is Unread:
            self.lister.add_unread(self._unique(name), value, notes)
        else:
            self._note(name, value)

    def _add_tensor(
        self, name: str, value: TensorValue, kind: TensorKind, requires_grad: Any, notes: tuple[str, ...]
    ) -> None:
        name = self._unique(name)
        parts: dict[str, Any] = {}
        if value.quantizer is not None:
            more, parts = quantizer_notes(value.quantizer)
            notes += more
        try:
            self.lister.add(name, value, kind, requires_grad, notes)
        except MalformedTensorError as error:
            self._report_malformed(name, error)
        for label, part in parts.items():
            self._visit(join(name, label), part, MAX_DEPTH - 1, "tensor", (f"belongs to {clean(name, MAX_SEGMENT)}",))

    def _add_storage(self, name: str, value: Storage) -> None:
        name = self._unique(name)
        try:
            self.lister.add_storage(name, value)
        except MalformedTensorError as error:
            self._report_malformed(name, error)

    def _visit_array(self, name: str, value: ArrayValue, depth: int, notes: tuple[str, ...]) -> None:
        self._steps += len(objects_of(value) or ()) // 8
        if is_metadata(value):
            self._note(name, value)
            if (fault := text_fault(value)) is not None:
                self.lister.report(Finding("error", "storage-bounds", None, f"{clean(name, MAX_SEGMENT)}: {fault}"))
        else:
            name = self._unique(name)
            try:
                add_array(self.lister, name, value, notes)
            except MalformedTensorError as error:
                self._report_malformed(name, error)
        items = objects_of(value)
        if items and depth < MAX_DEPTH and self._is_new(name, items):
            for index, item in enumerate(items):
                if not is_leaf(item):
                    self._visit(join(name, index), item, depth + 1)

    def _report_malformed(self, name: str, error: MalformedTensorError) -> None:
        self.lister.add_unread(name, Unread(f"it is a tensor that {error}", is_faulty=True))

    def _visit_parameter(self, name: str, value: Parameter, depth: int, notes: tuple[str, ...]) -> None:
        data = value.data
        if type(data) is TensorValue:
            self._add_tensor(name, data, "parameter", value.requires_grad, notes)
        else:
            self._visit(name, data_of(data), depth + 1, "parameter", notes)
        if value.state is not None:
            self._visit_state(name, value.state, depth)

    def _visit_typed(self, name: str, value: TypedTensor, depth: int, kind: TensorKind, notes: tuple[str, ...]) -> None:
        state = value.state
        if type(state) is dict and state.get("_is_buffer") is True:
            # torch.nn.Buffer: torch/nn/parameter.py
            if state.get("persistent") is False:
                notes += ("persistent=False",)
            self._visit(name, data_of(value.data), depth + 1, "buffer", notes)
            return
        cls = render(value.cls)
        if cls not in ("torch.Tensor", "torch._tensor.Tensor"):
            notes += (f"class {cls}",)
        self._visit(name, data_of(value.data), depth + 1, kind, notes)
        self._visit_state(name, state, depth)

    def _visit_state(self, name: str, state: Any, depth: int) -> None:
        """The attributes that were saved with a tensor, listed below its name."""
        for part in state if type(state) is tuple and len(state) == 2 else (state,):
            if type(part) is dict and part and self._is_new(name, part):
                for key, item in part.items():
                    self._visit(join(name, key), item, depth + 1)

    def _visit_composite(
        self, name: str, value: Composite, depth: int, kind: TensorKind, notes: tuple[str, ...]
    ) -> None:
        shape = f" of shape {render(list(value.shape), 1)}" if type(value.shape) is tuple else ""
        whole = f"{value.kind}{shape}" + (f", {render(value.dtype, 1)}" if value.dtype is not None else "")
        if value.is_local:
            local = (*notes, f"the local part of {article(whole)}", *value.notes)
            places = local_parts(value, name)
            for key, part in value.parts.items():
                self._visit(join(name, key) if key else name, data_of(part), depth + 1, kind, local)
                if key in places and self.lister.tensors:
                    self.local_parts[self.lister.tensors[-1].name] = places[key]
            if not value.parts:
                self._note(name, Text(f"{article(whole)}, of which nothing is in this file"))
            return
        first = len(self.lister.tensors)
        self._note(name, Text(article(whole)))
        for key, part in value.parts.items():
            note = (*notes, f"part of {clean(name, MAX_SEGMENT)}, {article(whole)}") if type(part) in TENSORS else ()
            self._visit(join(name, key), part, depth + 1, kind, note)
        if len(self.lister.tensors) == first and self.is_complete:
            unread = Unread(f"it is {article(whole)}, and the tensors that it is made of cannot be found")
            self.lister.add_unread(self._unique(name), unread, notes)

    def _visit_dict(self, name: str, value: dict[Any, Any], depth: int) -> None:
        if not value or not self._is_new(name, value):
            if not value and (name or depth):
                self._note(name, value)
            return
        are_long = len(value) >= MIN_TABLE and are_numbers(value.values())
        if are_long:
            self._numbers.look_at(name, value.values())
        if are_long and len(value) >= MIN_LIST:
            add_list(self.lister, self._unique(name or "dict"), (len(value),), "dict")
            return
        if "state" in value and "param_groups" in value:
            self.optimizers.append((name, value))
        first = len(self.lister.tensors)
        is_state_dict = False
        for index, (key, item) in enumerate(value.items()):
            if are_long and type(item) in SCALARS:
                self._note(join(name, key), item)
                continue
            inside = key.value if type(key) is OddKey and type(key.value) in _SEQUENCES else ()
            if not are_leaves(inside.items if type(inside) is SetValue else inside):
                self._visit(join(name, f"key {index}"), inside, depth + 1)
                key = index
            elif type(key) is OddKey and type(key.value) not in _SEQUENCES | {int}:
                # A live optimizer keys its state by the parameters themselves.
                key = index
            self._visit(join(name, key), item, depth + 1)
            if not is_state_dict and type(item) in TENSORS and type(key) is str:
                is_state_dict = True
        if is_state_dict:
            self.state_dicts.append((name, first, len(self.lister.tensors)))

    def _visit_sequence(self, name: str, value: Any, depth: int) -> None:
        items = value.items if type(value) is SetValue else value
        shape, rows, looked_at = list_shape(items)
        self._steps += looked_at // 8
        if len(items) <= 20 and shape is None and are_leaves(items):
            self._note_list(name, value, items, depth)
            return
        # Long lists may be referred to often: looking through one counts as walking it.
        if not self._is_new(name, items):
            return
        if shape is not None:
            add_list(self.lister, self._unique(name or "list"), shape)
            self._numbers.look_at(name, rows, 1)
            return
        self._steps += len(items) // 8
        if are_leaves(items):
            self._note_list(name, value, items, depth)
            return
        if any(type(item) is Obj for item in items):
            self._numbers.look_at(name, items)
        empty = sum(item is None for item in items)
        if empty > MOST_NONE:
            self._note(name, Text(f"{empty:,} of {len(items):,} items are None"))
        for index, item in enumerate(items):
            if item is not None or empty <= MOST_NONE:
                self._visit(join(name, index), item, depth + 1)

    def _note_list(self, name: str, value: Any, items: Any, depth: int) -> None:
        """A list of leaves is one line of the metadata."""
        self._note(name or ("" if depth else "value"), value)
        self._numbers.look_at(name, items)

    def _visit_object(self, name: str, value: Obj, depth: int) -> None:
        if not self._is_new(name, value):
            return
        state = value.state
        cls = value.cls
        if type(state) is dict:
            if type(state.get("_modules")) is dict and type(state.get("_parameters")) is dict:
                self._visit_module(name, value, state, depth)
                return
            if type(cls) is Stub and cls.module.partition(".")[0] == "__torch__":
                self._visit_script_module(name, cls, state, depth)
                return
        fields = packed_fields(value)
        if fields is not None:
            self._note(name or "object", value)
            for label, item in fields:
                self._visit(join(name, label) if label else name, item, depth + 1)
            return
        unread = unread_tensor(value)
        storage = None if unread is None else self.lister.embedded(value)
        if storage is not None:
            self._add_storage(name, storage)
            return
        first = len(self.lister.tensors)
        if unread is None or not unread.is_faulty:
            self._visit_fields(name, value, depth)
        if unread is not None and len(self.lister.tensors) == first:
            self.lister.add_unread(self._unique(name), unread)

    def _visit_fields(self, name: str, value: Obj, depth: int) -> None:
        """The arguments, the state and the items of an object that is shown as text."""
        self._note(name or "object", value)
        for container, fields in parts_of(value):
            if container is None or self._is_unshared(name, container):
                for key, item in fields:
                    self._visit(join(name, key), item, depth + 1)

    def _visit_module(self, name: str, module: Obj, state: dict[Any, Any], depth: int) -> None:
        """A whole nn.Module: names as ``state_dict()`` gives them, and in its order."""
        if not self._is_new(name, state):
            return
        self.modules[name] = clean(module.cls.name, 80) if type(module.cls) is Stub else "Module"
        first = len(self.lister.tensors)
        for key, item in state["_parameters"].items():
            if item is not None:
                self._visit(join(name, key), item, depth + 1, "parameter")
        transient = state.get("_non_persistent_buffers_set")
        names = transient.items[:1_000] if type(transient) is SetValue else ()
        buffers = state.get("_buffers")
        for key, item in buffers.items() if type(buffers) is dict else ():
            if item is not None:
                self._visit(join(name, key), item, depth + 1, "buffer", ("persistent=False",) if key in names else ())
        for key, item in state["_modules"].items():
            if item is not None:
                self._visit(join(name, key), item, depth + 1)
        if depth == 0 or first != len(self.lister.tensors):
            self.state_dicts.append((name, first, len(self.lister.tensors)))
        for key, item in state.items():
            if item is None or key in _MODULE_INTERNALS:
                continue
            if not (type(key) is str and key.startswith("_") and not is_rich(item)):
                self._visit(join(name, key), item, depth + 1)

    def _visit_script_module(self, name: str, cls: Stub, state: dict[Any, Any], depth: int) -> None:
        if not self._is_new(name, state):
            return
        self.modules[name] = clean(cls.name, 80)
        parameters, buffers = self._roles.get(f"{cls.module}.{cls.name}", (frozenset(), frozenset()))
        for key, item in state.items():
            kind: TensorKind = "parameter" if key in parameters else "buffer" if key in buffers else "tensor"
            if key == "training" or (type(key) is str and key.startswith("_") and not is_rich(item)):
                continue
            self._visit(join(name, key), item, depth + 1, kind)

    def _is_new(self, name: str, container: Any) -> bool:
        """Whether ``container`` was not walked before; a note says where, if it was."""
        before = self._seen.get(id(container))
        if before is not None:
            self._note(name, Text(f"the same object as {clean(before, MAX_SEGMENT) or 'the whole file'}"))
            return False
        self._seen[id(container)] = name
        return True

    def _is_unshared(self, name: str, container: Any) -> bool:
        """As ``_is_new``, for what may be walked twice where it is short."""
        return len(container) <= 20 or self._is_new(name, container)

    def _unique(self, name: str) -> str:
        if name in self.names:
            self.collisions.append(name)
            number = 2
            # Counting up from the number of collisions keeps a file of equal names linear.
            while f"{name}~{number}" in self.names:
                number += len(self.collisions)
            name = f"{name}~{number}"
        self.names.add(name)
        return name
