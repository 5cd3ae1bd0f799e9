"""Leaves: values of a pickle that hold no others, and are shown as text."""

from __future__ import annotations

from typing import Any

from tui_params.sources.inert_pickle.values import (
    SCALARS,
    ArrayType,
    ArrayValue,
    ByteArray,
    Encoded,
    Obj,
    Stub,
    Text,
)
from tui_params.sources.torch_save.unread import TENSORS

LEAVES = SCALARS | {bytes, ByteArray, Encoded, Text, Stub, ArrayType}


def is_leaf(value: Any) -> bool:
    """Whether an item of a list is a leaf there; a scalar of numpy is, as one of Python is."""
    return type(value) in LEAVES or (type(value) is ArrayValue and value.shape == ())


def are_leaves(items: Any) -> bool:
    """Whether each of the items of a list is a leaf there."""
    kinds = set(map(type, items))
    return kinds <= LEAVES or (kinds <= LEAVES | {ArrayValue} and all(is_leaf(item) for item in items))


def is_rich(value: Any) -> bool:
    """Whether a value is a tensor, or an object with a state that may hold some."""
    return type(value) in TENSORS or (type(value) is Obj and value.state is not None)
