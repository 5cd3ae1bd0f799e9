"""Nodes of a graph that say what its initialisers mean: their operators, inputs, outputs and numbers.

onnx/onnx.proto: NodeProto.input 1, output 2, op_type 4, attribute 5, domain 7; AttributeProto.name 1, i 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tui_params.sources.bytes.protobuf import BYTES, VARINT, Bytes, Field, fields
from tui_params.sources.onnx.tensor import MAX_NAME_NBYTES, read_text

DEQUANTIZE, GATHER = "DequantizeLinear", "Gather"

CODES: Mapping[str, int] = {
    DEQUANTIZE: 0, "QLinearMatMul": 3, "QLinearConv": 3, "MatMulInteger": 1, "ConvInteger": 1,
    "MatMulNBits": 1, "GatherBlockQuantized": 0, "QGemm": 3, "MatMulIntegerToFloat": 1, "DynamicQuantizeMatMul": 1,
}  # fmt: skip
"""Which input the codes of a weight are; in the second line, operators of onnxruntime (ContribOperators.md)."""

DYNAMIC = "DynamicQuantizeLinear"
WITHOUT_SCALE = frozenset({"MatMulInteger", "ConvInteger"})
BEHIND = frozenset({"Cast", "Mul"})
"""What makes numbers of the integers of those, with the scales of both sides."""

READ = frozenset({*CODES, *BEHIND, DYNAMIC, GATHER})
LENGTHS = frozenset(map(len, READ))

_MOST_INPUTS = 8
_MOST_OUTPUTS = 3
_MOST_ATTRIBUTES = 8


class Node(msgspec.Struct, frozen=True):
    """One node, and the prefixes of the graphs it is in, outermost first. ``attributes`` are those that are numbers."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, int]
    domain: str
    scopes: tuple[str, ...]

    def input(self, place: int) -> str:
        """The name of an input; empty if there is none."""
        return self.inputs[place] if place < len(self.inputs) else ""


def read_node(data: Bytes, node: Field, operator: str, scopes: tuple[str, ...]) -> Node:
    """The node in the bytes of a field. Raises BadMessageError."""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: dict[str, int] = {}
    domain = ""
    for field in fields(data, node.start, min(node.stop, data.size)):
        if field.kind != BYTES:
            continue
        if field.number == 1 and len(inputs) < _MOST_INPUTS:
            inputs.append(read_text(data, field, MAX_NAME_NBYTES))
        elif field.number == 2 and len(outputs) < _MOST_OUTPUTS:
            outputs.append(read_text(data, field, MAX_NAME_NBYTES))
        elif field.number == 5 and len(attributes) < _MOST_ATTRIBUTES:
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
    return Node(operator, tuple(inputs), tuple(outputs), attributes, domain, scopes)
