"""What the nodes of a model that restore codes, or compute with them, say of its initialisers.

onnx 1.23, docs/Operators.md; of onnxruntime 1.32, docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tui_params.core.dequantized import Dequantized
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.sources.onnx.flow import Flow, resolve
from tui_params.sources.onnx.node import CODES, DEQUANTIZE, WITHOUT_SCALE, Node
from tui_params.sources.onnx.tensor import type_of

MAX_NODES = 200_000

_DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Whose operators of that name do the same: that of onnxruntime takes 4 and 16 bits in models of older versions."""

_AXIS = 1
"""The axis where a DequantizeLinear node does not say one."""

_BITS, _GATHER_BLOCK, _GATHER_AXIS = 4, 128, 1
"""What MatMulNBits and GatherBlockQuantized take where they do not say it."""

_WHOLE_AXIS = 1 << 60

_SCALES: Mapping[str, tuple[int, int]] = {
    DEQUANTIZE: (1, 2), "QLinearMatMul": (4, 5), "QLinearConv": (4, 5), "QGemm": (4, 5), "MatMulIntegerToFloat": (3, 5),
    "DynamicQuantizeMatMul": (2, 3), "MatMulNBits": (2, 3), "GatherBlockQuantized": (2, 3),
}  # fmt: skip
"""Which inputs are the scale and the zero point of the codes."""

_ZERO_ALONE = 3
"""The same of the zero point where the scale follows later."""

_OUTPUTS_LAST, _OUTPUTS_FIRST = "inputs by outputs", "outputs by inputs"


def dequantized(nodes: Sequence[Node], tensors: Mapping[str, TensorInfo]) -> dict[str, tuple[Dequantized, ...]]:
    """What the nodes make of the tensors, each way once."""
    found: dict[str, list[Dequantized]] = {}
    flow = Flow(nodes)
    for node in nodes:
        place = CODES.get(node.operator)
        if place is None or node.domain not in _DOMAINS:
            continue
        codes, gathered = resolve(node, node.input(place), tensors), False
        if codes is None and node.operator == DEQUANTIZE:
            gather = flow.gathered(node)
            if gather is not None:
                codes, gathered = resolve(gather, gather.input(0), tensors), True
        if codes is None:
            continue
        made = _made(node, tensors[codes], flow, tensors)
        if gathered and made.fault is None:
            made = _of_parts(made, tensors)
        if made not in found.setdefault(codes, []):
            found[codes].append(made)
    return {name: tuple(ways) for name, ways in found.items()}


def _made(node: Node, codes: TensorInfo, flow: Flow, tensors: Mapping[str, TensorInfo]) -> Dequantized:
    place, zero_place = _SCALES.get(node.operator, (0, _ZERO_ALONE))
    if node.operator in WITHOUT_SCALE:
        scale = flow.scale_behind(node, tensors)
        if scale is None:
            what = f"a node computes with its codes ({node.operator}), and what comes out of it is not"
            return Dequantized(fault=f"{what} multiplied by the scale of its other side and one stored tensor")
    else:
        scale = resolve(node, node.input(place), tensors)
        if scale is None:
            return Dequantized(fault=f"its scale, {_input(node, place)}, is no stored tensor: the model computes it")
    zero = resolve(node, node.input(zero_place), tensors)
    if zero is None and node.input(zero_place):
        return Dequantized(
            fault=f"its zero point, {_input(node, zero_place)}, is no stored tensor: the model computes it"
        )
    return _formed(node, codes, Dequantized(scale, zero, node=node.operator), tensors)


def _formed(node: Node, codes: TensorInfo, way: Dequantized, tensors: Mapping[str, TensorInfo]) -> Dequantized:
    """The way with what the node says of axes, blocks, bits and shapes."""
    said, replace = node.attributes, msgspec.structs.replace
    match node.operator:
        case "DequantizeLinear":
            axis = said.get("axis", None if node.domain == "com.microsoft" else _AXIS)
            code = said.get("output_dtype", 0)
            dtype = type_of(code) if code else None
            return replace(way, axis=axis, block=said.get("block_size", 0), dtype=dtype, node="")
        case "MatMulNBits":
            return _n_bits(node, way, tensors)
        case "GatherBlockQuantized":
            is_packed = codes.dtype.name == "uint8"
            block = said.get("block_size", _GATHER_BLOCK) or (0 if is_packed else _WHOLE_AXIS)
            axis = said.get("quantize_axis", _GATHER_AXIS)
            return replace(way, axis=axis, block=block, bits=said.get("bits", _BITS) if is_packed else 0)
        case "QLinearConv":
            return replace(way, axis=0)
        case "ConvInteger":
            # A factor for each channel would have to say of which dimension.
            return replace(way, axis=None)
        case "QGemm" if said.get("transB", 0):
            return replace(way, axis=0, layout=_OUTPUTS_FIRST)
    return replace(way, axis=-1, layout=_OUTPUTS_LAST)


def _n_bits(node: Node, way: Dequantized, tensors: Mapping[str, TensorInfo]) -> Dequantized:
    said = node.attributes
    if said.get("weight_prepacked", 0):
        return Dequantized(fault="it is stored in the order of one processor (weight_prepacked), which is not restored")
    groups = resolve(node, node.input(4), tensors)
    if groups is None and node.input(4):
        return Dequantized(fault=f"the groups of its inputs, {_input(node, 4)}, are no stored tensor")
    return msgspec.structs.replace(
        way,
        block=said.get("block_size", 0),
        bits=said.get("bits", _BITS),
        shape=(said.get("N", 0), said.get("K", 0)),
        groups=groups,
        layout=_OUTPUTS_FIRST,
    )


def _of_parts(way: Dequantized, tensors: Mapping[str, TensorInfo]) -> Dequantized:
    """The way where a Gather node takes parts of the codes first, so that a place in them is none in the tensor."""
    for name in (way.scale, way.zero):
        if name is not None and tensors[name].numel > 1:
            what = f"a node takes parts of it (Gather) before it is restored, and {clean(name, 60)} has"
            return Dequantized(fault=f"{what} {tensors[name].numel:,} elements")
    return msgspec.structs.replace(way, axis=None, block=0, node="Gather and DequantizeLinear")


def _input(node: Node, place: int) -> str:
    return clean(node.input(place), 60) or "which it needs"
