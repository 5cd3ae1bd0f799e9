"""Reads the bytes of two tensors of one shape in step, whatever blocks their sources deliver."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_params.core.dtypes import fit
from tui_params.core.numbers.decode import part_dtype
from tui_params.core.reading.readable import Readable
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import plural
from tui_params.core.window import Axis, Window, make_window
from tui_params.errors import ReadError

PIECE = 1 << 20
"""Bytes of each side that are looked at together; of the wider type if the types differ."""

WINDOW = 1 << 19
"""Elements of a tensor that is not contiguous are gathered so many at a time."""

Bytes = NDArray[np.uint8]


class Piece(NamedTuple):
    """The bytes of ``numel`` elements from position ``start`` of both tensors, valid until the next piece."""

    a: Bytes
    b: Bytes
    start: int
    numel: int


class ByteComparison:
    """Tells whether two runs of bytes are the same; keeps one small array to work in."""

    def __init__(self) -> None:
        self._same = np.empty(PIECE // 8, np.bool_)

    def is_same(self, a: Bytes, b: Bytes) -> bool:
        if a.size != b.size:
            return False
        words = a.size // 8
        for at in range(0, words, self._same.size):
            count = min(self._same.size, words - at)
            part = slice(at * 8, (at + count) * 8)
            if not np.equal(a[part].view(np.uint64), b[part].view(np.uint64), out=self._same[:count]).all():
                return False
        return bool((a[words * 8 :] == b[words * 8 :]).all())


def pieces(
    source_a: Readable, a: TensorInfo, source_b: Readable, b: TensorInfo, start: int, stop: int
) -> Iterator[Piece]:
    """Elements ``start:stop`` of two tensors of the same shape, row-major.

    ``start`` is a multiple of the grains of both types. Raises ReadError and SliceError, at any step.
    """
    left, right = _Stream(source_a, a, start, stop), _Stream(source_b, b, start, stop)
    most = fit(PIECE, a.dtype, b.dtype)
    while start < stop:
        numel = min(left.available(), right.available(), most)
        yield Piece(left.take(numel), right.take(numel), start, numel)
        start += numel


def one_side(source: Readable, info: TensorInfo, start: int, stop: int) -> Iterator[tuple[Bytes, int]]:
    """The bytes of elements ``start:stop`` of one tensor, row-major, and how many elements they are.

    Raises ReadError, at any step.
    """
    stream = _Stream(source, info, start, stop)
    while start < stop:
        numel = stream.available()
        yield stream.take(numel), numel
        start += numel


class _Stream:
    """The elements of one side, in order; the caller takes as many at a time as both sides have."""

    def __init__(self, source: Readable, info: TensorInfo, start: int, stop: int) -> None:
        if not info.dtype.is_sized:
            part_dtype(info.dtype)  # raises, with the reason
        self._info = info
        self._left = stop - start
        self._blocks = source.blocks(info, start, stop) if info.stride is None else gathered(source, info, start, stop)
        self._block: Bytes = np.empty(0, np.uint8)
        self._at = self._count = 0

    def available(self) -> int:
        """How many elements the current block still has; the next block is read when it is used up."""
        while self._at == self._count:
            block = next(self._blocks, None)
            if block is None:
                raise ReadError(f"{self._info.name} ended {plural(self._left, 'element')} early")
            self._block, self._at = block, 0
            # The last byte of a packed tensor may have unused bits.
            self._count = min(self._info.dtype.numel(block.size), self._left)
            if self._count < self._left and not self._info.dtype.fills(self._count, block.size):
                raise ReadError(f"{self._info.name} came in a block that ends inside an element")
        return self._count - self._at

    def take(self, numel: int) -> Bytes:
        dtype, begin, end = self._info.dtype, self._at, self._at + numel
        if begin % dtype.unit[0] or (end % dtype.unit[0] and numel != self._left):
            raise ReadError(f"{self._info.name} came in blocks that cannot be laid beside those of the other side")
        self._at += numel
        self._left -= numel
        return self._block[dtype.nbytes(begin) : dtype.nbytes(end)]


def gathered(source: Readable, info: TensorInfo, start: int, stop: int) -> Iterator[Bytes]:
    """The bytes of elements ``start:stop`` of a tensor that is not contiguous, row-major. Raises ReadError."""
    if info.dtype.is_packed:
        raise ReadError(f"{info.name} is a strided view of packed {info.dtype.name} elements")
    part_dtype(info.dtype)
    at = 0
    for window in windows(info.shape, WINDOW):
        numel = window.numel
        first, last = max(start - at, 0), min(stop - at, numel)
        if first < last:
            values = source.read_window(info, window).reshape(-1)[first:last]
            if info.dtype.name == "complex32":
                # numpy has no such type, so it was read as complex64; converting it back is exact.
                with np.errstate(invalid="ignore"):
                    values = values.view(np.float32).astype(np.float16)
            yield _little_endian(np.ascontiguousarray(values)).view(np.uint8)
        at += numel
        if at >= stop:
            return


def windows(shape: tuple[int, ...], most: int) -> Iterator[Window]:
    """Windows of at most ``most`` elements that together, in order, are a tensor of ``shape`` in row-major order."""
    if prod(shape) == 0:
        return
    axis = next((axis for axis in range(len(shape)) if prod(shape[axis + 1 :]) <= most), len(shape))
    inner = tuple(Axis(0, 1, length) for length in shape[axis + 1 :])
    for index in np.ndindex(shape[:axis]):
        outer = tuple(Axis(place, 1, 1, True) for place in index)
        if axis == len(shape):
            yield make_window(outer)
            continue
        rows = max(most // prod(shape[axis + 1 :]), 1)
        for row in range(0, shape[axis], rows):
            yield make_window((*outer, Axis(row, 1, min(rows, shape[axis] - row)), *inner))


def _little_endian(values: NDArray[np.generic]) -> NDArray[np.generic]:
    import sys

    return values if sys.byteorder == "little" else values.byteswap()
