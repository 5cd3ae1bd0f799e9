"""A Source whose tensors are stitched from pieces: boxes of elements, each with a place of its own in some file."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.dtypes import fit
from tui_params.core.piece import Piece, boxes
from tui_params.core.reading.extent import Extent
from tui_params.core.reading.place import Place
from tui_params.core.source import FileRange
from tui_params.core.tensor import TensorInfo, describe
from tui_params.core.text import clean, plural
from tui_params.core.window import Axis, Window, make_window
from tui_params.errors import ReadError
from tui_params.sources.bytes.extents import check_window
from tui_params.sources.bytes.file_source import FileSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class StitchedSource(FileSource):
    """Tensors that lie in pieces; a window or a block reads those pieces that it touches, and nothing else of them.

    The pieces of a tensor do not overlap. Elements that no piece has cannot be read, the others can.
    """

    _recent: tuple[TensorInfo, Sequence[tuple[int, Piece]] | None] | None = None

    @abstractmethod
    def pieces(self, info: TensorInfo) -> Sequence[Piece]:
        """The pieces of ``info``, in any order; empty if it has none. Raises ReadError."""

    def pieces_of(self, info: TensorInfo) -> tuple[Piece, ...]:
        return tuple(sorted(self.pieces(info), key=lambda piece: piece.start))

    def locate(self, info: TensorInfo, piece: Piece) -> tuple[Place, Extent]:
        """The file, or what is held of it, and the place of a piece in it. Raises ReadError, with the reason."""
        file = self.files.get(piece.file)
        if file is None:
            raise ReadError(f"{clean(piece.file, 120)} is missing, which has {piece} of {clean(info.name, 120)}")
        return file, Extent(piece.file, piece.offset, piece.offset, piece.offset + piece.nbytes, piece.stride)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        import numpy as np

        from tui_params.core.reading.gather import gather_window, value_dtype

        check_window(info, window)
        self._check(info)
        values = np.empty([axis.length for axis in window.axes], value_dtype(info.dtype))
        done = 0
        pieces = Rows(self.pieces(info))
        low, high = _span(window.axes[0]) if window.axes else (0, 1)
        for piece in pieces.between(low, high) if values.size else ():
            cuts = [_cut(*bounds) for bounds in zip(window.axes, piece.start, piece.stop, strict=True)]
            if any(stop <= start for start, stop in cuts):
                continue
            axes = tuple(
                Axis(axis.index(start) - begin, axis.step, stop - start)
                for axis, (start, stop), begin in zip(window.axes, cuts, piece.start, strict=True)
            )
            box = describe(info.name, piece.shape, info.dtype)
            part = gather_window(*self.locate(info, piece), box, make_window(axes))
            values[tuple(slice(start, stop) for start, stop in cuts)] = part
            done += part.size
        self._check(info)
        if done < values.size:
            raise ReadError(_hole(info, values.size - done))
        return values.reshape(window.shape)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        start, stop = max(start, 0), info.numel if stop is None else min(stop, info.numel)
        self._check(info)
        runs = self._runs_of(info)
        for block in (
            self._box_blocks(info, self.pieces(info), start, stop)
            if runs is None
            else self._run_blocks(info, runs, start, stop)
        ):
            yield block
            self._check(info)  # closed meanwhile

    def _runs_of(self, info: TensorInfo) -> Sequence[tuple[int, Piece]] | None:
        """As ``_runs``; kept for the next call, as a tensor is read range by range."""
        kept = self._recent
        if kept is None or kept[0] is not info:
            kept = self._recent = info, _runs(info, self.pieces(info))
        return kept[1]

    def _run_blocks(
        self, info: TensorInfo, runs: Sequence[tuple[int, Piece]], start: int, stop: int
    ) -> Iterator[NDArray[np.uint8]]:
        """Elements ``start:stop`` of a tensor whose pieces lie one after the other in row-major order."""
        import numpy as np

        from tui_params.core.reading.gather import BLOCK_NBYTES

        nbytes = info.dtype.nbytes
        step = fit(BLOCK_NBYTES, info.dtype)
        buffer = np.empty(nbytes(min(step, max(stop - start, 0))), np.uint8)
        number = max(bisect_right(runs, start, key=lambda run: run[0]) - 1, 0)
        for begin in range(start, stop, step):
            end = min(begin + step, stop)
            cursor = begin
            parts: list[_Part] = []
            for first, piece in islice(runs, number, None):
                low, high = max(first, begin), min(first + piece.numel, end)
                if first > cursor or first >= end:
                    break
                if low < high:
                    place, extent = self.locate(info, piece)
                    part = _Part(place, extent, piece, low - first, nbytes(low) - nbytes(begin), nbytes(high - low))
                    if not parts or not parts[-1].join(part, info):
                        parts.append(part)
                    cursor = high
                number += first + piece.numel <= end
            if cursor < end:
                following = runs[number][0] if number < len(runs) else stop
                raise ReadError(_hole(info, min(following, stop) - cursor))
            block = buffer[: nbytes(end) - nbytes(begin)]
            for part in parts:
                part.read(info, block)
            yield block

    def _box_blocks(
        self, info: TensorInfo, pieces: Sequence[Piece], start: int, stop: int
    ) -> Iterator[NDArray[np.uint8]]:
        """Elements ``start:stop`` of a tensor whose pieces are boxes of any kind, or have strides."""
        import numpy as np

        from tui_params.core.reading.gather import BLOCK_NBYTES, BoxReader, raw_dtype, resolve_bits, row_major

        if info.dtype.is_packed:
            raise ReadError(
                f"{clean(info.name, 120)} has packed {info.dtype.name} elements in pieces that are not rows"
            )
        raw = raw_dtype(info.dtype)
        step = fit(BLOCK_NBYTES, info.dtype)
        buffer = np.empty(min(step, max(stop - start, 0)), raw)
        rows = Rows(pieces)
        for begin in range(start, stop, step):
            end = min(begin + step, stop)
            done = filled = 0
            for origin, lengths in boxes(info.shape, begin, end):
                out = buffer[done : done + prod(lengths)].reshape(lengths)
                done += out.size
                limits = tuple(first + length for first, length in zip(origin, lengths, strict=True))
                for piece in rows.between(origin[0], limits[0]) if origin else pieces:
                    lows = tuple(map(max, origin, piece.start))
                    highs = tuple(map(min, limits, piece.stop))
                    if any(high <= low for low, high in zip(lows, highs, strict=True)):
                        continue
                    place, extent = self.locate(info, piece)
                    stride = extent.stride if extent.stride is not None else row_major(piece.shape)
                    first = sum((low - at) * by for low, at, by in zip(lows, piece.start, stride, strict=True))
                    part = out[tuple(slice(a - o, b - o) for a, b, o in zip(lows, highs, origin, strict=True))]
                    dims = list(zip(part.shape, stride, strict=True))
                    box = describe(info.name, piece.shape, info.dtype)
                    with place.reading() as fill:
                        BoxReader(fill, extent, box).gather(part, first, dims)
                    if not extent.is_plain:
                        values = np.ascontiguousarray(part)
                        resolve_bits(values, info.dtype, extent)
                        part[...] = values
                    filled += part.size
            if filled < done:
                raise ReadError(_hole(info, done - filled))
            yield buffer[:done].view(np.uint8)

    def file_ranges(self, info: TensorInfo) -> tuple[FileRange, ...]:
        runs = self._runs_of(info)
        if runs is None or info.dtype.is_packed:
            return ()
        found: list[FileRange] = []
        cursor = 0
        for first, piece in runs:
            _, extent = self.locate(info, piece)
            if first != cursor or extent.stride is not None or not extent.is_plain:
                return ()
            cursor += piece.numel
            size = info.dtype.nbytes(piece.numel)
            last = found[-1] if found else None
            if last is not None and last.file == extent.file and last.offset + last.nbytes == extent.offset:
                found[-1] = FileRange(last.file, last.offset, last.nbytes + size)
            else:
                found.append(FileRange(extent.file, extent.offset, size))
        return tuple(found)

    def _check(self, info: TensorInfo) -> None:
        if self._is_closed:
            raise ReadError(f"{clean(self.label, 120)} is closed")
        if info.unreadable is not None:
            raise ReadError(info.unreadable)


class _Part:
    """Elements of a piece from the one number ``first`` on; they go to ``size`` bytes of a block, from ``at`` on."""

    def __init__(self, place: Place, extent: Extent, piece: Piece, first: int, at: int, size: int) -> None:
        self.place = place
        self.extent = extent
        self.piece = piece
        self.first = first
        self.at = at
        self.size = size

    def join(self, other: _Part, info: TensorInfo) -> bool:
        """Take over what follows in the same file, so that it is read at once; whether it does follow."""
        mine, next_one = self.extent, other.extent
        if self.place is not other.place or mine.stride is not None or next_one.stride is not None:
            return False
        end = mine.offset + info.dtype.nbytes(self.first) + self.size
        begin = next_one.offset + info.dtype.nbytes(other.first)
        # One that reaches outside its own bounds is refused by itself.
        is_within = end <= mine.end and next_one.begin <= begin and begin + other.size <= next_one.end
        if begin != end or not is_within or not mine.is_plain or not next_one.is_plain:
            return False
        self.extent = msgspec.structs.replace(mine, end=next_one.end)
        self.size += other.size
        return True

    def read(self, info: TensorInfo, block: NDArray[np.uint8]) -> None:
        """Fill the bytes of the block. Raises ReadError."""
        from tui_params.core.reading.gather import BoxReader, check_bounds, raw_dtype, resolve_bits

        extent = self.extent
        out = block[self.at : self.at + self.size]
        with self.place.reading() as fill:
            if extent.stride is None:
                begin = extent.offset + info.dtype.nbytes(self.first)
                check_bounds(extent, info, begin, begin + self.size)
                fill(begin, out.data)
            else:
                values, done = out.view(raw_dtype(info.dtype)), 0
                reader = BoxReader(fill, extent, describe(info.name, self.piece.shape, info.dtype))
                for origin, lengths in boxes(self.piece.shape, self.first, self.first + values.size):
                    first = sum(index * step for index, step in zip(origin, extent.stride, strict=True))
                    box = values[done : done + prod(lengths)].reshape(lengths)
                    reader.gather(box, first, list(zip(lengths, extent.stride, strict=True)))
                    done += box.size
        if not extent.is_plain:
            resolve_bits(out.view(raw_dtype(info.dtype)), info.dtype, extent)


class Rows:
    """Pieces by the rows that they have, the first dimension of the tensor."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = sorted((piece for piece in pieces if piece.numel), key=lambda piece: piece.start)
        self._starts = [piece.start[:1] for piece in self._pieces]
        self._ends = list(accumulate((piece.stop[:1] for piece in self._pieces), max))

    def between(self, low: int, high: int) -> Sequence[Piece]:
        """The pieces that may have elements of the rows ``low:high``; all of them if the tensor has no dimension."""
        if not self._ends or not self._ends[0]:
            return self._pieces
        return self._pieces[bisect_right(self._ends, (low,)) : bisect_left(self._starts, (high,))]


