"""The next element of a slice that meets a condition, found block by block; and the largest and the smallest one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.numbers.condition import Condition, Words, equal_to, words_of
from tui_params.core.numbers.decode import unpack
from tui_params.core.piece import boxes
from tui_params.core.reading.value_part import numbers_of
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis, Window, make_window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tui_params.core.reading.readable import Readable

CHUNK_NBYTES = 1 << 23
"""Bytes that one thread looks through before the next: what is read too much, and how soon a search stops."""

THREADS = 2
"""Threads that read and compare; the system copies out of its cache as fast as one compares."""

STEP_NBYTES = 1 << 18
"""Bytes that are compared at a time: few enough for the cache of a core."""

WINDOW_NUMEL = 1 << 16
"""Elements that are read at a time of a slice with gaps."""

Progress = Callable[[int, int], object]
"""Called after each block with how many elements were passed over, and how many there are; may raise StoppedError."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """The index of an element in the whole tensor; ``has_wrapped``: on the way the end of the slice was passed."""

    index: tuple[int, ...]
    has_wrapped: bool


def find(
    source: Readable,
    info: TensorInfo,
    window: Window,
    condition: Condition,
    after: tuple[int, ...] | None,
    step: int = 1,
    progress: Progress | None = None,
) -> Found | None:
    """The next element of ``window``, in row-major order behind the index ``after``, that meets a condition.

    With ``step`` -1 it is the one before; without ``after`` the first (or last) of all. Where there is none, it is
    sought from the other end on, ``after`` itself last.

    Only what is passed over is read, a few MB at a time. Raises ReadError, SliceError, and what ``progress`` raises.
    """
    words = words_of(condition, info.dtype)
    numel = window.numel
    at = _number(window, after) if after is not None else (-1 if step > 0 else numel)
    runs = [(at + 1, numel), (0, at + 1)] if step > 0 else [(0, at), (at, numel)]
    passed, is_whole = 0, _is_whole(info, window)
    chunk = max(1, CHUNK_NBYTES // max(1, info.dtype.nbytes(info.dtype.grain))) * info.dtype.grain

    def look(part: tuple[int, int]) -> int | None:
        for first, block in _blocks(source, info, window, *part, step):
            place = _place_in(block, words, step, 2 if info.dtype.is_complex else 1)
            if place is not None:
                return first + place
        return None

    for number, (start, stop) in enumerate(runs):
        parts = _chunks(max(start, 0), min(stop, numel), chunk if is_whole else WINDOW_NUMEL, step)
        with closing(_in_turn(look, parts, THREADS if is_whole and numel > chunk else 1)) as results:
            for (begin, end), place in results:
                if place is not None:
                    return Found(_index(window, place), number > 0)
                passed += end - begin
                if progress is not None:
                    progress(passed, numel)
    return None


def _chunks(start: int, stop: int, size: int, step: int) -> Iterator[tuple[int, int]]:
    """Runs of elements that begin at multiples of ``size``, the last first if ``step`` is -1."""
    begins = range(start // size * size, stop, size)
    for begin in begins if step > 0 else reversed(begins):
        yield max(begin, start), min(begin + size, stop)


def _in_turn(
    look: Callable[[tuple[int, int]], int | None], parts: Iterator[tuple[int, int]], threads: int
) -> Generator[tuple[tuple[int, int], int | None]]:
    """What came of each part, in order, while others are looked at already."""
    if threads == 1:
        for part in parts:
            yield part, look(part)
        return
    pool = ThreadPoolExecutor(threads, "search")
    try:
        waiting: deque[tuple[tuple[int, int], Future[int | None]]] = deque()
        for part in parts:
            waiting.append((part, pool.submit(look, part)))
            if len(waiting) > threads:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def find_extreme(
    source: Readable, info: TensorInfo, window: Window, side: int, progress: Progress | None = None
) -> Found | None:
    """The first of the largest (``side`` 1) or smallest (-1) finite elements of a slice; None if none is finite.

    Everything is read, then again up to the element. Raises as ``find``.
    """
    import numpy as np

    best: float | int | None = None
    words_of(equal_to(0), info.dtype)  # raises where elements have no order
    passed = 0
    for _, array in _arrays(source, info, window, 0, window.numel):
        if info.dtype.kind == "float":
            with np.errstate(invalid="ignore"):
                values = array.astype(np.float32 if info.dtype.bits <= 32 else np.float64)
            values = values[np.isfinite(values)]
        else:
            values = array.astype(np.int8) if info.dtype.name == "int4" else array
            values = values.astype(np.uint8) if info.dtype.name == "uint4" else values
        if values.size:
            found = numbers_of((values.max() if side > 0 else values.min()).reshape(1), info.dtype)[0]
            assert not isinstance(found, complex)
            if best is None or side * found > side * best:
                best = found
        passed += array.size
        if progress is not None:
            progress(passed, window.numel)
    return None if best is None else find(source, info, window, equal_to(best), None, 1, progress)


def _number(window: Window, index: tuple[int, ...]) -> int:
    """The place of an index of the tensor among the elements of a window, in row-major order."""
    number = 0
    for axis, at in zip(window.axes, index, strict=True):
        number = number * axis.length + (at - axis.start) // axis.step
    return number


def _index(window: Window, number: int) -> tuple[int, ...]:
    found = []
    for axis in reversed(window.axes):
        number, place = divmod(number, axis.length)
        found.append(axis.index(place))
    return tuple(reversed(found))


def _blocks(
    source: Readable, info: TensorInfo, window: Window, start: int, stop: int, step: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """The words of elements ``start:stop`` of a window, from its start or from its end on: where each block begins.

    A complex element is two words.
    """
    import numpy as np

    part = np.dtype(f"u{max(8, info.dtype.bits // (2 if info.dtype.is_complex else 1)) // 8}")
    if not _is_whole(info, window):
        for first, array in _windows(source, info, window, start, stop, step):
            if info.dtype.name == "complex32":
                array = array.view(np.float32).astype(np.float16)
            yield first, np.ascontiguousarray(array).view(part)
        return
    grain = info.dtype.grain
    per = 2 if info.dtype.is_complex else 1
    done = start // grain * grain
    parts = []
    for raw in source.blocks(info, done, min(-(-stop // grain) * grain, info.numel)):
        words = unpack(raw, info.dtype.bits, info.dtype.numel(raw.size)) if info.dtype.is_packed else raw.view(part)
        count = min(words.size // per, stop - done)
        skipped = max(start - done, 0)
        block = words[skipped * per : count * per]
        if step > 0:
            yield done + skipped, block
        else:
            parts.append((done + skipped, block.copy()))
        done += count
    yield from reversed(parts)


def _windows(
    source: Readable, info: TensorInfo, window: Window, start: int, stop: int, step: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """The values of elements ``start:stop`` of a window that has gaps, flat, some thousand at a time."""
    shape = tuple(axis.length for axis in window.axes)
    begins = range(start, stop, WINDOW_NUMEL)
    for begin in begins if step > 0 else reversed(begins):
        end, first = min(begin + WINDOW_NUMEL, stop), begin
        parts = []
        for origin, lengths in boxes(shape, begin, end):
            axes = [_part(axis, at, length) for axis, at, length in zip(window.axes, origin, lengths, strict=True)]
            parts.append((first, make_window(tuple(axes))))
            first += prod(lengths)
        for number, part in parts if step > 0 else reversed(parts):
            yield number, source.read_window(info, part).reshape(-1)


def _part(axis: Axis, first: int, count: int) -> Axis:
    return msgspec.structs.replace(axis.part(first, count), is_index=False)


def _arrays(
    source: Readable, info: TensorInfo, window: Window, start: int, stop: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """The values of a window, flat, in blocks."""
    from tui_params.core.numbers.decode import decode

    if not _is_whole(info, window):
        yield from _windows(source, info, window, start, stop, 1)
        return
    done = start
    for raw in source.blocks(info):
        count = min(info.dtype.numel(raw.size), stop - done)
        yield done, decode(raw, info.dtype, count)
        done += count


def _is_whole(info: TensorInfo, window: Window) -> bool:
    """Whether the elements of a window are those of the tensor, one after the other as they are stored."""
    is_all = all(
        axis.start == 0 and axis.step == 1 and axis.length == size
        for axis, size in zip(window.axes, info.shape, strict=True)
    )
    return is_all and info.stride is None


def _place_in(block: NDArray[Any], words: Words, step: int, per: int) -> int | None:
    """The first (or last) element of a block that has a word which is sought."""
    size = STEP_NBYTES // block.itemsize
    starts = range(0, block.size, size)
    for start in starts if step > 0 else reversed(starts):
        some = block[start : start + size]
        places = _places(some, words)
        if places is not None:
            return (start + int(places[0 if step > 0 else -1])) // per
    return None


def _places(some: NDArray[Any], words: Words) -> NDArray[np.intp] | None:
    """The places of the words that are sought, or None. First it is seen by one comparison whether there are any."""
    import numpy as np

    top, is_masked = words.mask, words.mask != (1 << words.bits) - 1
    if is_masked and all(first + more == top for first, more in words.ranges):
        # The greatest magnitudes, NaN and Inf among them: the ends of both orders, which are looked at without a copy.
        least = min((first for first, _ in words.ranges), default=top + 1)
        if int(some.view(f"i{some.itemsize}").max()) < least and int(some.max()) < least + top + 1:
            return None
    masked = np.bitwise_and(some, some.dtype.type(top)) if is_masked else some
    found: NDArray[np.bool_] | None = None
    for first, more in words.ranges:
        if first + more == top:
            if int(masked.max()) < first:
                continue
            hits = masked >= first
        else:
            shifted = np.subtract(masked, some.dtype.type(first)) if first else masked
            if int(shifted.min()) > more:
                continue
            hits = shifted <= more
        found = hits if found is None else np.logical_or(found, hits)
    return None if found is None else np.flatnonzero(found)
