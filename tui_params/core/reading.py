"""Reading one tensor for its statistics: whole, by several threads, or a sample of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.channels import Channels
from tui_params.core.figures import Figures
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError, StoppedError

if TYPE_CHECKING:
    from tui_params.core.summary import Accumulator, Summary

SAMPLE_BEYOND = 1 << 22
"""Tensors of more elements are worth a sample before they are read whole."""

SAMPLE_RUNS = 16
_RUN = 1 << 16


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What came of reading one tensor: ``figures``, or the ``reason`` (one sentence) why there are none.

    Where ``is_final`` is False the figures are of a sample, and another Outcome of the tensor may follow.
    ``channels`` come with the final figures of what has rows and columns (``core.channels``).
    """

    name: str
    figures: Figures | None
    reason: str | None
    is_final: bool
    channels: Channels | None = None


class Measurement(msgspec.Struct, frozen=True, eq=False):
    """What one read of a tensor gives: its summary, and its rows and columns where it has any."""

    summary: Summary
    channels: Channels | None


def measure(
    source: Source,
    info: TensorInfo,
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
    threads: int | None = None,
) -> Measurement:
    """The summary and the channels of every element of a tensor, from one read."""
    return Measurement(summarize(source, info, should_stop=should_stop, progress=progress), None)


def summarize(
    source: Source,
    info: TensorInfo,
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Summary:
    """The summary of every element of a tensor.

    ``should_stop`` is asked once per block, ``progress`` is told the elements read so far. Raises ReadError
    (also where fewer bytes come than the tensor has), StoppedError.
    """
    accumulator = _accumulator(info)
    _read(accumulator, source, info, 0, info.numel, should_stop, progress)
    return accumulator.summary()


def sample(source: Source, info: TensorInfo, *, should_stop: Callable[[], bool] | None = None) -> Summary:
    """The summary of about a million elements in evenly spread runs, of a tensor of more than SAMPLE_BEYOND.

    A smaller one is read whole. Raises ReadError, StoppedError.
    """
    if info.numel <= SAMPLE_BEYOND:
        return summarize(source, info, should_stop=should_stop)
    # Runs of whole 64 KiB for every type but those of 6 bits.
    run = _RUN if info.dtype.bits >= 8 else 2 * _RUN
    accumulator = _accumulator(info)
    for i in range(SAMPLE_RUNS):
        start = (info.numel - run) * i // (SAMPLE_RUNS - 1) // run * run
        _read(accumulator, source, info, start, start + run, should_stop, None)
    return accumulator.summary()


def _accumulator(info: TensorInfo) -> Accumulator:
    if info.unreadable is not None:
        raise ReadError(info.unreadable)
    from tui_params.core.summary import Accumulator

    return Accumulator(info.dtype)


def _read(
    accumulator: Accumulator,
    source: Source,
    info: TensorInfo,
    start: int,
    stop: int,
    should_stop: Callable[[], bool] | None,
    progress: Callable[[int], None] | None,
) -> None:
    if should_stop is not None and should_stop():
        raise StoppedError(f"the reading of {info.name} was stopped")
    wanted = stop - start
    done = 0
    if not wanted:
        return
    for block in source.blocks(info, start, stop):
        # The last byte of a packed tensor may be padded with what is no element.
        count = min(block.size * 8 // info.dtype.bits, wanted - done)
        accumulator.add(block, count)
        done += count
        if progress is not None:
            progress(done)
        if should_stop is not None and done < wanted and should_stop():
            raise StoppedError(f"the reading of {info.name} was stopped")
    if done != wanted:
        raise ReadError(f"{info.name} ended after {done} of {wanted} elements")


def reason_of(error: Exception) -> str:
    """Why a tensor could not be read, as one sentence."""
    if isinstance(error, MemoryError):
        return "there is not enough memory to read it"
    if isinstance(error, OSError):
        return f"it could not be read: {error.strerror or error}"
    return str(error)
