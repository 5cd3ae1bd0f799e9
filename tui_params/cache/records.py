"""The bytes of a cache file: the statistics of the tensors of one state of one data file.

A cache file is ``MAGIC``, the 16 bytes of ``layout``, the BLAKE2b-128 of the rest, and the rest: a msgpack array of
an Identity and a map from the 16 bytes of ``tensor_key`` to a record. A record is a msgpack array of the fields of
Measured or, if an integer is beyond the 64 bits of msgpack, a byte string with the same as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import msgspec

from tui_params.core.channels import Channel, Channels, Side
from tui_params.core.figures import QUANTILES, SPARK_BINS, Figures
from tui_params.core.tensor import TensorInfo

ENGINE = 3
"""Raise this when the same bytes give other statistics than before: a fault of the engine or of a reader was mended."""

MAGIC = b"TUIPFIG\n"
_DIGEST = 16
_HEAD = len(MAGIC) + 2 * _DIGEST
_JSON = b"\xc4\xc5\xc6"
"""The first bytes of a msgpack byte string, by its length: msgpack's spec, "bin format family"."""


class Measured(msgspec.Struct, frozen=True, gc=False):
    """The statistics of one tensor; ``channels`` is None if it has none, or if they were not computed."""

    figures: Figures
    channels: Channels | None


class Identity(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One state of one data file. ``ctime_ns``, the last change of the inode, reveals an mtime that was set back."""

    path: bytes
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


# The same structs without the names of their fields: half the bytes.
class _Channel(Channel, frozen=True, gc=False, array_like=True):
    pass


class _Side(Side, frozen=True, gc=False, array_like=True):
    largest: tuple[_Channel, ...]


class _Channels(Channels, frozen=True, gc=False, array_like=True):
    rows: _Side
    columns: _Side | None


class _Figures(Figures, frozen=True, gc=False, array_like=True):
    pass


class _Measured(msgspec.Struct, frozen=True, gc=False, array_like=True):
    figures: _Figures
    channels: _Channels | None


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


# Made when the first cache file is read: the explorer imports this before its first screen.
@cache
def _decoder() -> msgspec.msgpack.Decoder[_Measured]:
    return msgspec.msgpack.Decoder(_Measured)


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


def encode_record(figures: Figures, channels: Channels | None) -> bytes:
    """One record."""
    record = msgspec.convert(Measured(figures, channels), _Measured, from_attributes=True)
    try:
        return _encode(record)
    except OverflowError:
        import json

        return _encode(json.dumps(msgspec.to_builtins(record)).encode())


def decode_record(data: bytes | msgspec.Raw) -> Measured | None:
    """The reverse of ``encode_record``; None if ``data`` is no record."""
    try:
        if bytes(memoryview(data)[:1]) in _JSON:
            import json

            record = msgspec.convert(json.loads(msgspec.msgpack.decode(data, type=bytes)), _Measured)
        else:
            record = _decoder().decode(data)
        return msgspec.convert(record, Measured, from_attributes=True)
    except (msgspec.MsgspecError, ValueError):
        return None


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
