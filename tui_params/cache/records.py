"""The bytes of a cache file: the statistics of the tensors of one state of one data file.

A cache file is ``MAGIC``, the 16 bytes of ``layout``, the BLAKE2b-128 of the rest, and the rest: a msgpack array of
an Identity and a map from the 16 bytes of ``tensor_key`` to a record. A record is that of ``core.figure_records``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import msgspec

from tui_params.core.channels import Channel, Channels, Side
from tui_params.core.figure_records import Measured
from tui_params.core.figures import QUANTILES, SPARK_BINS, Figures
from tui_params.core.tensor import TensorInfo

ENGINE = 3
"""Raise this when the same bytes give other statistics than before: a fault of the engine or of a reader was mended."""

MAGIC = b"TUIPFIG\n"
_DIGEST = 16
_HEAD = len(MAGIC) + 2 * _DIGEST


class Identity(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One state of one data file. ``ctime_ns``, the last change of the inode, reveals an mtime that was set back."""

    path: bytes
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class _Contents(msgspec.Struct, frozen=True, gc=False, array_like=True):
    identity: Identity
    records: dict[bytes, msgspec.Raw]


def _digest(data: bytes | memoryview, key: bytes = b"") -> bytes:
    # The first import takes 2 ms, before the first screen.
    from hashlib import blake2b

    return blake2b(data, digest_size=_DIGEST, key=key).digest()


def describe_layout(engine: int, *structs: type[msgspec.Struct]) -> bytes:
    """16 bytes that change when records change: with the engine, and with the names and types of the fields."""
    fields = [(struct.__name__, list(struct.__annotations__.items())) for struct in structs]
    return _digest(repr((engine, QUANTILES, SPARK_BINS, fields)).encode())


@cache
def layout() -> bytes:
    """That of the records here."""
    return describe_layout(ENGINE, Measured, Identity, Figures, Channels, Side, Channel)


_encode = msgspec.msgpack.Encoder().encode


@cache
def _contents_decoder() -> msgspec.msgpack.Decoder[_Contents]:
    return msgspec.msgpack.Decoder(_Contents)


def tensor_key(info: TensorInfo) -> bytes:
    """16 bytes for one tensor of a data file, made from its name, type, shape, and the place of its elements."""
    facts = (info.name, info.dtype.name, info.shape, info.offset, info.stride)
    return _digest(repr(facts).encode("utf-8", "surrogatepass"))


def file_name(path: bytes) -> str:
    """The name of the cache file for the data file at ``path``; it differs from layout to layout."""
    return _digest(path, layout()).hex() + ".figures"


def pack(identity: Identity, records: Mapping[bytes, bytes | msgspec.Raw]) -> bytes:
    """A cache file."""
    contents = _Contents(identity, {key: msgspec.Raw(record) for key, record in records.items()})
    rest = _encode(contents)
    return b"".join((MAGIC, layout(), _digest(rest), rest))


def unpack(data: bytes) -> tuple[Identity, dict[bytes, msgspec.Raw]]:
    """The reverse of ``pack``; the records share the memory of ``data``. Raises ValueError that says what is wrong."""
    if len(data) < _HEAD or not data.startswith(MAGIC):
        raise ValueError("it is no cache file")
    if data[len(MAGIC) : len(MAGIC) + _DIGEST] != layout():
        raise ValueError("it is of another version")
    rest = memoryview(data)[_HEAD:]
    if _digest(rest) != data[_HEAD - _DIGEST : _HEAD]:
        raise ValueError("it is damaged")
    try:
        contents = _contents_decoder().decode(rest)
    except msgspec.MsgspecError:
        raise ValueError("it is damaged") from None
    return contents.identity, contents.records
