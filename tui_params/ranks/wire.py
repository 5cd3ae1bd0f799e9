"""What the processes of a team send to the one that leads: msgpack of frozen structs, never a pickle.

It is no format to keep: both ends are of one version of tui-params, which is compared first (``Hello``). Integers may
have thousands of bits, so they go as bytes; arrays as the little-endian bytes of their items.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypeAlias, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.compare.lockstep import Range
from tui_params.core.dtypes import DType
from tui_params.core.health.checksums import ComputedRun
from tui_params.core.numbers.difference import Counted
from tui_params.core.numbers.maxima import FoundMaxima
from tui_params.core.numbers.moments import Moments
from tui_params.core.numbers.summary import Summary
from tui_params.core.team import Compared


class Message(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Anything that is sent."""


class SeenFile(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A file of a source as one process sees it.

    ``version`` is its time of change or, of a file elsewhere, a number made of its ETag or revision; None where its
    size alone is known.
    """

    name: str
    nbytes: int
    version: bytes | None


class Hello(Message, frozen=True, gc=False):
    """The first message: which program the process runs, and what it sees.

    ``listing`` is a digest of the names, types, shapes and places of all tensors, ``question`` one of what is asked
    about them. ``trouble`` is one sentence if the process could not open the source; then the rest is empty.
    """

    version: str
    listing: bytes = b""
    question: bytes = b""
    files: tuple[SeenFile, ...] = ()
    trouble: str | None = None


class Figured(Message, frozen=True, gc=False):
    """The figures of a whole tensor, as a record of the cache (``cache.records``)."""

    number: int
    record: bytes


class Part(Message, frozen=True, gc=False):
    """What was found of the elements of one portion of a tensor."""

    number: int
    first: int
    summary: SentSummary
    maxima: SentMaxima | None


class ComparedPart(Message, frozen=True, gc=False):
    """What came of comparing some ranges of a pair, from range ``first`` on."""

    number: int
    first: int
    counts: tuple[int, ...] | None
    peak: float
    first_changed: int | None
    first_broken: int | None
    sums: tuple[tuple[bytes, bytes], ...]
    same: tuple[Range, ...]


class Failed(Message, frozen=True, gc=False):
    """A portion that could not be read: the leader tries it, and has the reason."""

    number: int
    first: int


class Beat(Message, frozen=True, gc=False):
    """A sign of life: how many bytes were read so far."""

    nbytes: int


class Finished(Message, frozen=True, gc=False):
    """The last message: the whole share was read, and these checksums were computed in passing."""

    nbytes: int
    runs: tuple[ComputedRun, ...] = ()


class Goodbye(Message, frozen=True, gc=False):
    """The last message of a process that was asked to stop (SIGTERM) before it had read its share."""


Word = Literal["uint8", "uint16", "uint32", "uint64"]


class SentSummary(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A Summary without its type; ``moments`` are those of its fields that are integers, as bytes.

    ``word`` is the type of the patterns, such as ``uint16``.
    """

    count: int
    word: Word
    patterns: bytes
    counts: bytes
    moments: tuple[bytes, ...] | None
    low: float | bytes | None
    high: float | bytes | None


class SentMaxima(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A FoundMaxima: its arrays as bytes."""

    first: int
    rows: bytes
    columns: bytes
    marks: bytes | None


AnyMessage: TypeAlias = Hello | Figured | Part | ComparedPart | Failed | Beat | Finished | Goodbye

encode = msgspec.msgpack.Encoder().encode


@cache
def _decoder() -> msgspec.msgpack.Decoder[tuple[AnyMessage, ...]]:
    return msgspec.msgpack.Decoder(tuple[AnyMessage, ...])


def decode(data: bytes) -> tuple[AnyMessage, ...]:
    """The messages that were encoded together, as a list. Raises ValueError for anything else."""
    try:
        return _decoder().decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ValueError("these are no messages of this version of tui-params") from None


_SUMS = ("finite", "nan", "pos_inf", "neg_inf", "zeros", "subnormals", "total", "squares", "at_max")


def pack_summary(summary: Summary) -> SentSummary:
    """A summary to send."""
    moments, found = None, summary.moments
    if found is not None:
        moments = tuple([_bytes(getattr(found, name)) for name in _SUMS])
    return SentSummary(
        summary.count,
        cast(Word, summary.patterns.dtype.name),
        _little(summary.patterns),
        _little(summary.counts),
        moments,
        None if found is None else _extreme(found.low),
        None if found is None else _extreme(found.high),
    )


def unpack_summary(sent: SentSummary, dtype: DType) -> Summary:
    """The reverse of ``pack_summary``. Raises ValueError."""
    moments = None
    if sent.moments is not None:
        sums = {name: _integer(data) for name, data in zip(_SUMS, sent.moments, strict=True)}
        moments = Moments(**sums, low=_limit(sent.low), high=_limit(sent.high))
    patterns, counts = _array(sent.patterns, np.dtype(sent.word)), _array(sent.counts, np.dtype(np.int64))
    return Summary(dtype, sent.count, patterns, counts, moments)


def pack_maxima(found: FoundMaxima) -> SentMaxima:
    """Maxima to send."""
    marks = None if found.marks is None else _little(found.marks)
    return SentMaxima(found.first, _little(found.rows), _little(found.columns), marks)


def unpack_maxima(sent: SentMaxima, word: np.dtype[Any]) -> FoundMaxima:
    """The reverse of ``pack_maxima``, of a tensor whose patterns are of type ``word``. Raises ValueError."""
    marks = None if sent.marks is None else _array(sent.marks, np.dtype(np.uint64))
    return FoundMaxima(sent.first, _array(sent.rows, word), _array(sent.columns, word), marks)


def pack_compared(number: int, first: int, found: Compared) -> ComparedPart:
    """What came of comparing a portion, to send."""
    counted = found.counted
    if counted is None:
        return ComparedPart(number, first, None, 0.0, None, None, (), found.same)
    sums = tuple([(_bytes(over), _bytes(under)) for over, under in counted.sums])
    return ComparedPart(
        number, first, counted.counts, counted.peak, counted.first, counted.first_broken, sums, found.same
    )


def unpack_compared(sent: ComparedPart) -> Compared:
    """The reverse of ``pack_compared``."""
    if sent.counts is None:
        return Compared(None, sent.same)
    sums = tuple([(_integer(over), _integer(under)) for over, under in sent.sums])
    return Compared(Counted(sent.counts, sent.peak, sent.first_changed, sent.first_broken, sums), sent.same)


def _extreme(value: float | int | None) -> float | bytes | None:
    return _bytes(value) if isinstance(value, int) else value


def _limit(value: float | bytes | None) -> float | int | None:
    return _integer(value) if isinstance(value, bytes) else value


def _bytes(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _little(array: NDArray[Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _array(data: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype)
