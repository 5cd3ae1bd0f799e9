"""Weights of 4 bits in E2M1 with a scale for 16 or 32 of them: NVFP4 and MXFP4, also as gpt-oss stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from tui_params.core.packed.box import Box
from tui_params.core.packed.codes import E2M1, E8M0, pairs
from tui_params.core.packed.grid import ScaleGrid
from tui_params.core.packed.weight import Stored
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Micro(msgspec.Struct, frozen=True):
    """``E2M1[code] * scale``, where the scale is multiplied by a number for the whole tensor, or divided by it.

    compressed-tensors divides (``weight_global_scale``), modelopt multiplies (``weight_scale_2``).
    """

    codes: TensorInfo
    scale: ScaleGrid
    overall: TensorInfo | None = None
    use: Literal["divide", "multiply"] = "divide"

    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        start, stop = box[-1]
        packed = stored.box(self.codes, (*box[:-1], (start // 2, -(-stop // 2))))
        begin = start - start // 2 * 2
        values = pairs(packed, E2M1, is_high_first=False)[..., begin : begin + stop - start]
        scales = self.scale.spread(stored, box)
        if self.overall is not None:
            overall = stored.whole(self.overall).reshape(-1)[0].astype(np.float32)
            scales = scales / overall if self.use == "divide" else scales * overall
        values *= scales
        return values


class GptOss(msgspec.Struct, frozen=True):
    """``E2M1[code] * 2^(scale-127)`` of experts, with the last two dimensions exchanged; transformers, mxfp4.py."""

    codes: TensorInfo
    scales: TensorInfo

    def restore(self, stored: Stored, box: Box) -> NDArray[np.float32]:
        *experts, (start, stop), outputs = box
        first, last = start // 32, -(-stop // 32)
        leading = (*experts, outputs)
        packed = stored.box(self.codes, (*leading, (first, last), (0, 16)))
        values = pairs(packed, E2M1, is_high_first=False)
        values *= E8M0[stored.box(self.scales, (*leading, (first, last))).view(np.uint8)][..., None]
        values = values.reshape(*packed.shape[:-2], -1)
        return values[..., start - 32 * first : stop - 32 * first].swapaxes(-1, -2)