def _runs(info: TensorInfo, pieces: Sequence[Piece]) -> list[tuple[int, Piece]] | None:
    """The pieces with the number of their first element, in order; None if one is not a run in row-major order."""
    runs = []
    for piece in pieces:
        if not piece.numel:
            continue
        first, is_open = 0, True
        for begin, length, dim in zip(piece.start, piece.shape, info.shape, strict=True):
            # Once a dimension has more than one index, those after it have to be whole.
            if not is_open and length != dim:
                return None
            is_open = is_open and length == 1
            first = first * dim + begin
        if piece.stride is not None or (info.dtype.is_packed and first % info.dtype.grain):
            return None
        runs.append((first, piece))
    return sorted(runs, key=lambda run: run[0])


def _span(axis: Axis) -> tuple[int, int]:
    """The first and the last index of an axis that is not empty, and one more."""
    ends = axis.start, axis.index(axis.length - 1)
    return min(ends), max(ends) + 1


def _cut(axis: Axis, low: int, high: int) -> tuple[int, int]:
    """The positions of ``axis`` whose indices are in ``low:high``, as a start and a stop."""
    step = axis.step
    if step > 0:
        start, stop = -((axis.start - low) // step), -((axis.start - high) // step)
    else:
        start, stop = (axis.start - high) // -step + 1, (axis.start - low) // -step + 1
    return max(start, 0), min(stop, axis.length)


def _hole(info: TensorInfo, missing: int) -> str:
    return f"no piece of {clean(info.name, 120)} has {plural(missing, 'element')} of those that are asked for"
