"""Weights of 8 bits that keep their shape: fp8 and int8 of compressed-tensors, DeepSeek, modelopt, quanto, torchao."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tui_params.core.packed.box import Box
from tui_params.core.packed.grid import ScaleGrid
from tui_params.core.packed.weight import Stored
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Scaled(msgspec.Struct, frozen=True):
    """``(q - zero) * scale``, with a scale for the tensor, each row, or each block.

    ``factor`` is a number by which every scale is multiplied: 1/127 of bitsandbytes' int8.
    """

    codes: TensorInfo
    scale: ScaleGrid
    zero: ScaleGrid | None = None
    factor: float = 1.0

    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        values = stored.floats(self.codes, box)
        if self.zero is not None:
            values -= self.zero.spread(stored, box)
        scale = self.scale.spread(stored, box)
        if self.factor != 1.0:
            # q * scale * (1/127), in that order: bitsandbytes/functional.py, int8_vectorwise_dequant.
            return values * scale * np.float32(self.factor)
        values *= scale
        return values
