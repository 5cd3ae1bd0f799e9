"""ONNX models byte by byte, without the package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def number(value: int) -> bytes:
    """A varint; a negative number has ten bytes."""
    value &= 0xFFFFFFFFFFFFFFFF
    raw = b""
    while value > 0x7F:
        raw += bytes([value & 0x7F | 0x80])
        value >>= 7
    return raw + bytes([value])


def field(place: int, value: int | bytes | str) -> bytes:
    """One field: a varint, or a length and bytes."""
    if isinstance(value, int):
        return number(place << 3) + number(value)
    raw = value.encode() if isinstance(value, str) else value
    return number(place << 3 | 2) + number(len(raw)) + raw


def tensor(name: str, dims: Sequence[int], code: int, *more: bytes, raw: bytes | None = None) -> bytes:
    """A TensorProto; ``more`` are further fields."""
    found = b"".join(field(1, dim) for dim in dims) + field(2, code) + field(8, name) + b"".join(more)
    return found if raw is None else found + field(9, raw)


def external(name: str, dims: Sequence[int], code: int, **entries: str) -> bytes:
    """A TensorProto whose values are in another file."""
    pairs = [field(13, field(1, key) + field(2, value)) for key, value in entries.items()]
    return tensor(name, dims, code, *pairs, field(14, 1))


def model(tensors: Iterable[bytes], *more: bytes) -> bytes:
    """A ModelProto whose graph has these initialisers, and ``more`` fields."""
    graph = field(2, "g") + b"".join(field(5, one) for one in tensors) + b"".join(more)
    opset = field(8, field(1, "") + field(2, 18))
    return field(1, 8) + field(2, "tests") + field(7, graph) + opset + field(14, field(1, "key") + field(2, "value"))


def restoring(
    inputs: Sequence[str], output: str = "y", domain: str = "", operator: str = "DequantizeLinear", /, **attributes: int
) -> bytes:
    """A node of a graph, of these inputs."""
    node = b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, operator)
    for name, value in attributes.items():
        node += field(5, field(1, name) + field(3, value) + field(20, 2))
    return field(1, node + (field(7, domain) if domain else b""))
