"""The graphs of an ONNX model: their initialisers and constants, and what the model says of itself.

onnx/onnx.proto: ModelProto.graph 7, functions 25; GraphProto.node 1, initializer 5, sparse_initializer 15;
NodeProto.attribute 5; AttributeProto.t 5, g 6, tensors 10, graphs 11, sparse_tensor 22, sparse_tensors 23.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tui_params.sources.bytes.protobuf import BYTES, VARINT, BadMessageError, Bytes, Field, fields
from tui_params.sources.onnx.dequantize import MAX_NODES
from tui_params.sources.onnx.node import BEHIND, DYNAMIC, LENGTHS, READ, WITHOUT_SCALE, Node, read_node
from tui_params.sources.onnx.tensor import Proto, read_entry, read_tensor, read_text
from tui_params.sources.onnx.usual import Run, Usual

MAX_TENSORS = 500_000
MAX_FIELDS = 4_000_000
"""Fields of graphs and nodes that are passed over: a large model has a few hundred thousand."""

_MAX_DEPTH = 8
_MAX_METADATA = 500
_TEXTS = {2: "producer", 3: "producer version", 4: "domain", 6: "documentation"}
_NUMBERS = {1: "IR version", 5: "model version"}


class Found(msgspec.Struct):
    """A tensor under the name that it is listed by, and a note."""

    name: str
    proto: Proto
    note: str = ""


class Walk:
    """The walk through one model. ``tensors``, ``metadata`` and ``nodes``, which may use codes, are what it found.

    ``is_cut`` says that the file ends before the model does, ``fault`` why not everything was looked at.
    """

    def __init__(self, data: Bytes, file: str) -> None:
        """``file`` is the name of the file."""
        self.tensors: list[Found | Run] = []
        self.usual = Usual(data, file)
        self.metadata: dict[str, str] = {}
        self.nodes: list[Node] = []
        self.is_cut = False
        self.fault: str | None = None
        self._data = data
        self._left = MAX_FIELDS
        self._count = 0
        self._has_integers = False
        self._scopes: list[str] = []

    def model(self) -> None:
        """Walk through the whole file."""
        try:
            for field in self._fields(0, self._data.size):
                if field.number == 7 and field.kind == BYTES:
                    self._graph(field, "", 0)
                elif field.number == 25 and field.kind == BYTES:
                    self._function(field)
                else:
                    self._describe(field)
        except BadMessageError:
            self.fault = self.fault or "the model is damaged: what follows the last tensor makes no sense"

    def _fields(self, start: int, stop: int) -> Iterator[Field]:
        """The fields of a message; one that reaches beyond the file is the last."""
        for field in fields(self._data, start, min(stop, self._data.size)):
            self._left -= 1
            if self._left < 0 or self._count >= MAX_TENSORS:
                self.fault = f"only the first {self._count:,} tensors are listed: the model has too many parts"
                raise BadMessageError
            if field.stop > self._data.size and field.kind != VARINT:
                self.is_cut = True
            yield field

    def _describe(self, field: Field) -> None:
        if field.kind == VARINT and field.number in _NUMBERS:
            self.metadata[_NUMBERS[field.number]] = str(field.value)
        elif field.kind == BYTES and field.number in _TEXTS:
            self.metadata[_TEXTS[field.number]] = read_text(self._data, field)
        elif field.kind == BYTES and len(self.metadata) < _MAX_METADATA:
            if field.number == 14:
                key, value = read_entry(self._data, field)
                self.metadata[key] = value
            elif field.number == 8:
                domain, version = "", 0
                for inner in self._fields(field.start, field.stop):
                    if inner.number == 1 and inner.kind == BYTES:
                        domain = read_text(self._data, inner)
                    elif inner.number == 2:
                        version = inner.value
                self.metadata[f"opset {domain or 'ai.onnx'}"] = str(version)

    def _graph(self, graph: Field, prefix: str, depth: int) -> None:
        self._scopes.append(prefix)
        start, stop = graph.start, min(graph.stop, self._data.size)
        while start < stop:
            for field in self._fields(start, graph.stop):
                begin, start = start, field.stop
                if field.kind != BYTES:
                    continue
                if field.number == 5:
                    end = self._usual_tensors(begin, stop, prefix)
                    if end != begin:
                        start = end
                        break  # and go on behind them
                    self._tensor(field, prefix)
                elif field.number == 1:
                    self._node(field, prefix, depth)
                elif field.number == 15:
                    self._sparse(field, prefix)
                elif field.number == 2 and not depth:
                    self.metadata["graph"] = read_text(self._data, field)
        self._scopes.pop()

    def _usual_tensors(self, start: int, stop: int, prefix: str) -> int:
        """Take the initialisers of the usual kind that lie one behind the other, and return where the last one ends."""
        run, end = self.usual.run(start, stop, min(MAX_TENSORS - self._count, self._left))
        self._left -= len(run.names)
        self._count += len(run.names)
        if run.names:
            run.names = [prefix + name for name in run.names] if prefix else run.names
            self.tensors.append(run)
        return end

    def _function(self, function: Field) -> None:
        name = ""
        for field in self._fields(function.start, function.stop):
            if field.number == 1 and field.kind == BYTES:
                name = read_text(self._data, field, 200)
            elif field.number == 7 and field.kind == BYTES:
                self._scopes[:] = [f"{name}."]
                self._node(field, f"{name}.", 1)
        self._scopes.clear()

    def _tensor(self, field: Field, prefix: str, name: str | None = None, note: str = "") -> None:
        proto = read_tensor(self._data, field.start, min(field.stop, self._data.size))
        self.tensors.append(Found(prefix + (proto.name if name is None else name), proto, note))
        self._count += 1

    def _node(self, node: Field, prefix: str, depth: int) -> None:
        """The constants in the attributes of a node, and its subgraphs."""
        name = ""
        operator = ""
        attributes: list[Field] = []
        for field in self._fields(node.start, node.stop):
            if field.kind == BYTES and field.number == 2 and not name:
                # What a Constant is called is what its only output is.
                name = read_text(self._data, field, 200)
            elif field.kind == BYTES and field.number == 5:
                attributes.append(field)
            elif field.kind == BYTES and field.number == 4 and field.stop - field.start in LENGTHS:
                operator = read_text(self._data, field)
        # The others are in every model: they are read where something computes with codes.
        self._has_integers = self._has_integers or operator in WITHOUT_SCALE or operator == DYNAMIC
        is_wanted = operator in READ and (self._has_integers or operator not in BEHIND)
        if is_wanted and len(self.nodes) < MAX_NODES:
            self.nodes.append(read_node(self._data, node, operator, tuple(self._scopes)))
        for attribute in attributes:
            self._attribute(attribute, prefix, name, depth)

    def _attribute(self, attribute: Field, prefix: str, name: str, depth: int) -> None:
        label, number = "", 0
        for field in self._fields(attribute.start, attribute.stop):
            if field.kind != BYTES:
                continue
            if field.number == 1:
                label = read_text(self._data, field, 200)
            elif field.number == 5:
                called = name if label == "value" else f"{name}.{label}"
                self._tensor(field, prefix, called, "a constant of a node of the graph")
            elif field.number == 10:
                self._tensor(field, prefix, f"{name}.{label}.{number}", "a constant of a node of the graph")
                number += 1
            elif field.number in (22, 23):
                self._sparse(field, f"{prefix}{name}.{label}.")
            elif field.number in (6, 11) and depth < _MAX_DEPTH:
                self._graph(field, f"{prefix}{name}.{label}.", depth + 1)
            elif field.number in (6, 11):
                self.fault = f"graphs nested more than {_MAX_DEPTH} times are not looked into"

    def _sparse(self, sparse: Field, prefix: str) -> None:
        name = ""
        for field in self._fields(sparse.start, sparse.stop):
            if field.kind != BYTES or field.number not in (1, 2):
                continue
            if field.number == 1:
                name = read_tensor(self._data, field.start, min(field.stop, self._data.size)).name
            part = "values" if field.number == 1 else "indices"
            self._tensor(field, prefix, f"{name}.{part}", f"the {part} of a sparse initialiser")
