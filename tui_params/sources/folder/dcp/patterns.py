"""The instructions with which pickle writes what a ``.metadata`` has thousands of, as patterns over its bytes.

A pattern has the memo numbers of the classes and keys that all of its kind refer to, as they were met first. What it
matches has one meaning only: every instruction in it is known by its first byte, and says how long it is (CPython's
Lib/pickletools.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

INT = rb"(?:K.|M..|J.{4}|\x8a(?:\x05.{5}|\x06.{6}|\x07.{7}|\x08.{8}))"
_SIZES = rb"\)|" + INT + rb"\x85\x94|" + INT + rb"{2}\x86\x94|" + INT + rb"{3}\x87\x94|\(" + INT + rb"{4,64}t\x94"
TEXT = rb"h.|j.{4}|\x8c.[ -~]*\x94"
_OBJECT = rb"\)\x81\x94}\x94\("
_BOOL = rb"[\x88\x89]"

PLACE = "torch.distributed.checkpoint.filesystem"
LIST = "torch.distributed.checkpoint.metadata"

Memo = Mapping[object, int]
"""The numbers under which texts and globals (as pairs of module and name) were stored first."""


def _refer(number: int) -> bytes:
    return re.escape(b"h" + bytes([number]) if number < 256 else b"j" + number.to_bytes(4, "little"))


def _size(memo: Memo) -> bytes:
    """A ``torch.Size``: the group has its numbers."""
    return _refer(memo["torch", "Size"]) + rb"(" + _SIZES + rb")\x85\x94R\x94"


def tensor_pattern(memo: Memo) -> bytes:
    """A TensorStorageMetadata up to its list of chunks; the groups are its type and its size. Raises KeyError."""
    properties = rb"\)\x81\x94\((h.|j.{4})" + _refer(memo["torch.serialization._get_layout", "torch.strided"])
    properties += _BOOL + _refer(memo["_MEM_FORMAT_ENCODING", 0]) + _BOOL + rb"t\x94b"
    return (
        _refer(memo[LIST, "TensorStorageMetadata"])
        + _OBJECT
        + _refer(memo["properties"])
        + _refer(memo[LIST, "TensorProperties"])
        + properties
        + _refer(memo["size"])
        + _size(memo)
        + _refer(memo["chunks"])
        + rb"]\x94"
    )


def chunk_pattern(memo: Memo) -> bytes:
    """A ChunkStorageMetadata; the groups are where it begins and its size. Raises KeyError."""
    first, second = _refer(memo["offsets"]) + _size(memo), _refer(memo["sizes"]) + _size(memo)
    return _refer(memo[LIST, "ChunkStorageMetadata"]) + _OBJECT + first + second + b"ub"


def place_pattern(memo: Memo) -> bytes:
    """A MetadataIndex and its _StorageInfo. Raises KeyError.

    The groups are the name of the tensor, the number and the start of the chunk, the file, the offset and the length.
    """
    index = _refer(memo["fqn"]) + rb"(" + TEXT + rb")" + _refer(memo["index"]) + rb"(" + INT + rb")"
    index += _refer(memo["offset"]) + _size(memo)
    info = _refer(memo["relative_path"]) + rb"(" + TEXT + rb")"
    info += _refer(memo["offset"]) + rb"(" + INT + rb")" + _refer(memo["length"]) + rb"(" + INT + rb")"
    classes = _refer(memo[LIST, "MetadataIndex"]), _refer(memo[PLACE, "_StorageInfo"])
    return classes[0] + _OBJECT + index + b"ub" + classes[1] + _OBJECT + info + b"ub"


def number_of(raw: bytes) -> int:
    """The value of one INT."""
    if raw[:1] == b"K":
        return raw[1]
    if raw[:1] == b"\x8a":
        return int.from_bytes(raw[2:], "little", signed=True)
    return int.from_bytes(raw[1:], "little", signed=raw[:1] == b"J")


_INT = re.compile(INT, re.DOTALL)


def sizes_in(raw: bytes) -> tuple[int, ...]:
    """The numbers of a ``torch.Size``, as the group has them."""
    return tuple(map(number_of, _INT.findall(raw.removeprefix(b"("))))
