"""Dequantized: what a graph that is stored beside the tensors makes of one of them before it uses it."""

from __future__ import annotations

import msgspec

from tui_params.core.dtypes import DType


class Dequantized(msgspec.Struct, frozen=True):
    """``(codes - zero) * scale`` of a tensor, as a node of a graph says; DequantizeLinear of ONNX.

    ``scale`` and ``zero`` are names of tensors of the source. A scale of more than one element has one for each index
    of ``axis``, or for each ``block`` of them (then it has as many dimensions as the codes). ``dtype`` is the type of
    the result, None for that of the scale. ``fault`` says why it is not known what the node makes of them.
    """

    scale: str = ""
    zero: str | None = None
    axis: int | None = None
    block: int = 0
    dtype: DType | None = None
    fault: str | None = None
