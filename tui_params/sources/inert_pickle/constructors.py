"""The closed table of constructors that the pickle machine imitates: those of pure data, and torch's builders.

Each takes the argument tuple from the pickle and returns an inert value, or UNFIT. Each takes constant time and copies
nothing, because a pickle of a few bytes can call it a million times on one large argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tui_params.sources.inert_pickle.array_constructors import ARRAY_CONSTRUCTORS
from tui_params.sources.inert_pickle.distributed import attributes_of, distributed_tensor, sharded_tensor
from tui_params.sources.inert_pickle.forms import may_take
from tui_params.sources.inert_pickle.results import may_be_storage, may_be_tensor
from tui_params.sources.inert_pickle.values import (
    UNFIT,
    ArrayValue,
    ByteArray,
    Composite,
    Encoded,
    Obj,
    Parameter,
    SetValue,
    Storage,
    Stub,
    TensorValue,
    Text,
    TypedTensor,
    render,
)

Args = tuple[Any, ...]


# Python's own


def _ordered_dict(args: Args, cls: tuple[str, str] = ("collections", "OrderedDict")) -> Any:
    if not args:
        return {}
    if len(args) != 1:
        return UNFIT
    first = args[0]
    if type(first) is dict:
        return first
    # Python 2 wrote OrderedDict([[key, value], ...]).
    return Obj(Stub(*cls), (), first) if type(first) is list and may_take(".".join(cls), args) else UNFIT


def _dict(args: Args) -> Any:
    return _ordered_dict(args, ("builtins", "dict"))


def _default_dict(args: Args) -> Any:
    if len(args) > 2 or (args and type(args[0]) not in (Stub, Obj, type(None))):
        return UNFIT
    return args[1] if len(args) > 1 and type(args[1]) is dict else {}


def _sequence(args: Args) -> Any:
    if not args:
        return []
    if type(args[0]) not in (list, tuple) or len(args) > 2:
        return UNFIT
    return args[0] or []


def _tuple(args: Args) -> Any:
    if not args:
        return ()
    return args[0] if type(args[0]) in (list, tuple) and len(args) == 1 else UNFIT


def _size(args: Args) -> Any:
    if not args:
        return ()
    # More dimensions than torch has are not looked at one by one: nothing can be made of them.
    is_size = len(args) == 1 and type(args[0]) in (list, tuple) and len(args[0]) <= 64
    return args[0] if is_size and all(type(item) is int for item in args[0]) else UNFIT


def _set(args: Args, *, is_frozen: bool = False) -> Any:
    if not args:
        return SetValue([], is_frozen=is_frozen)
    return SetValue(args[0], is_frozen=is_frozen) if type(args[0]) in (list, tuple) and len(args) == 1 else UNFIT


def _frozen_set(args: Args) -> Any:
    return _set(args, is_frozen=True)


def _bytes(args: Args) -> Any:
    if not args:
        return b""
    data = args[0].data if type(args[0]) is ByteArray else args[0]
    return data if type(data) in (bytes, Encoded) and len(args) == 1 else UNFIT


def _byte_array(args: Args) -> Any:
    # Python 3 writes protocols 0 to 2 as bytearray(text, "latin-1").
    data = _encode(args) if len(args) == 2 else _bytes(args)
    return UNFIT if data is UNFIT else ByteArray(data)


def _encode(args: Args) -> Any:
    # What pickle itself writes: the bytes as a latin-1 text.
    is_latin = len(args) == 2 and type(args[0]) is str and args[1] in ("latin1", "latin-1")
    return Encoded(args[0]) if is_latin else UNFIT


def _complex(args: Args) -> Any:
    if len(args) == 2 and type(args[0]) is float and type(args[1]) is float:
        return Text(str(complex(args[0], args[1])))
    return UNFIT


def _named(name: str) -> Callable[[Args], Any]:
    return lambda args: Text(f"{name}({', '.join(render(arg, 1) for arg in args[:3])})")


def _path(args: Args) -> Any:
    parts = [part[:400] for part in args[:64] if type(part) is str]
    if not parts:
        return Text(".")
    return Text("/" + "/".join(parts[1:]) if parts[0] == "/" else "/".join(parts))


def _reconstructor(args: Args) -> Any:
    return Obj(args[0], ()) if args else UNFIT


def _newobj(args: Args) -> Any:
    return Obj(args[0], args[1:]) if args else UNFIT


def _newobj_ex(args: Args) -> Any:
    return Obj(args[0], args[1:]) if len(args) == 3 else UNFIT


def _first(args: Args) -> Any:
    return args[0] if args else UNFIT


# torch's


_DEVICE = re.compile(r"[A-Za-z_]+(?::(?:0|[1-9][0-9]{0,9}))?")
"""What torch can take apart (c10/core/Device.cpp); any word may be the name of a device that a library brought."""


def _device(args: Args) -> Any:
    if not 1 <= len(args) <= 2 or type(args[0]) is not str or not _DEVICE.fullmatch(args[0][:100]):
        return UNFIT
    return Text(f"{args[0][:40]}:{args[1]}" if len(args) > 1 and type(args[1]) is int else args[0][:40])


def _layout(args: Args) -> Any:
    is_layout = len(args) == 1 and type(args[0]) is str and args[0].removeprefix("torch.") in _LAYOUTS
    return Text(args[0].removeprefix("torch.")) if is_layout else UNFIT


def _takes_gradient(requires_grad: Any, hooks: Any) -> bool:
    """Whether torch takes both for ``requires_grad`` and ``_backward_hooks``."""
    return type(requires_grad) is bool and (hooks is None or type(hooks) in (dict, Obj))


def _tensor(args: Args) -> Any:
    if len(args) != 4 or not may_be_storage(args[0]):
        return UNFIT
    return TensorValue(args[0], args[1], args[2], args[3])


def _tensor_v2(args: Args) -> Any:
    # (storage, storage_offset, size, stride, requires_grad, backward_hooks[, metadata]): torch/_utils.py.
    if len(args) not in (6, 7) or not _takes_gradient(args[4], args[5]) or not may_be_storage(args[0]):
        return UNFIT
    if len(args) == 6:
        return TensorValue(args[0], args[1], args[2], args[3], args[4])
    if args[6] is None or type(args[6]) is dict:
        return TensorValue(args[0], args[1], args[2], args[3], args[4], None, args[6])
    return UNFIT


def _tensor_v3(args: Args) -> Any:
    if len(args) not in (7, 8) or not _takes_gradient(args[4], args[5]) or not may_be_storage(args[0]):
        return UNFIT
    return TensorValue(args[0], args[1], args[2], args[3], args[4], args[6], args[7] if len(args) == 8 else None)


def _qtensor(args: Args) -> Any:
    if len(args) != 7 or not _takes_gradient(args[5], args[6]) or not may_be_storage(args[0]):
        return UNFIT
    return TensorValue(args[0], args[1], args[2], args[3], args[5], None, None, args[4])


def _meta_tensor(args: Args) -> Any:
    if len(args) != 4:
        return UNFIT
    return TensorValue(Storage(None, None, "meta", None), 0, args[1], args[2], args[3], args[0])


def _parameter(args: Args) -> Any:
    return Parameter(args[0], args[1]) if len(args) == 3 and _takes_gradient(args[1], args[2]) else UNFIT


def _parameter_with_state(args: Args) -> Any:
    return Parameter(args[0], args[1], args[3]) if len(args) == 4 and _takes_gradient(args[1], args[2]) else UNFIT


def _cpu_copy(args: Args) -> Any:
    # (data, dtype, device, requires_grad)
    return args[0] if len(args) == 4 and type(args[0]) is TensorValue else UNFIT


def _numpy_copy(args: Args) -> Any:
    if len(args) != 4 or type(args[0]) is not ArrayValue:
        return UNFIT
    return TensorValue(Storage(None, None, args[2], None), 0, args[0].shape, None, args[3], args[1])


_LAYOUTS = frozenset(
    {"strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "_mkldnn", "jagged"}
)
_SPARSE_PARTS = {
    "sparse_csr": ("crow_indices", "col_indices"),
    "sparse_csc": ("ccol_indices", "row_indices"),
    "sparse_bsr": ("crow_indices", "col_indices"),
    "sparse_bsc": ("ccol_indices", "row_indices"),
}


def _sparse(args: Args) -> Any:
    if len(args) != 2 or type(args[1]) is not tuple:
        return UNFIT
    layout, data = args
    name = layout.text if type(layout) is Text else layout.name if type(layout) is Stub else ""
    if name == "sparse_coo" and len(data) in (3, 4) and _is_coordinates(*data):
        return Composite("sparse COO tensor", data[2], {"indices": data[0], "values": data[1]})
    if name in _SPARSE_PARTS and len(data) == 4 and all(map(may_be_tensor, data[:3])):
        first, second = _SPARSE_PARTS[name]
        parts = {first: data[0], second: data[1], "values": data[2]}
        return Composite(f"sparse {name[-3:].upper()} tensor", data[3], parts)
    return UNFIT


def _is_coordinates(indices: Any, values: Any, size: Any, is_coalesced: Any = None) -> bool:
    """Whether torch takes these for the parts of a sparse COO tensor: the numbers of indices and values agree."""
    if type(size) is not tuple or not (is_coalesced is None or type(is_coalesced) is bool):
        return False
    if not all(type(length) is int and 0 <= length < 1 << 63 for length in size[:64]):
        return False
    if type(indices) is not TensorValue or type(values) is not TensorValue:
        return may_be_tensor(indices) and may_be_tensor(values)
    storage = indices.storage
    is_known = indices.dtype is None and type(storage) is Storage and type(storage.cls) is Stub
    if is_known and storage.cls.name != "LongStorage":
        return False
    many, few = indices.shape, values.shape
    if type(many) is not tuple or type(few) is not tuple:
        return True
    if not all(type(length) is int for length in (*many[:64], *few[:64])):
        return False
    return len(many) == 2 and many[1:] == few[:1] and many[0] + len(few) - 1 == len(size)


def _nested(args: Args) -> Any:
    if len(args) != 4 or not all(map(may_be_tensor, args)):
        return UNFIT
    parts = {"buffer": args[0], "sizes": args[1], "strides": args[2], "storage_offsets": args[3]}
    return Composite("nested tensor", None, parts)


def _jagged(args: Args) -> Any:
    # (dict,): torch/nested/_internal/nested_tensor.py, _rebuild_njt. The state beside it repeats the same tensors.
    fields = args[0] if len(args) == 1 and type(args[0]) is dict else {}
    if fields.get("values") is None or fields.get("offsets") is None:
        return UNFIT
    parts = {name: fields[name] for name in ("values", "offsets", "lengths") if fields.get(name) is not None}
    return Composite("jagged tensor", None, parts)


def _wrapper_subclass(args: Args) -> Any:
    # (cls, dtype, size, stride, storage_offset, layout, device, requires_grad)
    if len(args) < 8:
        return UNFIT
    return Composite(render(args[0], 1), args[2], {}, args[1])


def _from_type(args: Args) -> Any:
    # (func, type, args, state): torch/_tensor.py, _rebuild_from_type_v2.
    if len(args) != 4 or type(args[0]) is not Stub or args[0].build is None or type(args[2]) is not tuple:
        return UNFIT
    func, cls, inner, state = args
    if func.module != "torch._utils" and func.build is not _jagged:
        return UNFIT
    data = func.build(inner)
    if data is UNFIT:
        return UNFIT
    attributes = attributes_of(state)
    if type(data) is not Composite:
        return TypedTensor(cls, data, attributes)
    if func.build is _jagged:
        return data
    if type(cls) is Stub and cls.name in ("ShardedTensor", "ShardedTensorBase"):
        return sharded_tensor(cls.name, data, state)
    if "_local_tensor" in attributes:
        return distributed_tensor(cls.name if type(cls) is Stub else "DTensor", data, attributes)
    if not attributes and state is not None:
        attributes = {"state": state}
    # A sparse tensor of a class of its own has its pieces beside its attributes.
    return Composite(render(cls, 1), data.shape, {**data.parts, **attributes}, data.dtype)


CONSTRUCTORS: dict[tuple[str, str], Callable[[Args], Any]] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("collections", "Counter"): _ordered_dict,
    ("collections", "defaultdict"): _default_dict,
    ("collections", "deque"): _sequence,
    ("builtins", "dict"): _dict,
    ("builtins", "list"): _sequence,
    ("builtins", "tuple"): _tuple,
    ("builtins", "set"): _set,
    ("builtins", "frozenset"): _frozen_set,
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _byte_array,
    ("builtins", "complex"): _complex,
    ("builtins", "slice"): _named("slice"),
    ("builtins", "range"): _named("range"),
    ("builtins", "xrange"): _named("range"),
    ("_codecs", "encode"): _encode,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copyreg", "__newobj__"): _newobj,
    ("copyreg", "__newobj_ex__"): _newobj_ex,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch.serialization", "_get_layout"): _layout,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    ("torch._utils", "_rebuild_qtensor"): _qtensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter_with_state,
    ("torch._utils", "_rebuild_sparse_tensor"): _sparse,
    ("torch._utils", "_rebuild_sparse_csr_tensor"): _sparse,
    ("torch._utils", "_rebuild_nested_tensor"): _nested,
    ("torch.nested._internal.nested_tensor", "_rebuild_njt"): _jagged,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _meta_tensor,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _cpu_copy,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _numpy_copy,
    ("torch._utils", "_rebuild_xla_tensor"): _numpy_copy,
    ("torch._utils", "_rebuild_wrapper_subclass"): _wrapper_subclass,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
}
CONSTRUCTORS |= {("pathlib", name): _path for name in ("PosixPath", "PurePosixPath", "Path", "PurePath")}
CONSTRUCTORS |= {("pathlib", name): _path for name in ("WindowsPath", "PureWindowsPath")}
CONSTRUCTORS |= {("pathlib._local", name): _path for name in ("PosixPath", "PurePosixPath", "WindowsPath")}
CONSTRUCTORS |= ARRAY_CONSTRUCTORS
# TorchScript tags its typed lists and dicts: torch/jit/_pickle.py.
for _name in ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "restore_type_tag"):
    CONSTRUCTORS["torch.jit._pickle", _name] = _first
