"""Formats whose files begin with numbers and no name: told only where the numbers and the size of the file agree."""

from __future__ import annotations

from math import prod
from struct import unpack_from

from tui_params.sources.bytes.content import Peek
from tui_params.sources.bytes.protobuf import BYTES, VARINT, BadMessageError, Bytes, fields, varint

_SIZES = {
    0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2, 23: 8, 24: 16, 32: 1, 33: 1,
}  # fmt: skip
"""Bytes of an element by its type; paddle/fluid/framework/framework.proto, VarType.Type."""

_HEAD = bytes(16)
"""Version 0 (u32), no levels of detail (u64), and version 0 of the tensor (u32)."""


def is_paddle(peek: Peek) -> bool:
    """Whether the file has tensors as Paddle writes them one by one, to the end or at least one and another's head.

    paddle/phi/core/framework/dense_tensor_serialize.cc: versions, the length of a TensorDesc (i32), that, the values.
    """
    if not peek.head.startswith(_HEAD):
        return False
    data = Bytes(peek.read, peek.size)
    try:
        end = _end_of_tensor(data, 0)
        return end == peek.size or (end < peek.size and _end_of_tensor(data, end) <= peek.size)
    except BadMessageError:
        return False


def _end_of_tensor(data: Bytes, start: int) -> int:
    """Where a tensor ends. Raises BadMessageError if none begins there."""
    head = data.at(start, 20)
    length = int.from_bytes(head[16:20], "little")
    begin = start + 20
    if len(head) < 20 or head[:16] != _HEAD or not 2 <= length <= 200 or begin + length > data.size:
        raise BadMessageError
    kind, dims = -1, []
    for field in fields(data, begin, begin + length):
        if field.number == 1 and field.kind == VARINT:
            kind = field.value
        elif field.number == 2 and field.kind == VARINT:
            dims.append(field.value)
        elif field.number == 2 and field.kind == BYTES:
            at = field.start
            while at < field.stop:
                dim, at = varint(data, at, field.stop)
                dims.append(dim)
        else:
            raise BadMessageError
    if kind not in _SIZES:
        raise BadMessageError
    return begin + length + prod(dims) * _SIZES[kind]


def is_llama2c(peek: Peek) -> bool:
    """Whether the file is a model of llama2.c from before it had a head: seven sizes, and as many float32 as they make.

    llama2.c/export.py, legacy_export. The number of words is negative where the head is not that of the embedding.
    """
    if len(peek.head) < 28:
        return False
    sizes: tuple[int, ...] = unpack_from("<7i", peek.head)
    dim, hidden, layers, heads, kv_heads, words, length = sizes
    if min(dim, hidden, layers, heads, kv_heads, length) < 1 or not words or dim % heads or heads % kv_heads:
        return False
    of_head = dim // heads
    layer = 2 * dim + 2 * dim * dim + 2 * dim * kv_heads * of_head + 3 * dim * hidden
    tables = 2 if words < 0 else 1
    numel = tables * abs(words) * dim + layers * layer + dim + length * (of_head // 2) * 2
    return peek.size == 28 + 4 * numel
