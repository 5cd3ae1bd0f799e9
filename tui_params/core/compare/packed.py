"""Packed weights: what a tensor of bytes stands for, as far as a small tensor beside it says so.

bitsandbytes 0.49 stores a 4-bit weight as bytes in one column, and beside it ``<name>.quant_state.bitsandbytes__nf4``:
the bytes of a JSON object (functional.py, ``QuantState.as_dict``).
"""

from __future__ import annotations

from typing import Any

import msgspec

from tui_params.core.dtypes import from_torch
from tui_params.core.source import Source
from tui_params.core.tensor import MAX_NDIM, TensorInfo
from tui_params.core.text import clean, shape
from tui_params.core.window import parse_window
from tui_params.errors import ReadError

_MARK = ".quant_state.bitsandbytes__"
_MOST_NBYTES = 1 << 14
_LONGEST = 40


class Packed(msgspec.Struct, frozen=True):
    """What is packed in a tensor: ``method`` in words, and the shape and the type (a short name) that it had."""

    method: str
    shape: tuple[int, ...]
    dtype: str | None

    def __str__(self) -> str:
        of = shape(self.shape) if self.dtype is None else f"{self.dtype} {shape(self.shape)}"
        return f"{self.method} of {of}"


class _State(msgspec.Struct):
    quant_type: str
    shape: list[int]
    dtype: Any = None


class PackedWeights:
    """The packed weights of a source, by what stands beside them."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._states: dict[str, TensorInfo] | None = None

    def of(self, name: str) -> Packed | None:
        """What is packed in the tensor of that name; None if nothing beside it says so. Reads a few bytes."""
        if self._states is None:
            found = ((info.name.rpartition(_MARK), info) for info in self._source.listing.tensors)
            self._states = {owner: info for (owner, mark, _), info in found if mark}
        state = self._states.get(name)
        if state is None or state.unreadable is not None or not state.nbytes == state.numel <= _MOST_NBYTES:
            return None
        return _parse(self._source, state)


def _parse(source: Source, info: TensorInfo) -> Packed | None:
    try:
        raw = source.read_window(info, parse_window("", info.shape)).tobytes()
        state = msgspec.json.decode(raw, type=_State)
    except (ReadError, OSError, MemoryError, ValueError, RecursionError):
        return None
    if not all(0 <= size < 1 << 63 for size in state.shape) or len(state.shape) > MAX_NDIM:
        return None
    dtype = from_torch(state.dtype.removeprefix("torch.")) if isinstance(state.dtype, str) else None
    return Packed(
        f"bitsandbytes {clean(state.quant_type, _LONGEST)}",
        tuple(state.shape),
        None if dtype is None else dtype.short,
    )
