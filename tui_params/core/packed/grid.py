"""ScaleGrid: the scales (or zero points) of blocks of a weight, spread over its elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tui_params.core.packed.box import Box
from tui_params.core.packed.codes import E8M0
from tui_params.core.packed.weight import Stored
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ScaleGrid(msgspec.Struct, frozen=True):
    """One number for each block of a weight; ``block`` is the size of a block along each dimension of the weight.

    The last block of a dimension may be cut. The tensor has a dimension for each of the weight's, or fewer, which are
    the weight's first ones, or one element for all. ``is_e8m0``: its bytes are powers of two.
    """

    info: TensorInfo
    block: tuple[int, ...]
    is_e8m0: bool = False

    def spread(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        """The numbers for the elements of a box, as float32, of a shape that broadcasts to that of the box."""
        if self.info.numel == 1:
            return self._numbers(stored, tuple((0, 1) for _ in self.info.shape)).reshape((1,) * len(box))
        axes = list(zip(box, self.block, strict=True))[: self.info.ndim]
        numbers = self._numbers(stored, tuple((start // size, -(-stop // size)) for (start, stop), size in axes))
        for axis, ((start, stop), size) in enumerate(axes):
            if numbers.shape[axis] > 1:
                first = start // size * size
                numbers = np.repeat(numbers, size, axis)
                numbers = numbers[(slice(None),) * axis + (slice(start - first, stop - first),)]
        return numbers.reshape(numbers.shape + (1,) * (len(box) - numbers.ndim))

    def _numbers(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        raw = stored.box(self.info, box)
        if self.is_e8m0:
            return E8M0[raw.view(np.uint8)]
        return raw.astype(np.float32)


def by_group(
    operation: np.ufunc, values: NDArray[np.float32], numbers: NDArray[np.float32], group: int, start: int
) -> None:
    """Apply ``operation`` in place to values and the numbers of their groups along the last dimension.

    The first value is number ``start`` of the weight's row, the first of the numbers that of its group.
    """
    count = values.shape[-1]
    if values.flags.c_contiguous and start % group == 0 and count % group == 0:
        grouped = values.reshape(*values.shape[:-1], count // group, group)
        operation(grouped, numbers[..., None], out=grouped)
        return
    first = start % group
    operation(values, np.repeat(numbers, group, -1)[..., first : first + count], out=values)


def grid_over(info: TensorInfo, shape: tuple[int, ...], block: tuple[int, ...] | None = None) -> ScaleGrid | None:
    """The grid of a scale beside a weight of ``shape``; ``block`` where something states it.

    Without it, each dimension of the scale must be 1, that of the weight, or divide it. None if the shapes do not fit.
    """
    is_e8m0 = info.dtype.name in ("uint8", "float8_e8m0fnu")
    if info.numel == 1:
        return ScaleGrid(info, shape, is_e8m0)
    if not info.ndim or info.ndim > len(shape):
        return None
    if block is not None and len(block) == len(shape):
        fits = info.shape == tuple(-(-size // step) for size, step in zip(shape, block, strict=True))
        return ScaleGrid(info, block, is_e8m0) if fits else None
    sizes = list(shape)
    for axis, (count, size) in enumerate(zip(info.shape, shape, strict=False)):
        if count < 1 or size % count:
            return None
        sizes[axis] = size // count
    return ScaleGrid(info, tuple(sizes), is_e8m0)
