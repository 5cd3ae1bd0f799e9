"""Weights that are packed along their first dimension: quanto's int4 and int2, HQQ, and modelopt's int4 AWQ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tui_params.core.dtypes import DType, numpy_dtype
from tui_params.core.packed.box import Box, boxes, lengths
from tui_params.core.packed.codes import rounded
from tui_params.core.packed.grid import ScaleGrid
from tui_params.core.packed.weight import Stored
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _rows(
    stored: Stored,
    info: TensorInfo,
    shifts: tuple[int, ...],
    mask: int,
    rows: NDArray[Any],
    columns: tuple[int, int] | None = None,
) -> NDArray[Any]:
    """The codes of some rows: row ``r`` of ``count`` lies in stored row ``r % count``, at the shift ``r // count``."""
    count = info.shape[0]
    columns = columns or (0, info.shape[1])
    codes = np.empty((rows.size, columns[1] - columns[0]), np.uint32 if info.dtype.itemsize == 4 else np.uint8)
    kind = codes.dtype.type
    parts = rows // count
    # One part after the other: the last rows of one and the first of the next are at both ends of the tensor.
    for part in range(int(parts.min()), int(parts.max()) + 1):
        here = np.flatnonzero(parts == part)
        if not here.size:
            continue
        at = rows[here] - part * count
        low, high = int(at.min()), int(at.max()) + 1
        words = stored.box(info, ((low, high), columns)).view(codes.dtype)
        if at.size != high - low:
            words = words[at - low]
        codes[here[0] : here[-1] + 1] = (words >> kind(shifts[part])) & kind(mask)
    return codes


class Quanto(msgspec.Struct, frozen=True):
    """``q * scale - shift`` of groups that are the rows of a matrix, each step rounded; quanto 0.2, qbits.py."""

    codes: TensorInfo
    scale: TensorInfo
    shift: TensorInfo
    bits: int
    shape: tuple[int, ...]
    dtype: DType

    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        group = self.codes.shape[1]
        across = self.shape[1] // group
        (first, stop), (start, end) = box
        begin, last = start // group, -(-end // group)
        rows = (np.arange(first, stop)[:, None] * across + np.arange(begin, last)).reshape(-1)
        codes = _rows(stored, self.codes, tuple(range(0, 8, self.bits)), (1 << self.bits) - 1, rows)
        low, high = int(rows[0]), int(rows[-1]) + 1
        scale = stored.floats(self.scale, ((low, high), (0, 1)))[rows - low]
        shift = stored.floats(self.shift, ((low, high), (0, 1)))[rows - low]
        as_stored = numpy_dtype(self.dtype)
        assert as_stored is not None
        values = rounded(codes.astype(np.float32) * scale, as_stored) - shift
        parts: NDArray[np.float32] = values.reshape(stop - first, -1)
        return parts[:, start - begin * group : end - begin * group]


class Hqq(msgspec.Struct, frozen=True):
    """``(q - zero) * scale``, each step rounded, of groups: rows (axis 1) or columns (axis 0); hqq, quantize.py.

    The rows lie in parts, that of the highest bits first.
    """

    codes: TensorInfo
    scale: TensorInfo
    zero: TensorInfo
    bits: int
    axis: int
    shape: tuple[int, ...]
    shifts: tuple[int, ...]
    dtype: DType

    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        (first, stop), (start, end) = box
        across = self.shape[1]
        if (start, end) == (0, across) or stop - first == 1:
            return self._run(stored, first * across + start, (stop - 1) * across + end).reshape(lengths(box))
        width = self.codes.shape[1]
        flat = np.arange(first, stop)[:, None] * across + np.arange(start, end)
        row, column = np.divmod(flat, width)
        rows, at = np.unique(row, return_inverse=True)
        codes = _rows(stored, self.codes, self.shifts, (1 << self.bits) - 1, rows)
        at = at.reshape(row.shape)
        place = (at, np.zeros_like(at)) if self.axis else (np.zeros_like(column), column)
        if self.axis:
            low, high = int(rows[0]), int(rows[-1]) + 1
            box_of_groups: Box = ((low, high), (0, 1))
            scale, zero = (stored.floats(info, box_of_groups)[rows - low] for info in (self.scale, self.zero))
        else:
            scale, zero = (stored.floats(info, ((0, 1), (0, width))) for info in (self.scale, self.zero))
        return self._values(codes[at, column], zero[place], scale[place])

    def _run(self, stored: Stored, start: int, stop: int) -> NDArray[np.float32]:
        """The elements ``start:stop`` of the flat tensor."""
        out = np.empty(stop - start, np.float32)
        done = 0
        rows_in_all = -(-self.shape[0] * self.shape[1] // self.codes.shape[1])
        for rows, columns in boxes((rows_in_all, self.codes.shape[1]), start, stop, stop - start):
            codes = _rows(stored, self.codes, self.shifts, (1 << self.bits) - 1, np.arange(*rows), columns)
            groups: Box = (rows, (0, 1)) if self.axis else ((0, 1), columns)
            values = self._values(codes, stored.floats(self.zero, groups), stored.floats(self.scale, groups))
            out[done : done + values.size] = values.reshape(-1)
            done += values.size
        return out

    def _values(self, codes: NDArray[Any], zero: NDArray[Any], scale: NDArray[Any]) -> NDArray[np.float32]:
        as_stored = numpy_dtype(self.dtype)
        assert as_stored is not None
        values = codes.astype(np.float32)
        values -= zero
        values = rounded(values, as_stored)
        values *= scale
        return values


class PairedRows(msgspec.Struct, frozen=True):
    """``q * scale`` of signed codes, of which a byte has those of two rows, the lower one for the even row.

    modelopt 0.47, export/quant_utils.py, pack_int4_in_uint8. ``inputs`` (pre_quant_scale) are what the layer multiplies
    its inputs by; the weight has them too, so that it is the one that the layer stands for.
    """

    codes: TensorInfo
    scale: ScaleGrid
    inputs: TensorInfo | None

    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        (first, stop), columns = box
        begin = first // 2
        packed = stored.box(self.codes, ((begin, -(-stop // 2)), columns))
        codes = np.stack((packed & 15, packed >> 4), 1).reshape(-1, packed.shape[1]).astype(np.int8)
        # Two's complement in 4 bits.
        values = (((codes ^ 8) - 8)[first - 2 * begin : stop - 2 * begin]).astype(np.float32)
        values *= self.scale.spread(stored, box)
        if self.inputs is not None:
            values *= stored.floats(self.inputs, (columns,))
        return values
