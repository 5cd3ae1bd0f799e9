"""What stands where a tensor should be and cannot be read as one: it is listed with the reason, never as a text."""

from __future__ import annotations

from typing import Any

from tui_params.core.text import plural
from tui_params.sources.inert_pickle.results import may_be_tensor
from tui_params.sources.inert_pickle.values import (
    Composite,
    Encoded,
    Obj,
    Parameter,
    Stub,
    TensorValue,
    Text,
    TypedTensor,
    Unread,
    render,
)

TENSORS = frozenset({TensorValue, Parameter, Composite, TypedTensor})
"""The classes of values that are tensors, or wrap one."""

# What builds a tensor or a storage: torch/_utils.py, torch/_tensor.py, torch/storage.py.
_BUILDERS = ("_rebuild_", "_load_from_bytes")


def unread_tensor(value: Obj) -> Unread | None:
    """Why a call of one of torch's tensor builders, or a persistent id, could not be read as a tensor.

    None for every other object.
    """
    cls = value.cls
    if type(cls) is Stub and cls.name == "BytesIO" and cls.module in ("io", "_io"):
        return _unread_buffer(value)
    if type(cls) is Text:
        return Unread("it is a persistent id that names no storage, which torch refuses", is_faulty=True)
    if type(cls) is not Stub or cls.module.partition(".")[0] != "torch" or not cls.name.startswith(_BUILDERS):
        return None
    arguments = plural(len(value.args), "argument") if type(value.args) is tuple else "arguments that are no tuple"
    if cls.name == "_load_from_bytes":
        return Unread("the bytes that it is made of hold no storage", is_faulty=True)
    if cls.build is None:
        return Unread(f"it is built by {cls}, which is not known here")
    if cls.name == "_rebuild_from_type_v2":
        func = value.args[0] if type(value.args) is tuple and len(value.args) == 4 else None
        if type(func) is Stub and func.build is None:
            return Unread(f"it is built by {func}, which is not known here")
    return Unread(f"{cls} cannot build a tensor from the {arguments} that it is given", is_faulty=True)


def _unread_buffer(value: Obj) -> Unread | None:
    """Why the bytes of an ``io.BytesIO`` are not looked at; None if it has none. Transformer Engine keeps scales so."""
    state = value.state if type(value.state) is tuple and value.state else value.args
    first = state[0] if type(state) is tuple and state else b""
    data = first.text if type(first) is Encoded else first
    if not isinstance(data, (bytes, str)) or not data:
        return None
    return Unread(f"it is a buffer of {plural(len(data), 'byte')}, which are not looked at")


def data_of(value: Any) -> Any:
    """The tensor in a wrapper, or why there is none."""
    if type(value) is Unread or may_be_tensor(value):
        return value
    return Unread(f"it wraps {render(value, 1)}, which is no tensor", is_faulty=True)
