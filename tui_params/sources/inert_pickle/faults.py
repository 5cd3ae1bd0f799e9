"""What a plain unpickler refuses in a pickle that the inert machine can read all the same.

The machine keeps what is written and computes nothing, so much that raises an error elsewhere passes through it: a call
of a number, a list as a key, the state of a text. A file with any of it loads nowhere, and is no healthy file.
"""

from __future__ import annotations

from typing import Any

from tui_params.core.dtypes import from_torch
from tui_params.core.text import clean
from tui_params.sources.inert_pickle.allowed import TORCH_ALLOWED
from tui_params.sources.inert_pickle.array_states import is_array_state, is_type_state
from tui_params.sources.inert_pickle.forms import may_take
from tui_params.sources.inert_pickle.results import is_no_key, made_kind, may_be_tensor, takes_state
from tui_params.sources.inert_pickle.values import (
    ArrayType,
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
)

MAX_FAULTS = 20

_NAMES: dict[Any, str] = {
    list: "a list",
    dict: "a dict",
    tuple: "a tuple",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "a truth value",
    bytes: "bytes",
    Encoded: "bytes",
    ByteArray: "a bytearray",
    type(None): "nothing",
    SetValue: "a set",
    TensorValue: "a tensor",
    Parameter: "a tensor",
    Composite: "a tensor",
    TypedTensor: "a tensor",
    Storage: "a storage",
    ArrayValue: "an array",
    ArrayType: "an element type",
}
UNHASHABLE = frozenset({list, dict, SetValue, ArrayValue, tuple, ByteArray, Obj})
"""Types of values that are no keys, or may hold some that are none."""

_SETS_NO_STATE = frozenset(_NAMES) - {dict, Parameter, TypedTensor, ArrayValue, ArrayType} | {Text}

# Those that make something of arguments which only they know: what cannot be read is told where it stands.
_LENIENT = frozenset(
    {
        ("torch._tensor", "_rebuild_from_type_v2"),
        ("torch._utils", "_rebuild_wrapper_subclass"),
        ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"),
        ("torch._utils", "_rebuild_device_tensor_from_numpy"),
        ("torch._utils", "_rebuild_xla_tensor"),
        ("torch.nested._internal.nested_tensor", "_rebuild_njt"),
        ("copyreg", "_reconstructor"),
        ("copyreg", "__newobj__"),
        ("copyreg", "__newobj_ex__"),
    }
)
_ARRAYS = frozenset({"numpy.ndarray", "numpy.matrix"})


class Faults:
    """The faults of one pickle, each once, in the order in which they were met; ``more`` counts the others."""

    __slots__ = ("found", "more")

    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        self.more = 0

    def add(self, fault: str) -> None:
        """A fault as a verb and its object: "calls a number"."""
        if fault in self.found:
            return
        if len(self.found) < MAX_FAULTS:
            self.found[fault] = None
        else:
            self.more += 1


def name_kind(value: Any) -> str:
    """What ``value`` is, in two words."""
    return _NAMES.get(type(value)) or made_kind(value) or "a value"


