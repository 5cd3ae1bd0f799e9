"""What the processes of a team send to the one that leads: msgpack of frozen structs, never a pickle.

It is no format to keep: both ends are of one version of tui-params, which is compared first (``Hello``). Integers may
have thousands of bits, so they go as bytes; arrays as the little-endian bytes of their items.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import msgspec
import numpy as np

from tui_params.core.compare.lockstep import Range
from tui_params.core.health.checksums import ComputedRun
from tui_params.core.numbers.difference import Counted
from tui_params.core.numbers.maxima import FoundMaxima
from tui_params.core.numbers.sent_summary import SentSummary, array_of, integer_bytes, integer_of, little
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


def pack_maxima(found: FoundMaxima) -> SentMaxima:
    """Maxima to send."""
    marks = None if found.marks is None else little(found.marks)
    return SentMaxima(found.first, little(found.rows), little(found.columns), marks)


def unpack_maxima(sent: SentMaxima, word: np.dtype[Any]) -> FoundMaxima:
    """The reverse of ``pack_maxima``, of a tensor whose patterns are of type ``word``. Raises ValueError."""
    marks = None if sent.marks is None else array_of(sent.marks, np.dtype(np.uint64))
    return FoundMaxima(sent.first, array_of(sent.rows, word), array_of(sent.columns, word), marks)


def pack_compared(number: int, first: int, found: Compared) -> ComparedPart:
    """What came of comparing a portion, to send."""
    counted = found.counted
    if counted is None:
        return ComparedPart(number, first, None, 0.0, None, None, (), found.same)
    sums = tuple([(integer_bytes(over), integer_bytes(under)) for over, under in counted.sums])
    return ComparedPart(
        number, first, counted.counts, counted.peak, counted.first, counted.first_broken, sums, found.same
    )


def unpack_compared(sent: ComparedPart) -> Compared:
    """The reverse of ``pack_compared``."""
    if sent.counts is None:
        return Compared(None, sent.same)
    sums = tuple([(integer_of(over), integer_of(under)) for over, under in sent.sums])
    return Compared(Counted(sent.counts, sent.peak, sent.first_changed, sent.first_broken, sums), sent.same)
