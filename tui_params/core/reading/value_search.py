"""The next element of a slice that meets a condition, found block by block; and the largest and the smallest one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.kernels.words import Words
from tui_params.core.numbers.condition import Condition, words_of
from tui_params.core.numbers.decode import numbers, unpack
from tui_params.core.piece import boxes
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis, Window, make_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tui_params.core.reading.readable import Readable

CHUNK_NBYTES = 1 << 23
"""Bytes that one thread looks through before the next: what is read too much, and how soon a search stops."""

THREADS = 2
"""Threads that read and compare; the system copies out of its cache as fast as one compares."""

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
    seeker = _Seeker(source, info, window, words_of(condition, info.dtype))
    numel = window.numel
    at = _number(window, after) if after is not None else (-1 if step > 0 else numel)
    runs = [(at + 1, numel), (0, at + 1)] if step > 0 else [(0, at), (at, numel)]
    passed, is_whole = 0, seeker.is_whole
    chunk = max(1, CHUNK_NBYTES // max(1, info.dtype.nbytes(info.dtype.grain))) * info.dtype.grain

    def look(part: tuple[int, int]) -> int | None:
        return seeker.find(*part, step)

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

    Everything is read once. Raises as ``find``.
    """
    import numpy as np

    source = source.still(info) if _is_whole(info, window) else source.still_part(info, window)
    seeker = _Seeker(source, info, window, words_of(_BEYOND_NOTHING, info.dtype))
    best: tuple[float | int, int] | None = None
    passed = 0
    for block in seeker.blocks(0, window.numel):
        place = seeker.place_in(block, 1)
        if place is not None:
            values = numbers(block.codes(place), info.dtype)
            if info.dtype.kind == "float":
                values = np.where(np.isfinite(values), values, -side * np.inf)
            at = int(values.argmax() if side > 0 else values.argmin())
            best = values[at].item(), block.number + place - block.start + at
            seeker.words = words_of(_beyond(best[0], side), info.dtype)
        passed += block.stop - block.start
        if progress is not None:
            progress(passed, window.numel)
    return None if best is None else Found(_index(window, best[1]), False)


_BEYOND_NOTHING = Condition("finite", is_low_open=True, is_high_open=True)


def _beyond(value: float | int, side: int) -> Condition:
    """Finite, and larger than ``value``, or smaller where ``side`` is -1."""
    if side > 0:
        return Condition("larger", low=value, is_low_open=True, is_high_open=True)
    return Condition("smaller", high=value, is_low_open=True, is_high_open=True)


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


class _Block(msgspec.Struct, frozen=True):
    """Words as they are read, of which ``start:stop`` belong to the slice; ``number`` is that of the first of these.

    An element is ``per`` words; codes of 4 bits lie two in a byte. Valid until the next is read.
    """

    words: NDArray[Any]
    bits: int
    per: int
    start: int
    stop: int
    number: int

    def codes(self, start: int) -> NDArray[Any]:
        """The words from ``start`` to the end of the slice, one each."""
        if self.bits != 4:
            return self.words[start : self.stop]
        return unpack(self.words[start // 2 :], 4, self.stop - start // 2 * 2)[start % 2 :]


class _Seeker:
    """Seeks words in a slice of one tensor, a few MB at a time; without change usable from any thread."""

    def __init__(self, source: Readable, info: TensorInfo, window: Window, words: Words) -> None:
        self._source = source
        self._info = info
        self._window = window
        self.is_whole = _is_whole(info, window)
        self.words = words
        if self.is_whole:
            source.engine.prepare(info.nbytes)

    def find(self, start: int, stop: int, step: int) -> int | None:
        """The number of the first (``step`` 1) or last of the elements ``start:stop`` that has a word of those."""
        last = None
        for block in self.blocks(start, stop):
            place = self.place_in(block, step)
            if place is not None:
                last = block.number + (place - block.start) // block.per
                if step > 0:
                    break
        return last

    def place_in(self, block: _Block, step: int) -> int | None:
        """The place of the first or last word of a block that is sought."""
        words = self.words if self.words.bits == block.bits else msgspec.structs.replace(self.words, bits=block.bits)
        return self._source.engine.current().seek(block.words, words, block.start, block.stop, step)

    def blocks(self, start: int, stop: int) -> Iterator[_Block]:
        """The words of elements ``start:stop``. A complex element is two words."""
        import numpy as np

        info = self._info
        per = 2 if info.dtype.is_complex else 1
        part = np.dtype(f"u{max(8, info.dtype.bits // per) // 8}")
        if not self.is_whole:
            for first, array in _windows(self._source, info, self._window, start, stop):
                if info.dtype.name == "complex32":
                    array = array.view(np.float32).astype(np.float16)
                words = np.ascontiguousarray(array).view(part)
                yield _Block(words, 8 * part.itemsize, per, 0, words.size, first)
            return
        grain = info.dtype.grain
        done = start // grain * grain
        for words in self._source.blocks(info, done, min(-(-stop // grain) * grain, info.numel)):
            bits, count = 8 * part.itemsize, info.dtype.numel(words.size)
            if info.dtype.bits == 4:
                bits = 4
            elif info.dtype.is_packed:
                words = unpack(words, info.dtype.bits, count)
            else:
                words = words.view(part)
            count, skipped = min(count, stop - done), max(start - done, 0)
            if count > skipped:
                yield _Block(words, bits, per, skipped * per, count * per, done + skipped)
            done += count


def _windows(
    source: Readable, info: TensorInfo, window: Window, start: int, stop: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """The values of elements ``start:stop`` of a window that has gaps, flat, some thousand at a time."""
    shape = tuple(axis.length for axis in window.axes)
    for begin in range(start, stop, WINDOW_NUMEL):
        first = begin
        for origin, lengths in boxes(shape, begin, min(begin + WINDOW_NUMEL, stop)):
            axes = [_part(axis, at, length) for axis, at, length in zip(window.axes, origin, lengths, strict=True)]
            yield first, source.read_window(info, make_window(tuple(axes))).reshape(-1)
            first += prod(lengths)


def _part(axis: Axis, first: int, count: int) -> Axis:
    return msgspec.structs.replace(axis.part(first, count), is_index=False)


def _is_whole(info: TensorInfo, window: Window) -> bool:
    """Whether the elements of a window are those of the tensor, one after the other as they are stored."""
    is_all = all(
        axis.start == 0 and axis.step == 1 and axis.length == size
        for axis, size in zip(window.axes, info.shape, strict=True)
    )
    return is_all and info.stride is None