def is_text(text: str) -> bool:
    """Whether ``text`` has no half of a surrogate pair, which stands for no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_unhashable(value: Any, depth: int = 0) -> bool:
    """Whether Python refuses ``value`` as a key; a tuple is looked into a little."""
    kind = type(value)
    if kind is tuple:
        return depth < 2 and any(is_unhashable(item, depth + 1) for item in value[:20])
    if kind is SetValue:
        return not value.is_frozen
    if kind is Obj:
        return is_no_key(value)
    return kind in UNHASHABLE and (kind is not ArrayValue or not value.is_scalar)


_FUNCTIONS = ("_rebuild", "_reconstruct", "_load_from", "_get_layout")
"""How the names of torch's and numpy's functions begin that build values; many classes have an underscore, too."""


def call_fault(value: Any, callee: Any, args: Any, *, is_called: bool) -> str | None:
    """Why nobody can make ``value``, which the machine has made of a call (or of NEWOBJ); None if it may be made."""
    kind = type(callee)
    if kind is Obj and made_kind(callee) is None:
        return None
    if kind is not Stub:
        return f"calls {name_kind(callee)}" if is_called else f"makes an object of {name_kind(callee)}"
    if type(args) is not tuple:
        return f"calls {callee} with {name_kind(args)} for its arguments" if type(args) is not Obj else None
    is_torch = callee.module.partition(".")[0] in ("torch", "numpy")
    if not is_called and is_torch and callee.name.startswith(_FUNCTIONS):
        return f"makes an object of {callee}, which is no class"
    if callee.name == "_rebuild_from_type_v2" and len(args) == 4:
        if refuses_wrapper(args[0], args[2]):
            return f"calls {args[0]} with arguments that it refuses"
        if _is_no_tensor_class(args[1]):
            what = str(args[1]) if type(args[1]) is Stub else name_kind(args[1])
            return f"makes a tensor of the class {what}, which is none of tensors"
        if refuses_state(args[1], args[3]):
            return f"gives {args[1]} a state that it does not take"
    if not is_called and callee.module == "torch" and from_torch(callee.name) is not None:
        return f"makes an object of {callee}, which is an element type"
    if not is_called and callee.module == "torch" and callee.name.endswith("Storage"):
        # torch.load puts something else in place of these classes.
        return f"makes an object of {callee}, which torch makes itself"
    if type(value) is not Obj:
        return None
    name = f"{callee.module}.{callee.name}"
    if name == "torch.storage._load_from_bytes" and len(args) != 1:
        return f"calls {callee} with {len(args)} arguments"
    if callee.build is None:
        is_known = name in _ARRAYS or (name in TORCH_ALLOWED and callee.name[:9] != "_rebuild_")
        return f"calls {callee}, of which no call is known" if is_called and is_known else None
    if name in ("builtins.complex", "builtins.bytearray"):
        # They take more forms than are imitated here.
        is_wrong = refuses_complex(args) if name == "builtins.complex" else refuses_bytearray(args)
        return f"calls {callee} with arguments that it refuses" if is_wrong else None
    if value.cls is not callee or may_take(name, args):
        return None
    if (callee.module, callee.name) in _LENIENT and (callee.name != "_rebuild_from_type_v2" or len(args) == 4):
        return None
    count = f"{len(args)} argument{'s' * (len(args) != 1)}"
    return f"calls {clean(str(callee), 80)} with {count} of which it can make nothing"


def refuses_wrapper(function: Any, args: Any) -> bool:
    """Whether it is ``_rebuild_wrapper_subclass`` (DTensor), and certainly takes no such arguments.

    torch/_utils.py: class, dtype, size, stride, storage_offset, layout, device, requires_grad.
    """
    if type(function) is not Stub or function.name != "_rebuild_wrapper_subclass":
        return False
    if type(args) is not tuple or len(args) != 8 or type(args[7]) is not bool:
        return True
    cls, dtype, size, stride, offset, layout, device, _ = args
    if _is_no_tensor_class(cls) or not (dtype is None or _may_be_type(dtype)):
        return True
    if any(made_kind(each) is not None for each in args):
        # What Python's own types and functions make is none of these.
        return True
    if type(layout) is Stub and (layout.module != "torch" or layout.name[:1].isupper()):
        return True
    if type(offset) not in (int, type(None), Obj) or type(layout) in _NO_LAYOUTS or type(device) in _NO_DEVICES:
        return True
    if type(size) not in (tuple, list, Obj) or type(stride) not in (tuple, list, Obj, type(None)):
        return True
    sizes = [each[:_MOST_SIZES] for each in (size, stride) if type(each) in (tuple, list)]
    sizes.append((offset,) if type(offset) is int else ())
    return any(type(number) is not int or not 0 <= number < 1 << 63 for each in sizes for number in each)


_TENSOR_CLASSES = frozenset({"torch.Tensor", "torch.nn.parameter.Parameter"})


def _is_no_tensor_class(value: Any) -> bool:
    """Whether ``value`` is certainly no class of tensors."""
    if type(value) is not Stub:
        return type(value) is not Obj
    name = f"{value.module}.{value.name}"
    return name not in _TENSOR_CLASSES and (value.build is not None or name in TORCH_ALLOWED)


def _may_be_type(value: Any) -> bool:
    """Whether torch may take ``value`` for an element type."""
    if type(value) is not Stub:
        return type(value) is Obj
    return value.module == "torch" and value.build is None and not value.name[:1].isupper()


def refuses_state(cls: Any, state: Any) -> bool:
    """Whether ``_rebuild_from_type_v2`` certainly cannot set that state: of DTensor, which has no way of its own.

    torch/_utils.py, ``_set_obj_state``: attributes, or a pair of them and of slots; what is empty is passed over.
    """
    if type(cls) is not Stub or cls.name != "DTensor" or not cls.module.startswith("torch.distributed."):
        return False
    if type(state) is tuple and len(state) != 2:
        return True
    found: dict[Any, Any] = {}
    for part in state if type(state) is tuple else (state,):
        if type(part) is dict:
            found |= part
        elif type(part) is Obj:
            return False
        elif type(part) not in _PLAIN or part:
            return True
    return type(found.get("_spec")) is not Obj or not may_be_tensor(found.get("_local_tensor"))


_PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict, set, frozenset})
_NO_LAYOUTS = (_PLAIN - {type(None)}) | {Encoded, ByteArray, SetValue}
_NO_DEVICES = (_PLAIN - {type(None), int, str}) | {Encoded, ByteArray, SetValue, Stub}
_NO_NUMBERS = (_PLAIN - {bool, int, float}) | {ByteArray, Encoded, ArrayType, SetValue, Stub}
_NO_TEXTS = (_PLAIN | _NO_NUMBERS) - {str}


def refuses_complex(args: tuple[Any, ...]) -> bool:
    """Whether ``complex`` certainly takes no such arguments: two numbers at most, or a text alone."""
    if len(args) > 2:
        return True
    kinds = [type(arg) for arg in args]
    if kinds == [str]:
        try:
            complex(args[0])
        except ValueError:
            return True
        return False
    return any(kind in _NO_NUMBERS for kind in kinds)


def refuses_bytearray(args: tuple[Any, ...]) -> bool:
    """Whether ``bytearray`` certainly takes no such arguments: nothing, a size, bytes, or a text with an encoding."""
    if len(args) > 3:
        return True
    kinds = [type(arg) for arg in args]
    if len(args) > 1:
        # A text, the name of its encoding, and what is done with what that does not have.
        return any(kind in _NO_TEXTS for kind in kinds)
    if kinds in ([int], [bool]):
        return bool(args[0] < 0)
    if kinds in ([list], [tuple]):
        plain = [item for item in args[0] if type(item) in _PLAIN]
        return any(type(item) not in (int, bool) or not 0 <= item < 256 for item in plain)
    return kinds in ([type(None)], [float], [str])


def named_again(known: dict[str, str], storage: Storage) -> str | None:
    """What is wrong if ``known``, which grows, has the key of a storage with another class.

    torch takes the class of the first persistent id of a key, whatever the next ones say.
    """
    if type(storage.key) is not str:
        return None
    kind = storage.cls.name
    before = known.setdefault(storage.key, kind)
    return None if before == kind else f"names the storage {clean(storage.key, 40)} as {before} and as {kind}"


_SIZES = frozenset({tuple, list, type(None)})
_MOST_SIZES = 64


def has_numbers(value: TensorValue) -> bool:
    """Whether the sizes and strides of a tensor are whole numbers; what is popped or replaced is listed nowhere."""
    for sizes in (value.shape, value.stride):
        if type(sizes) not in _SIZES or any(type(number) is not int for number in (sizes or ())[:_MOST_SIZES]):
            return False
    return type(value.offset) is int


def build(target: Any, state: Any) -> bool:
    """Keep the state of an object. Returns whether it can be its state.

    The state of a torch dict (``_metadata``) adds nothing new and is dropped.
    """
    kind = type(target)
    if kind is Obj:
        target.state = state
        return takes_state(target, state)
    if kind is ArrayValue:
        if target.is_scalar:
            # It has all that it needs, and numpy drops whatever follows.
            return True
        target.set_state(state)
        return is_array_state(state, target.cls)
    if kind is ArrayType:
        target.state = state
        return is_type_state(state, target.code.lstrip("<>=|")[:1] if type(target.code) is str else "")
    if kind is Parameter or kind is TypedTensor:
        target.state = state
    elif kind is dict:
        return type(state) is dict
    return kind not in _SETS_NO_STATE
