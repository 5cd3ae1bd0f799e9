"""Weights of 4 bits by bitsandbytes: nf4 and fp4, whose blocks run over the flat tensor; functional.py, QuantState."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tui_params.core.packed.box import Box, lengths
from tui_params.core.packed.codes import pairs
from tui_params.core.packed.weight import Stored
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Nested(msgspec.Struct, frozen=True):
    """The scales of the scales: ``map[absmax] * scales[block] + offset``."""

    scales: TensorInfo
    map: TensorInfo
    block: int
    offset: float


class FourBit(msgspec.Struct, frozen=True):
    """``map[code] * absmax[block]``, with the map of 16 values that lies beside the weight."""

    codes: TensorInfo
    absmax: TensorInfo
    map: TensorInfo
    shape: tuple[int, ...]
    block: int
    nested: Nested | None = None

    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        if not box:
            return self._run(stored, 0, 1).reshape(())
        out = np.empty(lengths(box), np.float32)
        if not out.size:
            return out
        # Whole rows of what is in the box lie one after the other from some dimension on.
        whole = len(box)
        while whole and box[whole - 1] == (0, self.shape[whole - 1]):
            whole -= 1
        strides = [prod(self.shape[axis + 1 :]) for axis in range(len(box))]
        cut = max(whole - 1, 0)
        inner = strides[cut]
        first, stop = box[cut]
        for at in np.ndindex(*lengths(box[:cut])):
            start = sum((box[axis][0] + place) * strides[axis] for axis, place in enumerate(at))
            run = self._run(stored, start + first * inner, start + stop * inner)
            out[at] = run.reshape(out.shape[cut:])
        return out

    def _run(self, stored: Stored, start: int, stop: int) -> NDArray[np.float32]:
        """The elements ``start:stop`` of the flat tensor."""
        begin = start // 2
        packed = stored.flat(self.codes, begin, -(-stop // 2))
        table = stored.whole(self.map).reshape(-1).astype(np.float32)
        values = pairs(packed, table, is_high_first=True)[start - 2 * begin : stop - 2 * begin]
        first, last = start // self.block, -(-stop // self.block)
        scales = self._scales(stored, first, last)
        if start % self.block == 0 and stop % self.block == 0:
            values.reshape(-1, self.block)[...] *= scales[:, None]
        else:
            values *= np.repeat(scales, self.block)[start - first * self.block : stop - first * self.block]
        return values

    def _scales(self, stored: Stored, first: int, stop: int) -> NDArray[np.float32]:
        scales = stored.box(self.absmax, ((first, stop),))
        nested = self.nested
        if nested is None:
            return scales.astype(np.float32)
        begin, end = first // nested.block, -(-stop // nested.block)
        outer = np.repeat(stored.floats(nested.scales, ((begin, end),)), nested.block)
        values: NDArray[np.float32] = stored.whole(nested.map).reshape(-1).astype(np.float32)[scales]
        values = values * outer[first - begin * nested.block : stop - begin * nested.block]
        return values + np.float32(nested.offset)
