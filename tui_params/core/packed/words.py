"""Weights in words of 32 bits: GPTQ, AWQ, compressed-tensors' pack-quantized, MLX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tui_params.core.dtypes import DType, numpy_dtype
from tui_params.core.packed.box import Box
from tui_params.core.packed.codes import E2M1, field_values, fields, rounded
from tui_params.core.packed.grid import ScaleGrid, by_group
from tui_params.core.packed.weight import Stored
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""Where the code of a column stands among the 8 of its word: autoawq packs the columns 0 2 4 6 1 3 5 7."""


def along_rows(stored: Stored, info: TensorInfo, bits: int, box: Box) -> NDArray[np.uint8]:
    """Codes of a tensor that is packed along its last dimension; ``box`` counts codes."""
    start, stop = box[-1]
    first, last = start * bits // 32, -(-stop * bits // 32)
    words = stored.box(info, (*box[:-1], (first, last)))
    return fields(words, bits, start * bits - 32 * first, stop - start)


def row_values(stored: Stored, info: TensorInfo, bits: int, box: Box) -> NDArray[np.float32]:
    """The codes that ``along_rows`` finds, as float32."""
    start, stop = box[-1]
    first, last = start * bits // 32, -(-stop * bits // 32)
    words = stored.box(info, (*box[:-1], (first, last)))
    return field_values(words, bits, start * bits - 32 * first, stop - start)


def along_columns(stored: Stored, info: TensorInfo, bits: int, box: Box) -> NDArray[np.uint8]:
    """Codes of a matrix that is packed along its first dimension; ``box`` counts codes."""
    (start, stop), columns = box
    first, last = start * bits // 32, -(-stop * bits // 32)
    words = stored.box(info, ((first, last), columns)).T
    return fields(words, bits, start * bits - 32 * first, stop - start).T


def groups_of(stored: Stored, order: TensorInfo | None, size: int, first: int, stop: int, count: int) -> NDArray[Any]:
    """The group of each input from ``first`` to ``stop``, as ``order`` has it, or in runs of ``size``.

    Raises ReadError if one is negative, or beyond the ``count`` groups that have a scale.
    """
    if order is None:
        return np.arange(first, stop) // size
    groups = stored.box(order, ((first, stop),)).astype(np.int64)
    if groups.size and int(groups.min()) < 0:
        # compressed-tensors writes -1 everywhere before it knows an order.
        if (stored.whole(order) == -1).all():
            return np.arange(first, stop) // size
        raise ReadError(f"{order.name} names group {int(groups.min())}: no group is negative")
    if groups.size and int(groups.max()) >= count:
        raise ReadError(f"{order.name} names group {int(groups.max())}, and there are scales for {count} groups")
    return groups


