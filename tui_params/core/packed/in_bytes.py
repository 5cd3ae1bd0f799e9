"""Codes of 2, 4 or 8 bits in bytes, each block with a scale: MatMulNBits and GatherBlockQuantized of onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tui_params.core.dequantized import Dequantized
from tui_params.core.dtypes import named
from tui_params.core.packed.box import Box
from tui_params.core.packed.codes import byte_values
from tui_params.core.packed.linear import RESULTS, method_of
from tui_params.core.packed.sought import Sought, want
from tui_params.core.packed.weight import PackedWeight, Stored
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS = (2, 4, 8)
_LEAST_BLOCK = 16


class InBytes(msgspec.Struct, frozen=True):
    """``(q - zero) * scale`` in float32 with a scale for each ``block`` of the last dimension, as ``Dequantized`` has.

    ``blocks`` are those of one row. ``groups`` has the number of the block of each element of a row, if they do not
    follow one another.
    """

    codes: TensorInfo
    scale: TensorInfo
    zero: TensorInfo | None
    groups: TensorInfo | None
    bits: int
    block: int
    blocks: int

    def restore(self, stored: Stored, box: Box) -> NDArray[Any]:
        rows, (start, stop) = box[:-1], box[-1]
        values = self._codes(stored, rows, start, stop)
        scales = self._spread(stored, self.scale, rows, start, stop)
        zeros: Any = np.float32(1 << (self.bits - 1))
        if self.zero is not None:
            zeros = self._spread(stored, self.zero, rows, start, stop)
        if self.groups is not None or (self.zero is not None and self.zero.dtype.name != "uint8"):
            # onnxruntime rounds both products then.
            values *= scales
            values -= zeros * scales
        else:
            values -= zeros
            values *= scales
        return values

    def _spread(self, stored: Stored, info: TensorInfo, rows: Box, start: int, stop: int) -> NDArray[np.float32]:
        """The scale or the zero point of each element in these places of each row."""
        if self.groups is not None:
            places = stored.box(self.groups, ((start, stop),))
            if places.size and (places.min() < 0 or places.max() >= self.blocks):
                raise ReadError(f"{self.groups.name} has numbers of blocks beyond the {self.blocks:,} that there are")
            return self._of_blocks(stored, info, rows, 0, self.blocks)[..., places]
        first = start // self.block
        spread = np.repeat(self._of_blocks(stored, info, rows, first, -(-stop // self.block)), self.block, -1)
        begin = start - first * self.block
        return spread[..., begin : begin + stop - start]

    def _codes(self, stored: Stored, rows: Box, start: int, stop: int) -> NDArray[np.float32]:
        if self.codes.ndim == len(rows) + 1:
            return self._unpacked(stored, self.codes, rows, start, stop)
        first, end = start // self.block, -(-stop // self.block)
        raw = stored.box(self.codes, (*rows, (first, end), (0, self.codes.shape[-1])))
        values = byte_values(raw.reshape(*raw.shape[:-2], -1), self.bits)
        begin = start - first * self.block
        return values[..., begin : begin + stop - start]

    def _unpacked(self, stored: Stored, info: TensorInfo, rows: Box, start: int, stop: int) -> NDArray[np.float32]:
        """The codes of these places of each row, whose bytes are the last dimension."""
        each = 8 // self.bits
        begin = start // each
        raw = self._rows(stored, info, rows, begin, -(-stop // each))
        first = start - begin * each
        return byte_values(raw, self.bits)[..., first : first + stop - start]

    def _of_blocks(self, stored: Stored, info: TensorInfo, rows: Box, first: int, end: int) -> NDArray[np.float32]:
        """The scales or zero points of these blocks of each row."""
        if info.dtype.name == "uint8":
            return self._unpacked(stored, info, rows, first, end)
        return self._rows(stored, info, rows, first, end).astype(np.float32)

    def _rows(self, stored: Stored, info: TensorInfo, rows: Box, start: int, stop: int) -> NDArray[Any]:
        """The elements ``start:stop`` of each row, also of a tensor in which all rows are one dimension."""
        if info.ndim == len(rows) + 1:
            return stored.box(info, (*rows, (start, stop)))
        ((first, end),) = rows
        size = info.numel // self.codes.shape[0]
        return stored.box(info, ((first * size, end * size),)).reshape(end - first, size)[:, start:stop]


def tell_in_bytes(sought: Sought, info: TensorInfo, way: Dequantized, name: str) -> PackedWeight:
    """The weight of that name whose codes lie in the bytes of a tensor. Raises Untold."""
    bits, block = way.bits, way.block
    want(info.dtype.name == "uint8", f"a {way.node} node uses it, whose codes are uint8, and it is {info.dtype.name}")
    want(bits in _BITS, f"its codes have {bits:,} bits, which no runtime takes")
    want(block >= _LEAST_BLOCK and not block & (block - 1), f"its blocks have {block:,} elements")
    each = 8 // bits
    if way.shape:
        shape = way.shape
        want(all(size > 0 for size in shape), f"the node says that its shape is {list(shape)}")
        blocks = -(-shape[-1] // block)
        laid = ((*shape[:-1], blocks, block // each), (*shape[:-1], blocks * block // each))
        want(info.shape in laid, f"{list(info.shape)} bytes are not {list(shape)} codes in blocks of {block:,}")
    else:
        axis = 0 if way.axis is None else way.axis
        want(info.ndim > 0 and axis in (-1, info.ndim - 1), f"its blocks are of axis {axis}, its bytes of the last")
        shape = (*info.shape[:-1], info.shape[-1] * each)
        blocks = -(-shape[-1] // block)
    scale = sought.need(way.scale)
    zero, groups = (None if part is None else sought.need(part) for part in (way.zero, way.groups))
    want(scale.dtype.name in RESULTS, f"{scale.name} is {scale.dtype.name}")
    _want_shape(scale, (*shape[:-1], blocks), is_flat=bool(way.shape))
    if zero is not None:
        is_packed = zero.dtype.name == "uint8"
        want(is_packed or (bool(way.shape) and zero.dtype.name in RESULTS), f"{zero.name} is {zero.dtype.name}")
        _want_shape(zero, (*shape[:-1], -(-blocks // each) if is_packed else blocks), is_flat=bool(way.shape))
    if groups is not None:
        want(groups.dtype.name == "int32", f"{groups.name} is {groups.dtype.name}")
        want(groups.shape in ((shape[-1],), (blocks * block,)), f"{groups.name} has {groups.numel:,} elements")
        is_sure = bits == 4 and (zero is None or zero.dtype.name != "uint8")
        want(
            is_sure,
            f"what {groups.name} means beside such codes is not certain: onnxruntime does otherwise than it says",
        )
    own = [part for part in (scale, zero, groups) if part is not None and not sought.is_shared(part.name)]
    scheme = InBytes(info, scale, zero, groups, bits, block, blocks)
    kind = named(f"uint{bits}")
    method = method_of(way, kind.short if kind is not None else "")
    return PackedWeight(name, shape, scale.dtype, method, (info, *own), min(block, shape[-1]), scheme)


def _want_shape(info: TensorInfo, shape: tuple[int, ...], *, is_flat: bool) -> None:
    """Raises Untold unless a tensor has that shape; models of onnxruntime before 1.20 have it in one dimension."""
    numel = 1
    for size in shape:
        numel *= size
    fits = info.shape == shape or (is_flat and info.shape == (numel,))
    want(fits, f"{info.name} of shape {list(info.shape)} is not the {list(shape)} that its codes need")
