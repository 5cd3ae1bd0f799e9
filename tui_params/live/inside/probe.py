"""A probe: looks at tensors in this process and hands out plain data. Standard library and torch only.

It imports nothing else, not even this package, because it may run inside another process. Everything that
touches torch stands here, behind three questions: ``enumerate`` (descriptions, no values), ``read`` and
``read_window`` (bytes). A probe only looks: it never calls a property of a module (a parametrized weight would be
computed anew, and spectral norm would change its buffers), a hook, or anything collective, which would hang a
distributed job; it writes to no tensor and draws no random number.

It is one file, and longer than others here, so that it can be carried as one text.

Device memory is copied to the host a block at a time, on the current stream of the thread that asks.
"""

from __future__ import annotations

import ctypes
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import Any

import torch

MODULE_LIMIT = 500_000
METADATA_LIMIT = 10_000
DEPTH_LIMIT = 64
WRAPPER_LIMIT = 8
TEXT_LIMIT = 200

# What an odd class of tensors may raise where a plain one answers.
ODD = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError, OSError)
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}
_SPARSE_FIELDS = {
    torch.sparse_coo: ("_indices", "_values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
}
_TORCH_CLASSES = ("Tensor", "Parameter", "Buffer", "UninitializedParameter", "UninitializedBuffer")
_NO_VALUES = {
    "FakeTensor": "a FakeTensor has a shape and no values",
    "FunctionalTensor": "a functional wrapper exists only while torch traces a function",
    "AsyncCollectiveTensor": "a collective that fills it may still be under way, and waiting for it could hang the job",
}

Find = Callable[[], Any]


class ProbeError(Exception):
    """Why a tensor cannot be read, one sentence; ``is_changed`` if it is no longer the tensor that was listed."""

    def __init__(self, message: str, *, is_changed: bool = False) -> None:
        super().__init__(message)
        self.is_changed = is_changed


@dataclass(frozen=True, slots=True)
class Record:
    """One tensor as plain data. ``dtype`` is torch's name; ``handle`` is what the reading functions take.

    ``stride`` is None for a row-major contiguous tensor. ``identity`` is equal for tensors that are the same elements
    (device, address, type, shape, stride). Two packed 4-bit floats in a byte are counted as two elements.
    """

    handle: int
    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    numel: int
    nbytes: int
    device: str | None
    requires_grad: bool | None
    identity: str | None
    stride: tuple[int, ...] | None = None
    storage_nbytes: int | None = None
    unreadable: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What ``Probe.enumerate`` found. ``gradients`` are pairs of a parameter's name and the record of its gradient.

    ``remarks`` are pairs of a rule and a sentence. ``modules`` are class names by module path, the root as ``""``.
    """

    records: tuple[Record, ...]
    gradients: tuple[tuple[str, Record], ...]
    modules: Mapping[str, str]
    metadata: Mapping[str, str]
    remarks: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A tensor under its name, and how to find it again."""

    name: str
    kind: str
    find: Find
    tensor: Any
    notes: tuple[str, ...] = ()
    ending: str = ""


class _Undisturbed(ExitStack):
    """A block in which no autograd graph grows and no class or mode of the user intercepts a call."""

    def __init__(self, *, plain: bool) -> None:
        super().__init__()
        self.enter_context(torch.no_grad())
        self.enter_context(torch._C.DisableTorchFunction())
        if plain:
            # A FakeTensorMode of the caller would refuse real tensors.
            self.enter_context(torch._C._DisableTorchDispatch())


class Probe:
    """The tensors of one root object in this process: enumerate them, then read any by its handle."""

    def __init__(self) -> None:
        self._places: list[tuple[str, Find, tuple[Any, ...]]] = []
        self._marks: dict[str, tuple[Any, ...]] = {}
        self._names: dict[str, int] = {}
        self._is_closed = False

    def _leaves(self) -> Iterator[_Leaf]:
        raise NotImplementedError

    def enumerate(self) -> Report:
        """Describe every tensor; reads no value. Asked again, it forgets the handles of the first time.

        Raises ProbeError if the root or its optimizer cannot be walked at all.
        """
        self._places, self._names = [], {}
        try:
            with _Undisturbed(plain=False):
                leaves = list(self._leaves())
                self._marks = {leaf.name: _mark(leaf.tensor) for leaf in leaves}
                records = [record for leaf in leaves for record in self._records(leaf)]
                return self._report(records, leaves)
        except ODD as error:
            raise ProbeError(f"it could not be walked: {_first_line(error)}") from error

    def _report(self, records: list[Record], leaves: list[_Leaf]) -> Report:
        raise NotImplementedError

    def changed(self) -> str | None:
        """One sentence if tensors were added, removed, replaced or written to since ``enumerate``, else None.

        A write that torch does not count (through ``.data``, or by a fused optimizer) is not seen.
        """
        try:
            with _Undisturbed(plain=False):
                marks = {leaf.name: _mark(leaf.tensor) for leaf in self._leaves()}
        except ODD as error:
            return f"it can no longer be walked: {_first_line(error)}"
        old = self._marks
        if marks.keys() != old.keys():
            first = next(iter(marks.keys() ^ old.keys()))
            return (
                f"there are other tensors than when it was opened: {len(marks.keys() - old.keys())} are new and "
                f"{len(old.keys() - marks.keys())} are gone, {first} among them"
            )
        moved = [name for name, mark in marks.items() if mark[:-1] != old[name][:-1]]
        if moved:
            return f"{_tensors(len(moved))} replaced or moved since this was opened, first {moved[0]}"
        written = [name for name, mark in marks.items() if mark != old[name]]
        if written:
            return f"{_tensors(len(written))} written to since this was opened, first {written[0]}"
        return None

    def read(self, handle: int, start: int, stop: int) -> memoryview:
        """The bytes of elements ``start:stop``: row-major where the record has no stride, else in storage order.

        The memory may be the tensor's own; it is read-only and is kept alive by the view. Of a packed type ``start``
        and ``stop`` are even. Raises ProbeError.
        """
        name, tensor = self._resolve(handle)
        try:
            with _Undisturbed(plain=True):
                if tensor.dtype == _FLOAT4:
                    start, stop = start // 2, (stop + 1) // 2
                plain = _plain(tensor)
                if not plain.is_contiguous():
                    strides = plain.stride()
                    plain = plain.permute(sorted(range(plain.ndim), key=lambda axis: -strides[axis]))
                if plain.is_contiguous():
                    return _memory(plain.reshape(-1)[start:stop])
                boxes = [_memory(box) for box in _boxes(plain, start, stop)]
                return boxes[0] if len(boxes) == 1 else memoryview(b"".join(boxes))
        except ODD as error:
            raise ProbeError(f"{name} could not be read: {_first_line(error)}") from error

    def read_window(self, handle: int, axes: Sequence[tuple[int, int, int]]) -> bytes:
        """The bytes at ``(start, step, length)`` of every axis (step above 0), row-major, always a copy.

        Packed 4-bit values come one a byte, in its low bits. Raises ProbeError.
        """
        name, tensor = self._resolve(handle)
        try:
            with _Undisturbed(plain=True):
                plain = _plain(tensor)
                slices = [slice(start, start + step * (length - 1) + 1 if length else start, step)
                          for start, step, length in axes]  # fmt: skip
                if tensor.dtype != _FLOAT4:
                    return bytes(_memory(plain[tuple(slices)]))
                start, step, length = axes[-1]
                wanted = start + step * torch.arange(length, device=plain.device)
                pairs = plain[tuple(slices[:-1])].index_select(-1, wanted // 2)
                return bytes(_memory(pairs >> (wanted % 2 * 4).to(torch.uint8) & 15))
        except ODD as error:
            raise ProbeError(f"{name} could not be read: {_first_line(error)}") from error

    def close(self) -> None:
        """Let go of the objects that were looked at."""
        self._places, self._marks, self._is_closed = [], {}, True

    def _resolve(self, handle: int) -> tuple[str, Any]:
        """The tensor of a handle as it is now, if it still is the one that was listed."""
        if self._is_closed:
            raise ProbeError("this source was closed")
        name, find, layout = self._places[handle]
        try:
            with _Undisturbed(plain=False):
                tensor = find()
                reason = _obstacle(tensor)
                is_same = _layout(tensor) == layout
        except ODD as error:
            raise ProbeError(f"{name} is no longer there: {_first_line(error)}", is_changed=True) from error
        if not is_same:
            raise ProbeError(f"{name} was replaced, resized or moved since it was listed", is_changed=True)
        if reason:
            raise ProbeError(f"{name} cannot be read: {reason}")
        if tensor.is_cuda and torch.cuda.is_current_stream_capturing():
            raise ProbeError(f"{name} cannot be read while a CUDA graph is being captured")
        return name, tensor

    def _records(self, leaf: _Leaf, depth: int = 0) -> Iterator[Record]:
        """The record of a leaf, or of each of its pieces where it is a wrapper around several tensors."""
        try:
            fields, notes = _fields(leaf.tensor)
        except ODD as error:
            yield self._unreadable(leaf, f"its class does not say what it holds: {_first_line(error)}")
            return
        if depth < WRAPPER_LIMIT and fields:
            for suffix, field in fields:
                find = partial(_field, leaf.find, field)
                try:
                    tensor = field(leaf.tensor)
                except ODD as error:
                    yield self._unreadable(leaf, f"its {suffix} cannot be reached: {_first_line(error)}")
                    continue
                name = f"{leaf.name}.{suffix}" if suffix else leaf.name
                yield from self._records(
                    _Leaf(name, leaf.kind, find, tensor, leaf.notes + notes, leaf.ending), depth + 1
                )
            return
        try:
            yield self._record(leaf, notes)
        except ODD as error:
            yield self._unreadable(leaf, f"its class does not say what it holds: {_first_line(error)}")

    def _record(self, leaf: _Leaf, notes: tuple[str, ...]) -> Record:
        tensor = leaf.tensor
        obstacle = _obstacle(tensor)
        shape: tuple[int, ...] = ()
        if obstacle == _LAZY:
            stride, numel = None, 0
        else:
            shape, numel = tuple(int(size) for size in tensor.shape), prod(int(size) for size in tensor.shape)
            stride = None if tensor.layout != torch.strided or tensor.is_contiguous() else tuple(tensor.stride())
        nbytes = numel * tensor.element_size()
        dtype = str(tensor.dtype).removeprefix("torch.")
        notes = leaf.notes + notes + _notes(tensor)
        if tensor.dtype == _FLOAT4 and shape:
            dtype, shape, numel = "float4_e2m1fn", (*shape[:-1], 2 * shape[-1]), 2 * numel
            if stride is not None:
                notes += ("the stride counts bytes of two elements",)
        storage = None if obstacle or numel == 0 else _storage_nbytes(tensor)
        if storage is not None and storage < nbytes and not tensor.is_quantized:
            notes += (f"a view that repeats its elements: {storage} bytes in memory",)
        layout = () if obstacle else _layout(tensor)
        is_addressed = numel > 0 and bool(layout) and layout[-1] != 0
        requires_grad = _requires_grad(leaf)
        return Record(
            handle=self._place(leaf, layout),
            name=self._unique(leaf.name + leaf.ending),
            kind=leaf.kind,
            shape=shape,
            dtype=dtype,
            numel=numel,
            nbytes=nbytes,
            device=str(tensor.device),
            requires_grad=requires_grad,
            identity=repr(layout) if is_addressed else f"object {id(tensor)}",
            stride=stride,
            storage_nbytes=storage if storage is not None and storage > nbytes else None,
            unreadable=obstacle,
            notes=notes,
        )

    def _unreadable(self, leaf: _Leaf, reason: str) -> Record:
        dtype = _attribute(leaf.tensor, "dtype")
        return Record(
            handle=self._place(leaf, ()),
            name=self._unique(leaf.name + leaf.ending),
            kind=leaf.kind,
            shape=(),
            dtype=str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else "unknown",
            numel=0,
            nbytes=0,
            device=None,
            requires_grad=None,
            identity=f"object {id(leaf.tensor)}",
            unreadable=reason,
            notes=leaf.notes,
        )

    def _place(self, leaf: _Leaf, layout: tuple[Any, ...]) -> int:
        self._places.append((leaf.name + leaf.ending, leaf.find, layout))
        return len(self._places) - 1

    def _unique(self, name: str) -> str:
        """The name itself, or ``name#2`` where a flattened structure spells two places alike."""
        seen = self._names[name] = self._names.get(name, 0) + 1
        return name if seen == 1 else f"{name}#{seen}"


class MappingProbe(Probe):
    """A probe of a dict of tensors, possibly nested, such as a state dict."""

    def __init__(self, mapping: Mapping[Any, Any]) -> None:
        super().__init__()
        self._mapping = mapping
        self._metadata: dict[str, str] = {}

    def _leaves(self) -> Iterator[_Leaf]:
        self._metadata = {}
        yield from _walk_values("", self._mapping, lambda: self._mapping, self._metadata)

    def _report(self, records: list[Record], leaves: list[_Leaf]) -> Report:
        return Report(tuple(records), (), {}, self._metadata, ())

    def close(self) -> None:
        super().close()
        self._mapping = {}


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

    def _leaves(self) -> Iterator[_Leaf]:
        self._modules, self._metadata = {}, {}
        if self._model is None:
            return
        names: dict[int, str] = {}
        for path, module, inside in self._walk_modules():
            skipped = _registry(module, "_non_persistent_buffers_set")
            for registry, kind in (("_parameters", "parameter"), ("_buffers", "buffer")):
                for key, tensor in list(_registry(module, registry).items()):
                    if not isinstance(tensor, torch.Tensor):
                        continue
                    notes: tuple[str, ...] = (
                        ("not saved in the state dict",) if kind == "buffer" and key in skipped else ()
                    )
                    if inside:
                        notes += ("FSDP: the flat piece that this rank holds",)
                    name = ".".join((*path, str(key)))
                    names.setdefault(id(tensor), name)
                    yield _Leaf(name, kind, partial(_registered, self._model, path, registry, key), tensor, notes)
        yield from self._optimizer_leaves(names)

    def _walk_modules(self) -> Iterator[tuple[tuple[str, ...], Any, bool]]:
        """Every module under each of its paths, before its children; a module inside itself is not entered again.

        The flag says that an FSDP1 wrapper stands above, whose parameters are flat pieces.
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
            for key, child in reversed(list(_registry(module, "_modules").items())):
                if is_module(child) and id(child) not in above:
                    stack.append(((*path, str(key)), child, above, inside))

    def _optimizer_leaves(self, names: Mapping[int, str]) -> Iterator[_Leaf]:
        optimizer = self._optimizer
        if optimizer is None:
            return
        owners: dict[int, str] = dict(names)
        for index, group in enumerate(optimizer.param_groups):
            for position, parameter in enumerate(group["params"]):
                owners.setdefault(id(parameter), f"param_groups.{index}.params.{position}")
            rest = {key: value for key, value in group.items() if key not in ("params", "param_names")}
            prefix = f"optimizer.param_groups.{index}"
            yield from _walk_values(prefix, rest, partial(_group, optimizer, index), self._metadata)
        for owner, state in list(optimizer.state.items()):
            name = owners.get(id(owner), str(owner) if isinstance(owner, str) else f"unnamed.{len(owners)}")
            owners.setdefault(id(owner), name)
            yield from _walk_values(f"optimizer.{name}", state, partial(_state, optimizer, owner), self._metadata)

    def _report(self, records: list[Record], leaves: list[_Leaf]) -> Report:
        gradients: list[tuple[str, Record]] = []
        missing: list[str] = []
        seen: set[int] = set()
        for leaf in leaves:
            if leaf.kind != "parameter":
                continue
            gradient = _gradient(leaf.tensor)
            if gradient is not None:
                gradients += self._gradient_records(leaf, gradient)
            elif id(leaf.tensor) not in seen and _requires_grad(leaf) and _is_filled(leaf.tensor):
                missing.append(leaf.name)
            seen.add(id(leaf.tensor))
        remarks = [("no-gradient", _missing_sentence(missing))] if missing and gradients else []
        unregistered = self._unregistered(leaves)
        if unregistered:
            remarks.append(("unregistered-tensor", _unregistered_sentence(unregistered)))
        if self._is_cut:
            remarks.append(("many-modules", f"only the first {MODULE_LIMIT} modules are shown"))
        metadata = {"training": str(_attribute(self._model, "training")), "torch": str(torch.__version__)}
        return Report(tuple(records), tuple(gradients), self._modules, metadata | self._metadata, tuple(remarks))

    def _gradient_records(self, leaf: _Leaf, gradient: Any) -> Iterator[tuple[str, Record]]:
        """The gradient of a parameter; of a wrapper each piece belongs to the parameter's piece of that field."""
        find = partial(_gradient_of, leaf.find)
        notes: tuple[str, ...] = ()
        if _attribute(gradient, "layout") == torch.sparse_coo:
            shape = tuple(gradient.shape)
            notes = (f"sparse gradient of shape {shape}: the stored values only, the other elements are zero",)
            find, gradient = partial(_field, find, torch.Tensor._values), gradient._values()
        for record in self._records(_Leaf(leaf.name, "gradient", find, gradient, notes, ".grad")):
            yield record.name.removesuffix(".grad"), record

    def _unregistered(self, leaves: list[_Leaf]) -> list[str]:
        """Paths of tensors and modules that stand in plain attributes, where ``state_dict`` does not look."""
        known = {id(leaf.tensor) for leaf in leaves}
        entered: dict[int, tuple[tuple[str, ...], Any]] = {}
        for path, module, _ in self._walk_modules():
            entered.setdefault(id(module), (path, module))
        found: list[str] = []
        for path, module in entered.values():
            # A scripted module's registries have keys() and no iterator.
            derived = {*_registry(module, "_parameters").keys(), *_registry(module, "_buffers").keys()}
            for key, value in list(_vars(module).items()):
                # The old weight_norm, spectral_norm and pruning keep the computed weight in a plain attribute.
                if key in _OWN_ATTRIBUTES or {f"{key}_g", f"{key}_orig"} & derived:
                    continue
                for label, entry in _entries(str(key), value):
                    is_hidden = isinstance(entry, torch.Tensor) and id(entry) not in known
                    if is_hidden or (is_module(entry) and id(entry) not in entered and label != key):
                        found.append(".".join((*path, label)))
        return found


_FLOAT4 = getattr(torch, "float4_e2m1fn_x2", None)
_LAZY = "not initialised yet: the first forward pass gives it a shape"
_OWN_ATTRIBUTES = frozenset(vars(torch.nn.Module()))


def is_module(value: object) -> bool:
    """Whether it is a ``torch.nn.Module``; asked of its class, as a proxy may lie about ``__class__``."""
    return issubclass(type(value), torch.nn.Module)


def is_optimizer(value: object) -> bool:
    """Whether it is a ``torch.optim.Optimizer``, or has the parts of one that a probe reads."""
    if isinstance(value, torch.optim.Optimizer):
        return True
    return not isinstance(value, type) and all(
        _attribute(value, part) is not None for part in ("param_groups", "state")
    )


def _vars(module: Any) -> dict[str, Any]:
    """The instance dictionary of a module, whatever its class does to attribute access."""
    attributes: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return attributes


def _registry(module: Any, name: str) -> Any:
    found = _vars(module).get(name)
    return {} if found is None else found


def _registered(model: Any, path: tuple[str, ...], registry: str, key: str) -> Any:
    """The tensor that is registered there now; the path is walked anew, as any module may have been replaced."""
    for step in path:
        model = _registry(model, "_modules")[step]
    return _registry(model, registry)[key]


def _group(optimizer: Any, index: int) -> Any:
    return optimizer.param_groups[index]


def _state(optimizer: Any, owner: Any) -> Any:
    # ``state`` is a defaultdict: a subscript would add an entry.
    return optimizer.state.get(owner, {})


def _child(find: Find, key: Any) -> Any:
    return find()[key]


def _field(find: Find, field: Callable[[Any], Any]) -> Any:
    return field(find())


def _gradient(parameter: Any) -> Any:
    """``.grad`` where it can be one; on other tensors torch warns."""
    try:
        return parameter.grad if parameter.is_leaf or parameter.retains_grad else None
    except ODD:
        return None


def _gradient_of(find: Find) -> Any:
    gradient = _gradient(find())
    if gradient is None:
        raise LookupError("the gradient was set to None")
    return gradient


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except ODD:
        return None


def _requires_grad(leaf: _Leaf) -> bool | None:
    """Whether it is trained, where that is a question: a buffer or a saved tensor that is not, says None."""
    flag = bool(_attribute(leaf.tensor, "requires_grad"))
    return flag if flag or leaf.kind == "parameter" else None


def _is_filled(parameter: Any) -> bool:
    """Whether it has elements; the empty pieces of FSDP and parameters not initialised yet have none."""
    try:
        return _family(parameter) != "lazy" and prod(parameter.shape) > 0
    except ODD:
        return False


def _walk_values(
    prefix: str, value: Any, find: Find, metadata: dict[str, str], above: tuple[int, ...] = ()
) -> Iterator[_Leaf]:
    """The tensors of nested mappings and sequences by dotted name; everything else goes to ``metadata`` as text."""
    if isinstance(value, torch.Tensor):
        yield _Leaf(prefix, "tensor", find, value)
        return
    is_mapping = isinstance(value, Mapping)
    if (is_mapping or type(value) in (list, tuple)) and not _is_flat(value):
        if id(value) in above or len(above) >= DEPTH_LIMIT:
            metadata[prefix] = "(contains itself)" if id(value) in above else "(nested too deeply to show)"
            return
        for key, entry in list(value.items()) if is_mapping else list(enumerate(value)):
            name = f"{prefix}.{key}" if prefix else str(key)
            yield from _walk_values(name, entry, partial(_child, find, key), metadata, (*above, id(value)))
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


def _entries(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """An attribute's value, or what a plain container of one level holds."""
    if isinstance(value, torch.Tensor) or is_module(value):
        yield key, value
    elif type(value) in (list, tuple):
        for index, entry in enumerate(itertools.islice(value, METADATA_LIMIT)):
            yield f"{key}.{index}", entry
    elif type(value) in (dict, OrderedDict):
        for name, entry in itertools.islice(list(value.items()), METADATA_LIMIT):
            yield f"{key}.{name}", entry


def _family(tensor: Any) -> str:
    kind: Any = type(tensor)
    return _family_of(kind)


@lru_cache(maxsize=256)
def _family_of(kind: Any) -> str:
    """What a class of tensors means here: ``plain``, ``lazy``, ``wrapper``, ``DTensor`` or a name of _NO_VALUES."""
    names = [ancestor.__name__ for ancestor in kind.__mro__]
    for name in (*_NO_VALUES, "DTensor"):
        if name in names:
            return name
    if issubclass(kind, torch.nn.parameter.UninitializedTensorMixin):
        return "lazy"
    # A class that answers torch's operators itself need not have memory of its own.
    dispatch = getattr(kind, "__torch_dispatch__", None)
    return "plain" if dispatch is torch.Tensor.__torch_dispatch__ else "wrapper"


def _fields(tensor: Any) -> tuple[tuple[tuple[str, Callable[[Any], Any]], ...], tuple[str, ...]]:
    """The plain tensors inside a wrapper: pairs of a name and a getter, and notes; nothing for a plain tensor."""
    family = _family(tensor)
    if family in _NO_VALUES or family == "lazy" or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return (), ()
    if family == "DTensor":
        # full_tensor() and redistribute() are collective; the local piece is a plain attribute.
        note = f"DTensor: this rank's piece of {tuple(tensor.shape)}, placements {tensor.placements}"
        return (("", partial(_get, "_local_tensor")),), (
            note,
            f"device mesh of shape {tuple(tensor.device_mesh.shape)}",
        )
    if family == "wrapper":
        if not hasattr(tensor, "__tensor_flatten__"):
            return (), ()
        names = list(tensor.__tensor_flatten__()[0])
        note = f"a field of a {type(tensor).__name__} of shape {tuple(tensor.shape)}"
        return tuple((name, partial(_get, name)) for name in names), (note,)
    if tensor.is_nested:
        return (("values", torch.Tensor.values),), (
            f"the values of {tensor.size(0)} nested tensors, one after another",
        )
    if tensor.layout in _SPARSE_FIELDS:
        layout = str(tensor.layout).removeprefix("torch.")
        note = f"a field of a {layout} tensor of shape {tuple(tensor.shape)}"
        getters = [(name.lstrip("_"), getattr(torch.Tensor, name)) for name in _SPARSE_FIELDS[tensor.layout]]
        return tuple(getters), (note,)
    return (), ()


def _get(name: str, tensor: Any) -> Any:
    return getattr(tensor, name)


def _obstacle(tensor: Any) -> str | None:
    """Why there are no bytes to read behind a tensor, or None."""
    family = _family(tensor)
    if family == "lazy":
        return _LAZY
    if family in _NO_VALUES:
        return _NO_VALUES[family]
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor) or torch._is_functional_tensor(tensor):
        return "it is a value inside a function transform, which exists only while that runs"
    if family != "plain":
        return f"the class {type(tensor).__name__} does not say which tensors it holds"
    if tensor.layout != torch.strided:
        return f"its layout {str(tensor.layout).removeprefix('torch.')} is opaque"
    if tensor.device.type == "meta":
        return "it is on the meta device: it has a shape and no values"
    if tensor.is_quantized and tensor.qscheme() not in _QUANTISED:
        return f"its quantisation {str(tensor.qscheme()).removeprefix('torch.')} is not read here"
    storage = _storage_nbytes(tensor)
    if storage is not None and tensor.numel() > 0:
        reach = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
        needed = (tensor.storage_offset() + reach + 1) * tensor.element_size()
        if storage < needed and tensor.is_quantized:
            return "its elements are packed in a way that is not read here"
        if storage < needed:
            # FSDP1 frees the gathered parameters between layers this way; touching them would crash the process.
            return f"its storage has been freed: it holds {storage} bytes of the {needed} needed"
    return None


_QUANTISED = {
    torch.per_tensor_affine,
    torch.per_channel_affine,
    torch.per_tensor_symmetric,
    torch.per_channel_symmetric,
}


def _storage_nbytes(tensor: Any) -> int | None:
    """Bytes of the whole storage, or None on devices that do not tell."""
    try:
        return int(tensor.untyped_storage().nbytes())
    except NotImplementedError:
        return None


def _layout(tensor: Any) -> tuple[Any, ...]:
    """Where and how a plain tensor lies; equal for the same elements."""
    if _family(tensor) != "plain":
        return ("object", id(tensor))
    try:
        address = tensor.data_ptr()
    except NotImplementedError:
        address = 0
    stride = tuple(tensor.stride()) if tensor.layout == torch.strided else ()
    flags = (tensor.is_conj(), tensor.is_neg())
    return (str(tensor.device), str(tensor.dtype), tuple(tensor.shape), stride, flags, address)


def _mark(tensor: Any, depth: int = 0) -> tuple[Any, ...]:
    """What changes when a tensor, or a piece of a wrapper, is replaced, moved or written to; the version is last."""
    try:
        version = -1 if tensor.is_inference() else int(tensor._version)
        fields = _fields(tensor)[0] if depth < WRAPPER_LIMIT else ()
        if not fields:
            return (*_layout(tensor), version)
        inner = [_mark(field(tensor), depth + 1) for _, field in fields]
        return (tuple(mark[:-1] for mark in inner), version + sum(mark[-1] for mark in inner))
    except ODD:
        return (id(tensor), -1)


def _notes(tensor: Any) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if type(tensor).__name__ not in _TORCH_CLASSES:
        notes += (f"class {type(tensor).__module__}.{type(tensor).__qualname__}",)
    names = _attribute(tensor, "_fqns")
    if _attribute(tensor, "_is_flat_param") and isinstance(names, (list, tuple)):
        notes += (f"FSDP: a flat parameter made of {len(names)} parameters, first {', '.join(map(str, names[:3]))}",)
    if not tensor.is_quantized:
        return notes
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return (*notes, f"quantised: scale {tensor.q_scale():.6g}, zero point {tensor.q_zero_point()}")
    axis, count = tensor.q_per_channel_axis(), tensor.q_per_channel_scales().numel()
    return (*notes, f"quantised: {count} scales and zero points along axis {axis}")


def _plain(tensor: Any) -> Any:
    """The same elements as a plain tensor that no operator refuses: integers of the same width, sharing memory.

    A tensor that is conjugated or negated lazily stays what it is: its bytes in memory are not its values.
    """
    if tensor.is_quantized:
        integer = torch.empty(0, dtype=_INTEGERS[tensor.element_size()], device=tensor.device)
        return integer.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
    plain = tensor.detach()
    if plain.is_conj() or plain.is_neg():
        return plain
    return plain.view(_INTEGERS[plain.element_size()])


def _boxes(tensor: Any, start: int, stop: int) -> list[Any]:
    """The row-major elements ``start:stop`` as at most ``2 ndim - 1`` rectangular views."""
    if start >= stop:
        return []
    if tensor.ndim <= 1:
        return [tensor.reshape(-1)[start:stop]]
    inner = prod(tensor.shape[1:])
    first, head = divmod(start, inner)
    last, tail = divmod(stop, inner)
    if first == last:
        return _boxes(tensor[first], head, tail)
    boxes = []
    if head:
        boxes += _boxes(tensor[first], head, inner)
        first += 1
    if first < last:
        boxes.append(tensor[first:last])
    if tail:
        boxes += _boxes(tensor[last], 0, tail)
    return boxes


def _memory(tensor: Any) -> memoryview:
    """The row-major bytes of a plain tensor: its own memory where that is possible, else a copy on the host."""
    tensor = tensor.resolve_conj().resolve_neg().contiguous().to("cpu")
    nbytes = tensor.numel() * tensor.element_size()
    if nbytes == 0:
        return memoryview(b"")
    memory: Any = (ctypes.c_ubyte * nbytes).from_address(tensor.data_ptr())
    memory.owner = tensor
    return memoryview(memory).cast("B").toreadonly()


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:TEXT_LIMIT]}" if lines else type(error).__name__


def _tensors(count: int) -> str:
    return "1 tensor was" if count == 1 else f"{count} tensors were"


def _missing_sentence(missing: Sequence[str]) -> str:
    verb = "1 trainable parameter has" if len(missing) == 1 else f"{len(missing)} trainable parameters have"
    return f"{verb} no gradient while others have one: {_some(missing)}"


def _unregistered_sentence(found: Sequence[str]) -> str:
    verb = "1 attribute holds" if len(found) == 1 else f"{len(found)} attributes hold"
    return f"{verb} tensors or modules that are not registered, so no state dict has them: {_some(found)}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
