"""Looks: what is kept of the tensors of a model at one look, so that a later look can say what has moved since.

Kept are a few figures and a digest of the bytes of each tensor; the values themselves only where that is asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tui_params.core.compare.moved import Change, Sums, least_relative, relative_of_one, sums_of
from tui_params.core.figures import Figures
from tui_params.core.numbers.difference import Difference, Tally
from tui_params.core.numbers.summary import Accumulator
from tui_params.core.reading.outcome import reason_of
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError, StoppedError

MOST_KEPT = 4 << 30
"""Bytes of values that are kept of one model at most, and never more than a quarter of the memory of the machine."""

ShouldStop = Callable[[], bool]


def most_kept() -> int:
    """How many bytes of values may be kept."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return MOST_KEPT
    return min(MOST_KEPT, memory // 4) if memory > 0 else MOST_KEPT


class Kept:
    """One tensor as it was: its description, its figures, the SHA-256 of its bytes, and perhaps the bytes themselves.

    ``reason`` says why it could not be read. ``values`` may be taken away to make room.
    """

    __slots__ = ("digest", "info", "reason", "sums", "values")

    def __init__(
        self,
        info: TensorInfo,
        sums: Sums | None = None,
        digest: bytes = b"",
        values: NDArray[np.uint8] | None = None,
        reason: str = "",
    ) -> None:
        self.info = info
        self.sums = sums
        self.digest = digest
        self.values = values
        self.reason = reason


class Look:
    """The tensors and gradients of a model at one look, as far as they were read; written by one thread at a time.

    ``at`` is the time of day in words. ``is_whole``: everything that can be read was.
    """

    def __init__(self, at: str) -> None:
        self.at = at
        self.infos: dict[str, TensorInfo] = {}
        self.kept: dict[str, Kept] = {}
        self.is_whole = False

    def list(self, infos: Sequence[TensorInfo]) -> None:
        """Take what there is to be read."""
        self.infos = {info.name: info for info in infos}

    def gone_in(self, names: set[str]) -> tuple[str, ...]:
        """The names that are not among those of a later look."""
        return tuple(name for name in self.infos if name not in names)

    @property
    def nbytes(self) -> int:
        """The bytes of the values that are kept; those that two looks share count in both."""
        return sum({id(values): values.nbytes for values in self._values()}.values())

    @property
    def left_out(self) -> int:
        """How many tensors were read without keeping their values."""
        return sum(kept.values is None and not kept.reason for kept in self.kept.values())

    def _values(self) -> Iterator[NDArray[np.uint8]]:
        for kept in self.kept.values():
            if kept.values is not None:
                yield kept.values


def held_by(looks: Sequence[Look]) -> int:
    """The bytes of the values that some looks hold together."""
    return sum({id(values): values.nbytes for look in looks for values in look._values()}.values())


def take(
    source: Source,
    info: TensorInfo,
    figures: Figures | None,
    earlier: Kept | None,
    *,
    room: int,
    should_stop: ShouldStop,
) -> Kept:
    """What is kept of a tensor, by one read of it; its figures are counted in passing unless they are given.

    The values are kept if they need no more than ``room`` bytes, and shared with ``earlier`` if they are the same. A
    tensor that cannot be read has a reason instead. Raises StoppedError.
    """
    if info.unreadable is not None:
        return Kept(info, reason=info.unreadable)
    whole = figures is not None and figures.is_exact and not figures.is_sampled
    try:
        counter = None if whole else Accumulator(info.dtype, source.engine.current)
        values = _room_for(info.nbytes) if info.nbytes <= room else None
        hashing, at = hashlib.sha256(), 0
        for block, count in _blocks(source, info, should_stop):
            hashing.update(block.data)
            if values is not None:
                values[at : at + block.size] = block
            if counter is not None:
                counter.add(block, count)
            at += block.size
        if at != info.nbytes:
            raise ReadError(f"{info.name} ended after {at} of {info.nbytes} bytes")
        if counter is not None:
            figures = counter.summary().figures(info.numel)
    except StoppedError:
        raise
    except Exception as error:  # noqa: BLE001 - the tensor gets it as its reason; the others are read
        return Kept(info, reason=reason_of(error))
    digest = hashing.digest()
    if earlier is not None and earlier.digest == digest and earlier.info.nbytes == info.nbytes:
        values = earlier.values if earlier.values is not None else values
    return Kept(info, sums_of(figures) if figures is not None else None, digest, values)


def change_of(
    source: Source, info: TensorInfo, before: Kept | None, now: Kept, since: Look, should_stop: ShouldStop
) -> Change:
    """How a tensor has moved since an earlier look. Where values were kept then, it is read. Raises StoppedError."""
    if before is None:
        listed = since.infos.get(info.name)
        if listed is None:
            return Change("new", None, now.sums, about=f"it was not there at {since.at}")
        return Change("unread", None, now.sums, about=f"it had not been read when the look of {since.at} ended")
    for kept, when in ((now, "now"), (before, f"at {since.at}")):
        if kept.reason:
            return Change("unread", before.sums, now.sums, about=f"it could not be read {when}: {kept.reason}")
    was = before.info
    if was.shape != info.shape:
        return Change("shape", before.sums, now.sums, about=f"its shape was {list(was.shape)}")
    if was.dtype != info.dtype:
        return Change("dtype", before.sums, now.sums, about=f"its type was {was.dtype.name}")
    if was.stride != info.stride:
        return Change("stride", before.sums, now.sums, about="its strides were others: the bytes were not compared")
    if before.digest == now.digest:
        return Change("same", before.sums, now.sums)
    assert before.sums is not None
    assert now.sums is not None
    relative, at_least = relative_of_one(before.sums, now.sums), least_relative(before.sums, now.sums)
    difference = None
    values = before.values
    if values is not None:
        try:
            difference = _difference(source, info, values, should_stop)
            relative = difference.relative_l2
        except (ReadError, OSError, MemoryError):
            difference = None  # the figures still hold
    return Change("moved", before.sums, now.sums, relative, at_least, difference)


def take_over(source: Source, info: TensorInfo, before: Kept, now: Kept, should_stop: ShouldStop) -> None:
    """Keep the values of ``now`` in the memory that holds those of ``before``, which are lost. Raises StoppedError."""
    values, before.values = before.values, None
    if values is None or values.nbytes != info.nbytes:
        return
    at = 0
    try:
        for block, _ in _blocks(source, info, should_stop):
            values[at : at + block.size] = block
            at += block.size
    except (ReadError, OSError, MemoryError):
        return
    now.values = values


def _difference(source: Source, info: TensorInfo, values: NDArray[np.uint8], should_stop: ShouldStop) -> Difference:
    tally = Tally(info.dtype, info.dtype, kernels=source.engine.current)
    at = start = 0
    for block, count in _blocks(source, info, should_stop):
        tally.add(values[at : at + block.size], block, count, start)
        at += block.size
        start += count
    if at != values.nbytes:
        raise ReadError(f"{info.name} ended after {at} of {values.nbytes} bytes")
    return tally.difference()


def _blocks(source: Source, info: TensorInfo, should_stop: ShouldStop) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """The bytes of a tensor, and how many elements each block has."""
    left = info.numel
    for block in source.blocks(info):
        if should_stop():
            raise StoppedError(f"the reading of {info.name} was stopped")
        # The last byte of a packed tensor may be padded.
        count = min(info.dtype.numel(block.size), left)
        left -= count
        yield np.ascontiguousarray(block), count


def _room_for(nbytes: int) -> NDArray[np.uint8] | None:
    try:
        return np.empty(nbytes, np.uint8)
    except MemoryError:
        return None
