"""Codes that are elements of a tensor, with the scale of a node of a graph: DequantizeLinear of ONNX and its likes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tui_params.core.dequantized import Dequantized
from tui_params.core.packed.box import Box
from tui_params.core.packed.sought import Sought, Untold, want
from tui_params.core.packed.weight import PackedWeight, Stored
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CODES = frozenset({"int8", "uint8", "int16", "uint16", "int32", "int4", "uint4", "int2", "uint2"})
_FLOATS = frozenset({"float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float4_e2m1fn"})
"""Codes that are numbers with a point: of these a zero point can only be 0."""

RESULTS = frozenset({"float32", "float16", "bfloat16"})
"""The types of what is restored."""


class Linear(msgspec.Struct, frozen=True):
    """``(q - zero) * scale``, in float32; onnx 1.23, reference/ops/op_dequantize_linear.py."""

    codes: TensorInfo
    scale: TensorInfo
    zero: TensorInfo | None
    axis: int
    block: int

    def restore(self, stored: Stored, box: Box) -> NDArray[Any]:
        values: NDArray[Any] = stored.floats(self.codes, box)
        if self.zero is not None and self.codes.dtype.name in _FLOATS:
            if stored.whole(self.zero).astype(np.float32).any():
                raise ReadError(f"{self.zero.name} is not 0, which it has to be for codes of {self.codes.dtype.name}")
        elif self.zero is not None:
            # numpy makes float64 of float32 and int32.
            kind = np.float64 if self.zero.dtype.name == "int32" else np.float32
            values = values.astype(kind) - self._spread(stored, self.zero, box).astype(kind)
        restored: NDArray[Any] = values * self._spread(stored, self.scale, box).astype(values.dtype)
        return restored

    def _spread(self, stored: Stored, info: TensorInfo, box: Box) -> NDArray[Any]:
        """The numbers for the elements of a box, in a shape that broadcasts to its."""
        if info.numel == 1:
            return stored.whole(info).reshape((1,) * len(box))
        start, stop = box[self.axis]
        if not self.block:
            numbers = stored.box(info, ((start, stop),))
            return numbers.reshape([-1 if axis == self.axis else 1 for axis in range(len(box))])
        first = start // self.block
        blocks = (*box[: self.axis], (first, -(-stop // self.block)), *box[self.axis + 1 :])
        numbers = np.repeat(stored.box(info, blocks), self.block, self.axis)
        begin = start - first * self.block
        return numbers[(slice(None),) * self.axis + (slice(begin, begin + stop - start),)]


def tell_linear(sought: Sought, info: TensorInfo, way: Dequantized, name: str) -> PackedWeight:
    """The weight of that name whose codes are the elements of a tensor. Raises Untold."""
    if info.dtype.name not in _CODES | _FLOATS:
        raise Untold(f"a {way.node or 'DequantizeLinear'} node restores it, which takes no {info.dtype.name}")
    scale = sought.need(way.scale)
    zero = None if way.zero is None else sought.need(way.zero)
    dtype = way.dtype or scale.dtype
    want(scale.dtype.kind == "float", f"{scale.name} is {scale.dtype.name}")
    want(dtype.name in RESULTS, f"it is restored to {dtype.name}")
    if zero is not None and info.dtype.name in _CODES:
        want(zero.dtype.name == info.dtype.name, f"{zero.name} is {zero.dtype.name}, and its codes {info.dtype.name}")
    axis = _axis(info, scale, way)
    for each in (scale, *(() if zero is None else (zero,))):
        want(each.numel == 1 or each.shape == _shape(info, axis, way.block), _unfit(each, info, way))
    own = [each for each in (scale, zero) if each is not None and not sought.is_shared(each.name)]
    # A block may say that it is larger than all there is.
    block = min(way.block, info.shape[axis]) if info.shape else 0
    scheme = Linear(info, scale, zero, axis, block)
    group = block if block and scale.numel > 1 else None
    return PackedWeight(name, info.shape, dtype, method_of(way, info.dtype.short), (info, *own), group, scheme)


def method_of(way: Dequantized, short: str) -> str:
    """``ONNX QGemm i8, outputs by inputs``."""
    return " ".join(filter(None, ("ONNX", way.node, short))) + (way.layout and f", {way.layout}")


def _axis(info: TensorInfo, scale: TensorInfo, way: Dequantized) -> int:
    """The axis, counted from the first dimension. Raises Untold if it is needed and there is no such axis."""
    if scale.numel == 1:
        return 0
    if way.axis is None:
        raise Untold(f"{scale.name} has {scale.numel:,} elements, and its axis is stated nowhere")
    want(-info.ndim <= way.axis < info.ndim, f"its axis is {way.axis}, and it has {info.ndim} dimensions")
    want(way.block >= 0, f"its blocks have {way.block:,} elements")
    return way.axis % info.ndim


def _shape(info: TensorInfo, axis: int, block: int) -> tuple[int, ...]:
    """The shape that scales of more than one element have."""
    if not block:
        return info.shape[axis : axis + 1]
    return (*info.shape[:axis], -(-info.shape[axis] // block), *info.shape[axis + 1 :])


def _unfit(each: TensorInfo, info: TensorInfo, way: Dequantized) -> str:
    blocks = f" in blocks of {way.block:,}" if way.block else ""
    axis = f" along axis {way.axis}" if way.axis is not None else ""
    return f"{each.name} of shape {list(each.shape)} does not fit codes of {list(info.shape)}{axis}{blocks}"
