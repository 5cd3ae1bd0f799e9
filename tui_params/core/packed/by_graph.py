"""Weights that a graph beside the tensors restores, or computes with: what its nodes make of one tensor."""

from __future__ import annotations

from tui_params.core.dequantized import Dequantized
from tui_params.core.packed.in_bytes import tell_in_bytes
from tui_params.core.packed.linear import tell_linear
from tui_params.core.packed.sought import Sought, Untold
from tui_params.core.packed.weight import PackedWeight
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean

_ENDINGS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("_quantized", "", ("_scale", "_quantized_scale")),
    ("_DQ_Q2", "", ("_DQ_scales",)),
    ("_DQ_Q4", "", ("_DQ_scales",)),
    ("_DQ_Q8", "", ("_DQ_scales",)),
    ("_Q2", "", ("_scales",)),
    ("_Q4", "", ("_scales",)),
    ("_Q8", "", ("_scales",)),
    (".qweight", ".weight", (".scales",)),
)
"""How onnxruntime calls codes, what that was before, and how it calls the scale then; that of a bias is the second."""


def tell_by_graph(sought: Sought, info: TensorInfo, ways: tuple[Dequantized, ...]) -> PackedWeight:
    """The weight that the nodes of a graph make of a tensor. Raises Untold."""
    way = ways[0]
    fault = next((each.fault for each in ways if each.fault is not None), None)
    if fault is not None:
        raise Untold(fault)
    if len(ways) > 1:
        scales = dict.fromkeys(clean(each.scale, 40) for each in ways[:3])
        nodes = dict.fromkeys(each.node or "DequantizeLinear" for each in ways[:3])
        how = f": with the scales {', '.join(scales)}" if len(scales) > 1 else f", with the scale {', '.join(scales)}"
        raise Untold(f"{len(ways):,} nodes use it, each otherwise{how} ({', '.join(nodes)})")
    name = _name(sought, info.name, way.scale)
    return tell_in_bytes(sought, info, way, name) if way.bits else tell_linear(sought, info, way, name)


def _name(sought: Sought, codes: str, scale: str) -> str:
    """The name of the weight: onnxruntime puts ``W_quantized`` and ``W_scale`` in the place of ``W``."""
    for ending, before, scales in _ENDINGS:
        stem = codes.removesuffix(ending)
        if not stem or stem == codes or scale not in [stem + each for each in scales]:
            continue
        rivals = (stem + other for other, to, _ in _ENDINGS if other != ending and to == before)
        if sought.find(stem + before) is None and not any(map(sought.find, rivals)):
            return stem + before
    return codes
