"""What a tensor is and where it lies: its family, the tensors inside a wrapper, what keeps it from being read."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from math import prod
from typing import Any, NamedTuple

import torch

WRAPPER_LIMIT = 8
TEXT_LIMIT = 200

# What an odd class of tensors may raise where a plain one answers.
ODD = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError, OSError)
_SPARSE_FIELDS = {
    torch.sparse_coo: ("_indices", "_values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
}
_JAGGED_FIELDS = ("values", "offsets", "lengths")
_TORCH_CLASSES = ("Tensor", "Parameter", "Buffer", "UninitializedParameter", "UninitializedBuffer")
_NO_VALUES = {
    "FakeTensor": "a FakeTensor has a shape and no values",
    "FunctionalTensor": "a functional wrapper exists only while torch traces a function",
    "AsyncCollectiveTensor": "a collective that fills it may still be under way, and waiting for it could hang the job",
}
FLOAT4 = getattr(torch, "float4_e2m1fn_x2", None)
LAZY = "not initialised yet: the first forward pass gives it a shape"


def attribute_of(value: Any, name: str) -> Any:
    """The attribute, or None where there is none or its getter fails. Of a tensor ask ``own`` instead."""
    try:
        return getattr(value, name, None)
    except ODD:
        return None


def own(tensor: Any, name: str) -> Any:
    """An attribute or a method of ``torch.Tensor`` itself, bound to a tensor, whatever its class makes of that name.

    A subclass may answer in its own way, by a property, ``__getattribute__`` or ``__torch_function__``: that is code of
    somebody else. The last is kept out by ``memory.Undisturbed``, which must be in force.
    """
    getter = _OWN.get(name)
    if getter is None:
        getter = _OWN[name] = getattr(torch.Tensor, name).__get__
    return getter(tensor)


_OWN: dict[str, Callable[[Any], Any]] = {}
"""What gives the attributes of ``torch.Tensor`` that were asked for, by their names."""


def instance_of(value: Any, *kinds: type) -> bool:
    """``isinstance`` asked of the class: a proxy runs code of its own to answer ``__class__``."""
    return issubclass(type(value), kinds)


def stored_on(tensor: Any, name: str) -> Any:
    """What was set on this very tensor under a name, or None: no property and no ``__getattr__`` is called."""
    try:
        return object.__getattribute__(tensor, "__dict__").get(name)
    except AttributeError:
        return None


def family_of(tensor: Any) -> str:
    """What the class of a tensor means here: ``plain``, ``lazy``, ``wrapper``, ``DTensor`` or a key of _NO_VALUES."""
    kind: Any = type(tensor)
    return _family_of_class(kind)


@lru_cache(maxsize=256)
def _family_of_class(kind: Any) -> str:
    names = [ancestor.__name__ for ancestor in kind.__mro__]
    for name in (*_NO_VALUES, "DTensor"):
        if name in names:
            return name
    if issubclass(kind, torch.nn.parameter.UninitializedTensorMixin):
        return "lazy"
    # A class that answers torch's operators itself need not have memory of its own.
    dispatch = getattr(kind, "__torch_dispatch__", None)
    return "plain" if dispatch is torch.Tensor.__torch_dispatch__ else "wrapper"


def fields_of(tensor: Any) -> tuple[tuple[tuple[str, Callable[[Any], Any]], ...], tuple[str, ...]]:
    """The plain tensors inside a wrapper: pairs of a name and a getter, and notes; nothing for a plain tensor.

    ``__tensor_flatten__`` is the one method of a user's class that is called: torch's own protocol, made for saying
    which tensors a wrapper holds, and nothing else says it.
    """
    family = family_of(tensor)
    if family in _NO_VALUES or family == "lazy" or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return (), ()
    if family == "DTensor":
        # full_tensor() and redistribute() are collective; the local piece is a plain attribute.
        note = f"DTensor: this rank's piece of {_shape_of(tensor)}, placements {tensor.placements}"
        return (("", partial(_get, "_local_tensor")),), (
            note,
            f"device mesh of shape {tuple(tensor.device_mesh.shape)}{_coordinate_in(tensor.device_mesh)}",
        )
    if is_jagged(tensor):
        count = own(stored_on(tensor, "_offsets"), "numel")() - 1
        names = [name for name in _JAGGED_FIELDS if stored_on(tensor, f"_{name}") is not None]
        getters = [(name, partial(_get, f"_{name}")) for name in names]
        return tuple(getters), (f"a field of a jagged tensor of {_nested(count)}",)
    if family == "wrapper":
        flatten = getattr(type(tensor), "__tensor_flatten__", None)
        if flatten is None:
            return (), ()
        name = type(tensor).__name__
        article = "an" if name[:1].lower() in ("a", "e", "i", "o") else "a"
        note = f"a field of {article} {name} of shape {_shape_of(tensor)}"
        return tuple([(name, partial(_get, name)) for name in flatten(tensor)[0]]), (note,)
    if own(tensor, "is_nested"):
        return (("values", torch.Tensor.values),), (
            f"the values of {_nested(own(tensor, 'size')(0))}, one after another",
        )
    layout = own(tensor, "layout")
    if layout in _SPARSE_FIELDS:
        note = f"a field of a {str(layout).removeprefix('torch.')} tensor of shape {_shape_of(tensor)}"
        getters = [(name.lstrip("_"), getattr(torch.Tensor, name)) for name in _SPARSE_FIELDS[layout]]
        return tuple(getters), (note,)
    return (), ()


def _coordinate_in(mesh: Any) -> str:
    """Where this rank stands in a device mesh, which it knows without asking the others."""
    try:
        found = mesh.get_coordinate()
    except ODD:
        return ""
    return "" if found is None else f", this rank at {tuple(found)}"


def _nested(count: int) -> str:
    return "1 nested tensor" if count == 1 else f"{count} nested tensors"


def _shape_of(tensor: Any) -> tuple[int, ...]:
    return tuple(own(tensor, "shape"))


def is_jagged(tensor: Any) -> bool:
    """Whether it is torch's own nested tensor of layout jagged: one tensor of values and one of offsets."""
    kind = type(tensor)
    return kind.__name__ == "NestedTensor" and kind.__module__ == "torch.nested._internal.nested_tensor"