def _scale_groups(
    values: NDArray[np.float32],
    zeros: NDArray[np.float32] | None,
    scales: NDArray[np.float32],
    groups: NDArray[Any],
    size: int,
    start: int,
) -> None:
    """``(values - zero[g]) * scale[g]`` in place, with a row of all groups for each row of the values."""
    count = values.shape[1]
    if np.array_equal(groups, np.arange(start, start + count) // size):
        first, last = start // size, -(-(start + count) // size)
        if zeros is not None:
            by_group(np.subtract, values, zeros[:, first:last], size, start)
        by_group(np.multiply, values, scales[:, first:last], size, start)
        return
    if zeros is not None:
        values -= np.take(zeros, groups, 1)
    values *= np.take(scales, groups, 1)


class Gptq(msgspec.Struct, frozen=True):
    """``(q - zero[g]) * scale[g]``, transposed, with ``g`` from ``g_idx``; AutoGPTQ, qlinear_cuda_old.py.

    ``is_less``: the zero points are stored less one (checkpoint_format "gptq"; "gptq_v2" stores them as they are).
    """

    codes: TensorInfo
    zeros: TensorInfo
    scales: TensorInfo
    order: TensorInfo | None
    bits: int
    group: int
    is_less: bool

    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        outputs, (start, stop) = box
        count = self.scales.shape[0]
        groups = groups_of(stored, self.order, self.group, start, stop, count)
        first, last = start * self.bits // 32, -(-stop * self.bits // 32)
        # From here on as the weight has it, an output a row: the codes of a word are neighbours.
        words = stored.box(self.codes, ((first, last), outputs)).T
        values = field_values(words, self.bits, start * self.bits - 32 * first, stop - start)
        every = (0, count)
        zeros = along_rows(stored, self.zeros, self.bits, (every, outputs)).T.astype(np.int16)
        if self.is_less:
            # gptqmodel keeps the bits of a code: a stored 15 of 4 bits is 0.
            zeros = (zeros + 1) & ((1 << self.bits) - 1)
        scales = stored.floats(self.scales, (every, outputs)).T
        _scale_groups(values, zeros.astype(np.float32), scales, groups, self.group, start)
        return values


class Awq(msgspec.Struct, frozen=True):
    """``(q - zero) * scale``, transposed, with the columns of a word out of order; autoawq, packing_utils.py."""

    codes: TensorInfo
    zeros: TensorInfo
    scales: TensorInfo
    group: int

    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        outputs, (start, stop) = box
        groups = start // self.group, -(-stop // self.group)
        values = self._codes(stored, self.codes, (start, stop), outputs)
        by_group(np.subtract, values, self._codes(stored, self.zeros, groups, outputs), self.group, start)
        by_group(np.multiply, values, stored.floats(self.scales, (groups, outputs)).T, self.group, start)
        return values

    @staticmethod
    def _codes(
        stored: Stored, info: TensorInfo, rows: tuple[int, int], outputs: tuple[int, int]
    ) -> NDArray[np.float32]:
        """The codes of some outputs, a row each."""
        first, last = outputs[0] // 8, -(-outputs[1] // 8)
        words = np.ascontiguousarray(stored.box(info, (rows, (first, last))).T).view(np.uint32)
        codes = np.empty((last - first, 8, rows[1] - rows[0]), np.float32)
        for output, place in enumerate(_AWQ_ORDER):
            codes[:, output] = (words >> np.uint32(4 * place)) & np.uint32(15)
        every: NDArray[np.float32] = codes.reshape(-1, codes.shape[-1])
        return every[outputs[0] - 8 * first : outputs[1] - 8 * first]


class PackQuantized(msgspec.Struct, frozen=True):
    """``(q - 2^(bits-1) - zero) * scale`` of a row-major matrix; compressed-tensors, pack_quantized.

    ``zeros`` are packed along the outputs, and less by the same ``2^(bits-1)``.
    """

    codes: TensorInfo
    scales: TensorInfo
    zeros: TensorInfo | None
    order: TensorInfo | None
    bits: int
    group: int

    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        outputs, (start, stop) = box
        middle = np.float32(1 << (self.bits - 1))
        values = row_values(stored, self.codes, self.bits, box)
        values -= middle
        count = self.scales.shape[1]
        groups = groups_of(stored, self.order, self.group, start, stop, count)
        zeros = None
        if self.zeros is not None:
            zeros = along_columns(stored, self.zeros, self.bits, (outputs, (0, count))).astype(np.float32) - middle
        scales = stored.floats(self.scales, (outputs, (0, count)))
        _scale_groups(values, zeros, scales, groups, self.group, start)
        return values


class Mlx(msgspec.Struct, frozen=True):
    """``q * scale + bias``, each step rounded to the type of the scales; mlx.core.dequantize, mode "affine"."""

    codes: TensorInfo
    scales: TensorInfo
    biases: TensorInfo
    bits: int
    group: int
    dtype: DType

    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        values = row_values(stored, self.codes, self.bits, box)
        block = (1,) * (len(box) - 1) + (self.group,)
        as_stored = numpy_dtype(self.dtype)
        assert as_stored is not None
        values = rounded(values * ScaleGrid(self.scales, block).spread(stored, box), as_stored)
        return values + ScaleGrid(self.biases, block).spread(stored, box)


class MlxMicro(msgspec.Struct, frozen=True):
    """E2M1 or E4M3 codes times a power of two or an E4M3 scale; mlx.core.dequantize, "mxfp4", "nvfp4", "mxfp8"."""

    codes: TensorInfo
    scales: TensorInfo
    bits: int
    group: int

    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        codes = along_rows(stored, self.codes, self.bits, box)
        block = (1,) * (len(box) - 1) + (self.group,)
        if self.group == 16:
            scales = _e4m3(ScaleGrid(self.scales, block).spread(stored, box).astype(np.uint8))
        else:
            scales = ScaleGrid(self.scales, block, is_e8m0=True).spread(stored, box)
        values: NDArray[np.float32] = (E2M1[codes] if self.bits == 4 else _e4m3(codes)) * scales
        return values


def _e4m3(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    import ml_dtypes

    values: NDArray[np.float32] = np.ascontiguousarray(codes).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    return values
