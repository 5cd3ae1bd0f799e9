"""Quantised layers in TorchScript files: what the positions in their states mean.

The names are those that a state dict, and the same layer in memory, has.
"""

from __future__ import annotations

from typing import Any

from tui_params.sources.inert_pickle.values import Obj, Stub

Fields = list[tuple[str, Any]]

_CLASSES = "__torch__.torch.classes.quantized"
_CONVOLUTIONS = (
    "__torch__.torch.ao.nn.quantized.",
    "__torch__.torch.ao.nn.intrinsic.quantized.",
    "__torch__.torch.nn.quantized.",
    "__torch__.torch.nn.intrinsic.quantized.",
)
# torch/ao/nn/quantized/modules/conv.py, Conv2d.__getstate__
_CONVOLUTION = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "transposed", "output_padding",
    "groups", "padding_mode", "weight", "bias", "scale", "zero_point", "training",
)  # fmt: skip


def packed_fields(value: Obj) -> Fields | None:
    """What a quantised layer, or its packed weights, hold, by name; "" is the name of the object itself.

    None for every other object.
    """
    cls, state = value.cls, value.state
    if type(cls) is not Stub or type(state) is not tuple:
        return None
    if cls.module == _CLASSES and cls.name == "LinearPackedParamsBase" and len(state) == 2:
        return [(str(index), part) for index, part in enumerate(state) if part is not None]
    if cls.module == _CLASSES and cls.name == "EmbeddingPackedParamsBase" and len(state) > 1:
        # (version, tensors, numbers, ...): the one tensor is the weight.
        tensors = state[1]
        return [("", tensors[0])] if type(tensors) is list and len(tensors) == 1 else None
    is_layer = cls.module.startswith(_CONVOLUTIONS) and ".conv" in cls.module and len(state) == len(_CONVOLUTION)
    return list(zip(_CONVOLUTION, state, strict=True)) if is_layer else None