def is_index_field(outer: Any, field: Any) -> bool:
    """Whether a field of one of torch's own wrappers says where values stand, and so cannot be trained."""
    is_own = is_jagged(outer) or family_of(outer) == "plain"
    return is_own and not (own(field, "is_floating_point")() or own(field, "is_complex")())


def _get(name: str, tensor: Any) -> Any:
    found = stored_on(tensor, name)
    return object.__getattribute__(tensor, name) if found is None else found


def obstacle_of(tensor: Any) -> str | None:
    """Why there are no bytes to read behind a tensor, or None."""
    family = family_of(tensor)
    if family == "lazy":
        return LAZY
    if family in _NO_VALUES:
        return _NO_VALUES[family]
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor) or torch._is_functional_tensor(tensor):
        return "it is a value inside a function transform, which exists only while that runs"
    if family != "plain":
        return f"the class {type(tensor).__name__} does not say which tensors it holds"
    if own(tensor, "layout") != torch.strided:
        layout = str(own(tensor, "layout")).removeprefix("torch.")
        return f"its layout {layout} is opaque"
    if own(tensor, "device").type == "meta":
        return "it is on the meta device: it has a shape and no values"
    if own(tensor, "is_quantized") and own(tensor, "qscheme")() not in _QUANTISED:
        scheme = str(own(tensor, "qscheme")()).removeprefix("torch.")
        return f"its quantisation {scheme} is not read here"
    storage = storage_nbytes_of(tensor)
    if storage is not None and own(tensor, "numel")() > 0:
        needed = needed_nbytes(tensor)
        if storage < needed and own(tensor, "is_quantized"):
            return "its elements are packed in a way that is not read here"
        if storage < needed:
            # FSDP1 frees the gathered parameters between layers this way; touching them would crash the process.
            return f"its storage has been freed: it holds {storage} bytes of the {needed} needed"
    return None


def needed_nbytes(tensor: Any) -> int:
    """How many bytes the storage of a strided tensor must have for all of its elements."""
    if not own(tensor, "numel")():
        return 0
    reach = sum(map(lambda size, step: (size - 1) * step, own(tensor, "shape"), own(tensor, "stride")()))
    found: int = (own(tensor, "storage_offset")() + reach + 1) * own(tensor, "element_size")()
    return found


_QUANTISED = {
    torch.per_tensor_affine,
    torch.per_channel_affine,
    torch.per_tensor_symmetric,
    torch.per_channel_symmetric,
    torch.per_channel_affine_float_qparams,
}


def storage_nbytes_of(tensor: Any) -> int | None:
    """Bytes of the whole storage, or None on devices that do not tell."""
    try:
        return int(own(tensor, "untyped_storage")().nbytes())
    except NotImplementedError:
        return None


@lru_cache(maxsize=256)
def text_of(value: torch.device | torch.dtype | torch.layout) -> str:
    """Its name; a model has few different ones, and spelling one takes longer than asking for it."""
    return str(value)


def layout_of(tensor: Any) -> tuple[Any, ...]:
    """Where and how a plain tensor lies; equal for the same elements."""
    if family_of(tensor) != "plain":
        return ("object", id(tensor))
    try:
        address = own(tensor, "data_ptr")()
    except NotImplementedError:
        address = 0
    stride = tuple(own(tensor, "stride")()) if own(tensor, "layout") == torch.strided else ()
    flags = (own(tensor, "is_conj")(), own(tensor, "is_neg")())
    kind = text_of(own(tensor, "device")), text_of(own(tensor, "dtype"))
    return (*kind, _shape_of(tensor), stride, flags, address)


