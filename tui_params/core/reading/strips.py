"""Strips: the values of a tensor row after row, a bounded number at a time, whatever its layout in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.numbers.decode import decode
from tui_params.core.reading.outcome import reason_of
from tui_params.core.reading.readable import Readable
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import parse_window, pieces
from tui_params.errors import ReadError, StoppedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 1 << 20
"""Elements of a strip, at most."""

PART = 128
"""A row that is longer than a strip is cut after a multiple of so many elements."""


class Strip(msgspec.Struct, frozen=True, eq=False):
    """Consecutive elements in row-major order, from number ``first`` on: whole rows, or a part of one.

    ``values`` has two dimensions and the element's own type; a row runs along the last dimension of the tensor.
    """

    first: int
    values: NDArray[Any]


def strips(
    source: Readable,
    info: TensorInfo,
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
    most: int = MOST,
) -> Iterator[Strip]:
    """The values of a tensor, each strip valid until the next step. ``progress`` gets the elements that were read.

    Raises ReadError for whatever goes wrong in reading, StoppedError.
    """
    if info.unreadable is not None:
        raise ReadError(info.unreadable)
    try:
        source = source.still(info)
        made = _of_blocks(source, info, most) if info.stride is None else _of_windows(source, info, most)
        for strip in made:
            if should_stop is not None and should_stop():
                raise StoppedError(f"the reading of {info.name} was stopped")
            yield strip
            if progress is not None:
                progress(strip.first + strip.values.size)
    except (OSError, MemoryError) as error:
        raise ReadError(reason_of(error)) from error


def row_width(info: TensorInfo) -> int:
    """The elements of a row: those along the last dimension."""
    return info.shape[-1] if info.shape else 1


def _of_blocks(source: Readable, info: TensorInfo, most: int) -> Iterator[Strip]:
    import numpy as np

    width = row_width(info)
    at, left = 0, info.numel
    waiting: NDArray[Any] | None = None
    for block in source.blocks(info):
        count = min(info.dtype.numel(block.size), left)
        left -= count
        values = decode(block, info.dtype, count)
        if waiting is not None and waiting.size:
            values = np.concatenate((waiting, values))
        while values.size:
            size = _next(at % width, width, values.size, most)
            if not size:
                break
            yield Strip(at, values[:size].reshape(-1, min(size, width)))
            at += size
            values = values[size:]
        waiting = values.copy()
    if at != info.numel:
        raise ReadError(f"{info.name} ended after {at:,} of {info.numel:,} elements")


def _next(column: int, width: int, have: int, most: int) -> int:
    """How many of the elements that are there make the next strip, which starts in that column; 0: more are needed."""
    if column or width > most:
        left = width - column
        return min(left, most) if have >= min(left, most) else have // PART * PART
    return min(have, most) // width * width


def _of_windows(source: Readable, info: TensorInfo, most: int) -> Iterator[Strip]:
    """The same of a tensor that is not contiguous, whose blocks come in any order."""
    import numpy as np

    at = 0
    for window in pieces(parse_window("", info.shape), most):
        values = np.ascontiguousarray(source.read_window(info, window)).reshape(-1)
        yield Strip(at, values.reshape(-1, min(row_width(info), values.size)))
        at += values.size


def runs(
    source: Readable,
    info: TensorInfo,
    start: int,
    stop: int,
    *,
    is_backwards: bool = False,
    should_stop: Callable[[], bool] | None = None,
    most: int = MOST,
) -> Iterator[Strip]:
    """The elements ``start:stop`` in row-major order, in runs of one row of ``values``, or from the last run backwards.

    Raises ReadError for whatever goes wrong in reading, StoppedError.
    """
    if info.unreadable is not None:
        raise ReadError(info.unreadable)
    try:
        made = _runs_of_blocks if info.stride is None else _runs_of_windows
        for run in made(source, info, start, stop, most, is_backwards):
            if should_stop is not None and should_stop():
                raise StoppedError(f"the reading of {info.name} was stopped")
            low = max(start - run.first, 0)
            yield Strip(run.first + low, run.values[:, low : stop - run.first])
    except (OSError, MemoryError) as error:
        raise ReadError(reason_of(error)) from error


def _runs_of_blocks(
    source: Readable, info: TensorInfo, start: int, stop: int, most: int, is_backwards: bool
) -> Iterator[Strip]:
    grain = info.dtype.grain
    step = max(most // grain, 1) * grain if is_backwards else stop
    begins = range(start // grain * grain, stop, max(step, 1))
    for begin in reversed(begins) if is_backwards else begins:
        end = min(begin + step, -(-stop // grain) * grain, info.numel)
        found = list(_decoded(source, info, begin, end, is_kept=True)) if is_backwards else None
        yield from reversed(found) if found is not None else _decoded(source, info, begin, end, is_kept=False)


def _decoded(source: Readable, info: TensorInfo, begin: int, end: int, *, is_kept: bool) -> Iterator[Strip]:
    at = begin
    for block in source.blocks(info, begin, None if end >= info.numel else end):
        values = decode(block, info.dtype, min(info.dtype.numel(block.size), end - at))
        yield Strip(at, (values.copy() if is_kept else values).reshape(1, -1))
        at += values.size
    if at != end:
        raise ReadError(f"{info.name} ended after {at:,} of {info.numel:,} elements")


def _runs_of_windows(
    source: Readable, info: TensorInfo, start: int, stop: int, most: int, is_backwards: bool
) -> Iterator[Strip]:
    import numpy as np

    windows = []
    at = 0
    for window in pieces(parse_window("", info.shape), most):
        if at < stop and at + window.numel > start:
            windows.append((at, window))
        at += window.numel
    for first, window in reversed(windows) if is_backwards else windows:
        yield Strip(first, np.ascontiguousarray(source.read_window(info, window)).reshape(1, -1))
