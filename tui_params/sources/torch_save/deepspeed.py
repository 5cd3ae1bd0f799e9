"""DeepSpeed ZeRO-3: flat partitions that are padded with uninitialised memory, and weights that are placeholders.

Each rank has ``ceil(n / ranks)`` elements of each parameter, and what is left over at the end was never written
(deepspeed/runtime/zero/partition_parameters.py, stage3.py): NaN and huge numbers there are no fault. In the model file
a parameter is a tensor of shape (0,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tui_params.core.tensor import TensorInfo
from tui_params.sources.inert_pickle.values import Obj
from tui_params.sources.torch_save.layout import TensorLister

_STAGE = 3
_FLAT = "a flat partition of DeepSpeed ZeRO-3: between its parameters lies padding that was never written"
_PLACEHOLDER = "a placeholder of DeepSpeed ZeRO-3: its values lie in the flat partitions of all ranks, not joined here"


def mark_partitions(root: Any, lister: TensorLister) -> None:
    """Give the tensors of a rank's file the reason why they cannot be read as they are; other files are left alone."""
    if type(root) is not dict:
        return
    state = root.get("optimizer_state_dict")
    if type(state) is dict and _number(state.get("zero_stage")) == _STAGE and state.get("partition_count") != 1:
        # One rank alone needs no padding.
        flat = ("optimizer_state_dict.fp32_flat_groups.", "optimizer_state_dict.optimizer_state_dict.state.")
        _mark(lister, lambda info: _FLAT if info.name.startswith(flat) and info.ndim == 1 else None)
    sizes = _sizes(root)
    if sizes:
        _mark(lister, lambda info: _misses(info, sizes))


def _misses(info: TensorInfo, sizes: dict[str, int]) -> str | None:
    """The reason why a tensor of the model file is not the parameter that it is called after."""
    head, _, name = info.name.partition(".")
    due = sizes.get(name)
    if due is None or info.numel == due:
        return None
    if head == "module" and info.numel == 0:
        return _PLACEHOLDER
    return _FLAT if head == "frozen_param_fragments" else None


def _mark(lister: TensorLister, why: Callable[[TensorInfo], str | None]) -> None:
    for place, info in enumerate(lister.tensors):
        reason = why(info) if info.unreadable is None else None
        if reason is not None:
            lister.tensors[place] = msgspec.structs.replace(info, unreadable=reason)


def _sizes(root: dict[Any, Any]) -> dict[str, int]:
    """The number of elements of each parameter, trained or frozen, by its name; from the shapes in the model file."""
    trained = root.get("param_shapes")
    groups = list(trained) if type(trained) is list else [trained]
    sizes: dict[str, int] = {}
    for group in (*groups, root.get("frozen_param_shapes")):
        for name, shape in group.items() if type(group) is dict else ():
            if type(name) is str and type(shape) is tuple and all(type(length) is int for length in shape):
                numel = 1
                for length in shape[:64]:
                    numel = min(numel * max(length, 0), 1 << 62)
                sizes[name] = numel
    return sizes


def _number(value: Any) -> int | None:
    """A whole number, also as a member of an enumeration."""
    if type(value) is Obj and type(value.args) is tuple and len(value.args) == 1:
        value = value.args[0]
    return value if type(value) is int else None
