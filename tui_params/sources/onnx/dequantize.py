"""What the nodes of a model that restore codes, or compute with them, say of its initialisers.

onnx/onnx.proto: NodeProto.input 1, op_type 4, attribute 5, domain 7; AttributeProto.name 1, i 3.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from tui_params.core.dequantized import Dequantized
from tui_params.core.text import clean
from tui_params.sources.bytes.protobuf import BYTES, VARINT, Bytes, Field, fields
from tui_params.sources.onnx.tensor import MAX_NAME_NBYTES, read_text, type_of

_DEQUANTIZE = "DequantizeLinear"
OPERATORS = {
    _DEQUANTIZE: 0, "QLinearMatMul": 3, "QLinearConv": 3, "MatMulInteger": 1, "ConvInteger": 1,
    "MatMulNBits": 1, "GatherBlockQuantized": 0, "QGemm": 3, "MatMulIntegerToFloat": 1, "DynamicQuantizeMatMul": 1,
}  # fmt: skip
"""Which input the codes of a weight are; from the second line on, operators of onnxruntime (ContribOperators.md)."""

LENGTHS = frozenset(map(len, OPERATORS))
MAX_NODES = 200_000

_DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Whose operators of that name do the same: that of onnxruntime takes 4 and 16 bits in models of older versions."""

_AXIS = 1
"""The axis where a node does not say one."""


class Node(msgspec.Struct, frozen=True):
    """One node: its operator, the names of its inputs, and the prefixes of the graphs it is in, outermost first."""

    operator: str
    inputs: tuple[str, ...]
    attributes: dict[str, int]
    domain: str
    scopes: tuple[str, ...]


def read_node(data: Bytes, node: Field, operator: str, scopes: tuple[str, ...]) -> Node:
    """The node in the bytes of a field. Raises BadMessageError."""
    inputs: list[str] = []
    attributes: dict[str, int] = {}
    domain = ""
    for field in fields(data, node.start, min(node.stop, data.size)):
        if field.kind != BYTES:
            continue
        if field.number == 1 and len(inputs) < 4:
            inputs.append(read_text(data, field, MAX_NAME_NBYTES))
        elif field.number == 5 and len(attributes) < 8:
            label, value = "", 0
            for part in fields(data, field.start, min(field.stop, data.size)):
                if part.number == 1 and part.kind == BYTES:
                    label = read_text(data, part, 40)
                elif part.number == 3 and part.kind == VARINT:
                    # Two's complement in 64 bits.
                    value = part.value - (part.value >> 63 << 64)
            attributes[label] = value
        elif field.number == 7:
            domain = read_text(data, field, 200)
    return Node(operator, tuple(inputs), attributes, domain, scopes)


def dequantized(nodes: list[Node], names: Collection[str]) -> dict[str, tuple[Dequantized, ...]]:
    """What the nodes make of the tensors of these names, each way once."""
    found: dict[str, list[Dequantized]] = {}
    for node in nodes:
        codes = _resolve(node, OPERATORS[node.operator], names)
        if codes is None or node.domain not in _DOMAINS:
            continue
        made = _made(node, names)
        if made not in found.setdefault(codes, []):
            found[codes].append(made)
    return {name: tuple(ways) for name, ways in found.items()}


def _resolve(node: Node, place: int, names: Collection[str]) -> str | None:
    """The listed name of an input: that of the innermost graph which has it."""
    name = node.inputs[place] if place < len(node.inputs) else ""
    return next((scope + name for scope in reversed(node.scopes) if scope + name in names), None) if name else None


def _made(node: Node, names: Collection[str]) -> Dequantized:
    if node.operator != _DEQUANTIZE:
        return Dequantized(fault=f"a node computes with its codes ({node.operator}): they are not restored here")
    scale, zero = _resolve(node, 1, names), _resolve(node, 2, names)
    if scale is None:
        return Dequantized(fault=f"its scale, {_input(node, 1)}, is no stored tensor: the model computes it")
    if zero is None and len(node.inputs) > 2 and node.inputs[2]:
        return Dequantized(fault=f"its zero point, {_input(node, 2)}, is no stored tensor: the model computes it")
    axis = node.attributes.get("axis", None if node.domain == "com.microsoft" else _AXIS)
    code = node.attributes.get("output_dtype", 0)
    dtype = type_of(code) if code else None
    return Dequantized(scale, zero, axis, node.attributes.get("block_size", 0), dtype)


def _input(node: Node, place: int) -> str:
    return clean(node.inputs[place], 60) if place < len(node.inputs) else "which it needs"