class Body(NamedTuple):
    """What there is to know of a tensor that is nothing but its elements in memory: see ``body_of``.

    ``layout`` is that of ``layout_of``; ``stride`` is None where the tensor is contiguous.
    """

    layout: tuple[Any, ...]
    shape: tuple[int, ...]
    stride: tuple[int, ...] | None
    numel: int
    nbytes: int
    storage_nbytes: int
    version: int

    @property
    def mark(self) -> tuple[Any, ...]:
        """That of ``mark_of``."""
        return (*self.layout, self.version)


_OWN_CLASSES = (torch.Tensor, torch.nn.Parameter)
_T = torch.Tensor
_is_wrapped, _is_functional = torch._C._functorch.is_functorch_wrapped_tensor, torch._is_functional_tensor
_layout, _dtype, _device, _shape = _T.layout.__get__, _T.dtype.__get__, _T.device.__get__, _T.shape.__get__
_is_quantised, _is_nested, _version = _T.is_quantized.__get__, _T.is_nested.__get__, _T._version.__get__


def body_of(tensor: Any) -> Body | None:
    """All that is asked of one of 100,000 parameters, in one go, if it is an ordinary tensor in memory.

    None of anything that is not: another class, with attributes of its own, another layout, no memory. It is asked
    one question after the other, by the functions of this module, which say the same of an ordinary tensor.
    """
    if type(tensor) not in _OWN_CLASSES or object.__getattribute__(tensor, "__dict__"):
        return None
    if _is_wrapped(tensor) or _is_functional(tensor) or _layout(tensor) is not torch.strided:
        return None
    dtype, device = _dtype(tensor), _device(tensor)
    if _is_quantised(tensor) or _is_nested(tensor) or dtype is FLOAT4 or device.type == "meta":
        return None
    try:
        storage, address = _T.untyped_storage(tensor).nbytes(), _T.data_ptr(tensor)
    except NotImplementedError:
        return None
    shape, stride, itemsize = tuple(_shape(tensor)), _T.stride(tensor), _T.element_size(tensor)
    numel, is_contiguous = prod(shape), _T.is_contiguous(tensor)
    reach = numel - 1 if is_contiguous else sum(map(lambda size, step: (size - 1) * step, shape, stride))
    if numel and storage < (_T.storage_offset(tensor) + reach + 1) * itemsize:
        return None
    flags = (_T.is_conj(tensor), _T.is_neg(tensor))
    layout = (text_of(device), text_of(dtype), shape, stride, flags, address)
    version = -1 if _T.is_inference(tensor) else _version(tensor)
    return Body(layout, shape, None if is_contiguous else stride, numel, numel * itemsize, storage, version)


def mark_of(tensor: Any, depth: int = 0) -> tuple[Any, ...]:
    """What changes when a tensor, or a piece of a wrapper, is replaced, moved or written to; the version is last."""
    try:
        version = -1 if own(tensor, "is_inference")() else int(own(tensor, "_version"))
        fields = fields_of(tensor)[0] if depth < WRAPPER_LIMIT else ()
        if not fields:
            return (*layout_of(tensor), version)
        inner = [mark_of(field(tensor), depth + 1) for _, field in fields]
        return (tuple(mark[:-1] for mark in inner), version + sum(mark[-1] for mark in inner))
    except ODD:
        return (id(tensor), -1)


def notes_of(tensor: Any) -> tuple[str, ...]:
    """What else there is to know of a plain tensor: its class, the parameters flattened into it, its quantisation."""
    notes: tuple[str, ...] = ()
    if type(tensor).__name__ not in _TORCH_CLASSES:
        notes += (f"class {type(tensor).__module__}.{type(tensor).__qualname__}",)
    names = stored_on(tensor, "_fqns")
    if stored_on(tensor, "_is_flat_param") and isinstance(names, (list, tuple)):
        notes += (f"FSDP: a flat parameter made of {len(names)} parameters, first {', '.join(map(str, names[:3]))}",)
    whole = stored_on(tensor, "ds_shape")
    if isinstance(whole, tuple):
        notes += (f"DeepSpeed stage 3: this rank's piece of {tuple(whole)}",)
    if not own(tensor, "is_quantized"):
        return notes
    if own(tensor, "qscheme")() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        scale, zero_point = own(tensor, "q_scale")(), own(tensor, "q_zero_point")()
        return (*notes, f"quantised: scale {scale:.6g}, zero point {zero_point}")
    axis, count = own(tensor, "q_per_channel_axis")(), own(tensor, "q_per_channel_scales")().numel()
    return (*notes, f"quantised: {count} scales and zero points along axis {axis}")


def first_line(error: BaseException) -> str:
    """The class of an error and the first line of its message."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:TEXT_LIMIT]}" if lines else type(error).__name__
