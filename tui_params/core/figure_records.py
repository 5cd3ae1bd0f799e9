"""Records: figures and channels of one tensor as bytes, for files of the cache, other processes and other machines.

A record is a msgpack array of the fields of Measured or, if an integer is beyond the 64 bits of msgpack, a byte string
with the same as JSON.
"""

from __future__ import annotations

from functools import cache

import msgspec

from tui_params.core.channels import Channel, Channels, Side
from tui_params.core.figures import Figures

_JSON = b"\xc4\xc5\xc6"
"""The first bytes of a msgpack byte string, by its length: msgpack's spec, "bin format family"."""


class Measured(msgspec.Struct, frozen=True, gc=False):
    """The statistics of one tensor; ``channels`` is None if it has none, or if they were not computed."""

    figures: Figures
    channels: Channels | None


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


_encode = msgspec.msgpack.Encoder().encode


# Made when the first cache file is read: the explorer imports this before its first screen.
@cache
def _decoder() -> msgspec.msgpack.Decoder[_Measured]:
    return msgspec.msgpack.Decoder(_Measured)


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
