"""Results: what a call that the machine does not imitate makes all the same, where that is known from its name.

Python's own types and torch's storages take no key, no item or no state that another class may take.
"""

from __future__ import annotations

from typing import Literal

from tui_params.sources.inert_pickle.values import Composite, Obj, Parameter, Storage, Stub, TensorValue, TypedTensor

LOAD_BYTES = ("torch.storage", "_load_from_bytes")
"""What loads a storage from bytes inside a bare pickle: torch/storage.py, ``__reduce__``."""

_MADE: dict[tuple[str, str], str] = {
    ("builtins", "complex"): "a number",
    ("builtins", "int"): "a number",
    ("builtins", "long"): "a number",
    ("builtins", "float"): "a number",
    ("builtins", "bool"): "a truth value",
    ("builtins", "str"): "a text",
    ("builtins", "unicode"): "a text",
    ("builtins", "bytes"): "bytes",
    ("builtins", "bytearray"): "a bytearray",
    ("builtins", "list"): "a list",
    ("builtins", "tuple"): "a tuple",
    ("builtins", "dict"): "a dict",
    ("builtins", "set"): "a set",
    ("builtins", "frozenset"): "a frozenset",
    ("builtins", "object"): "a plain object",
    ("collections", "OrderedDict"): "a dict",
    ("collections", "Counter"): "a dict",
    ("collections", "defaultdict"): "a dict",
    ("collections", "deque"): "a list",
    ("_codecs", "encode"): "bytes",
    LOAD_BYTES: "a storage",
}
_DICTS = frozenset({("collections", "OrderedDict"), ("collections", "Counter"), ("collections", "defaultdict")})
_STATEFUL = frozenset({("collections", "OrderedDict"), ("collections", "Counter")})

What = Literal["keys", "items", "members"]
_TAKERS: dict[What, frozenset[tuple[str, str]]] = {
    "keys": _DICTS | {("builtins", "dict")},
    "items": frozenset({("builtins", "list"), ("collections", "deque")}),
    "members": frozenset({("builtins", "set")}),
}
_UNHASHABLE = frozenset({"a list", "a dict", "a set", "a bytearray"})
_TENSORS = frozenset({TensorValue, Parameter, Composite, TypedTensor})


def _name_of(value: Obj) -> tuple[str, str] | None:
    cls = value.cls
    return (cls.module, cls.name) if type(cls) is Stub else None


def made_kind(value: object) -> str | None:
    """What an object is, in two words, if the name of what makes it says so; None of any other class or value."""
    name = _name_of(value) if type(value) is Obj else None
    return None if name is None else _MADE.get(name)


def is_no_key(value: Obj) -> bool:
    """Whether Python refuses the object as a key; of an unknown class that is not known."""
    return made_kind(value) in _UNHASHABLE


def takes(value: Obj, what: What) -> bool:
    """Whether an unpickler may set keys in the object, append items to it or add members: any unknown class may."""
    name = _name_of(value)
    return name is None or name not in _MADE or name in _TAKERS[what]


def takes_state(value: Obj, state: object) -> bool:
    """Whether an unpickler may set the attributes of the object to ``state``."""
    name = _name_of(value)
    return name is None or name not in _MADE or (name in _STATEFUL and type(state) is dict)


def is_load_of_bytes(value: object) -> bool:
    """Whether this is a call of ``torch.storage._load_from_bytes``."""
    return type(value) is Obj and _name_of(value) == LOAD_BYTES


def may_be_storage(value: object) -> bool:
    """Whether this is a storage, or an object of which it is not known that it is none."""
    return type(value) is Storage or (type(value) is Obj and made_kind(value) in (None, _MADE[LOAD_BYTES]))


def may_be_tensor(value: object) -> bool:
    """Whether this is a tensor, or an object of which it is not known that it is none."""
    return type(value) in _TENSORS or (type(value) is Obj and made_kind(value) is None)
