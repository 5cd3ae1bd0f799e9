"""Reads elements from a file: only the bytes that a window needs, or a whole tensor in bounded blocks."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

from tui_params.core.dtypes import DType, fit, numpy_dtype
from tui_params.core.numbers.decode import decode, part_dtype, unpack
from tui_params.core.piece import boxes
from tui_params.core.reading.extent import Extent
from tui_params.core.reading.place import Fill, Place
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.core.window import Window
from tui_params.errors import ReadError, SliceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_NBYTES = 2 * 1024 * 1024
"""Bytes read at a time: large enough for the disk, small enough for the second-level cache."""

SPARSE = 32
"""A span is read whole if it has at most this many elements for each one that is wanted; otherwise piece by piece."""

SMALL_SPAN = 64 * 1024
"""A span of at most this many bytes is always read whole: a second system call would cost more."""

MAX_PLACES = 1 << 20
"""The most reads that one window may take: they last some seconds, and cannot be cancelled."""

Dims = list[tuple[int, int]]
"""Length and stride (in elements) of each dimension of a box of elements."""


def gather_window(place: Place, extent: Extent, info: TensorInfo, window: Window) -> NDArray[Any]:
    """The values at ``window`` as a new array of the element's own type. Raises ReadError."""
    import numpy as np

    stride = extent.stride if extent.stride is not None else row_major(info.shape)
    first = sum(axis.start * step for axis, step in zip(window.axes, stride, strict=True) if axis.length)
    dims = [(axis.length, axis.step * step) for axis, step in zip(window.axes, stride, strict=True)]
    lengths = [axis.length for axis in window.axes]
    try:
        raw = np.empty(lengths, raw_dtype(info.dtype))
    except ValueError:
        # Also of what has no elements: numpy multiplies the lengths that are not 0.
        raise ReadError(f"numpy has no arrays with the lengths {clean(str(lengths), 200)}") from None
    if raw.size:

        def spans() -> list[tuple[int, int]]:
            found: list[tuple[int, int]] = []
            reader = BoxReader(lambda at, out: found.append((at, at + len(out))), extent, info, MAX_PLACES)
            reader.gather(np.zeros_like(raw), first, dims)
            return found

        with place.coming(spans), place.reading() as fill:
            BoxReader(fill, extent, info, MAX_PLACES).gather(raw, first, dims)
    return _values(raw, info.dtype, extent).reshape(window.shape)


def gather_blocks(
    place: Place, extent: Extent, info: TensorInfo, start: int, stop: int, *, is_row_major: bool = False
) -> Iterator[NDArray[np.uint8]]:
    """The storage bytes of elements ``start:stop`` in one reused buffer. Raises ReadError, at any step.

    A view whose storage is dense (a transposed matrix) is read in the order of its storage, unless ``is_row_major``.
    """
    import numpy as np

    if not info.dtype.is_sized:
        part_dtype(info.dtype)  # raises, with the reason
    if start >= stop:
        return
    if extent.stride is not None and (is_row_major or not is_dense(info.shape, extent.stride)):
        yield from _gather_rows(place, extent, info, start, stop)
        return
    step = fit(BLOCK_NBYTES, info.dtype)
    buffer = np.empty(info.dtype.nbytes(min(step, stop - start)), np.uint8)
    first, last = (extent.offset + info.dtype.nbytes(index) for index in (start, stop))
    with place.coming(lambda: [(first, last)]):
        for begin in range(start, stop, step):
            end = min(begin + step, stop)
            at = extent.offset + info.dtype.nbytes(begin)
            block = buffer[: extent.offset + info.dtype.nbytes(end) - at]
            check_bounds(extent, info, at, at + len(block))
            with place.reading() as fill:
                fill(at, block.data)
            if not extent.is_plain:
                resolve_bits(block.view(raw_dtype(info.dtype)), info.dtype, extent)
            yield block


def _gather_rows(place: Place, extent: Extent, info: TensorInfo, start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
    """Elements ``start:stop``, counted in row-major order, of a view with gaps or repeated elements."""
    import numpy as np

    assert extent.stride is not None
    if info.dtype.is_packed:
        raise ReadError(f"{clean(info.name, 120)} is a strided view of packed {info.dtype.name} elements")
    raw = raw_dtype(info.dtype)
    step = max(BLOCK_NBYTES // raw.itemsize, 1)
    if min((stride for stride, dim in zip(extent.stride, info.shape, strict=True) if dim > 1), default=0) > SPARSE:
        # Every element is a read of its own: yield more often, so that the caller can stop.
        step = min(step, 1 << 16)
    buffer = np.empty(min(step, stop - start), raw)
    for begin in range(start, stop, step):
        end = min(begin + step, stop)
        done = 0
        with place.reading() as fill:
            reader = BoxReader(fill, extent, info)
            for origin, lengths in boxes(info.shape, begin, end):
                count = prod(lengths)
                first = sum(index * step for index, step in zip(origin, extent.stride, strict=True))
                reader.gather(
                    buffer[done : done + count].reshape(lengths), first, list(zip(lengths, extent.stride, strict=True))
                )
                done += count
        block = buffer[:done]
        resolve_bits(block, info.dtype, extent)
        yield block.view(np.uint8)


class BoxReader:
    """The elements of one tensor, while its file is borrowed."""

    def __init__(self, fill: Fill, extent: Extent, info: TensorInfo, most: int | None = None) -> None:
        self._left = most
        self._fill = fill
        self._extent = extent
        self._info = info

    def gather(self, out: NDArray[Any], first: int, dims: Dims) -> None:
        """Fill ``out`` with the box of elements that starts at element ``first``.

        If the elements are close together, the whole span is read and the elements are picked from it. Otherwise the
        box is cut along its widest dimension, so that memory stays bounded and no byte far from a wanted one is read.
        """
        import numpy as np

        itemsize = out.dtype.itemsize
        low = first + sum((length - 1) * step for length, step in dims if step < 0)
        high = first + sum((length - 1) * step for length, step in dims if step > 0) + 1
        if not self._info.dtype.is_packed and _is_row_major(dims) and out.flags.c_contiguous:
            self._read(first, high, out)
            return
        span = (high - low) * itemsize
        distinct = prod(length for length, step in dims if step)
        if span <= SMALL_SPAN or (span <= 2 * BLOCK_NBYTES and high - low <= SPARSE * distinct):
            elements = self._span(low, high, out.dtype)
            out[...] = np.ndarray(
                out.shape, out.dtype, elements, (first - low) * itemsize, [step * itemsize for _, step in dims]
            )
            return
        axis = max(range(len(dims)), key=lambda axis: (dims[axis][0] - 1) * abs(dims[axis][1]))
        length, step = dims[axis]
        inner = sum((count - 1) * abs(other) for index, (count, other) in enumerate(dims) if index != axis) + 1
        # As many indices of the widest dimension as fit a buffer, unless most bytes between two of them are not wanted.
        is_sparse = abs(step) > SPARSE * prod(
            count for index, (count, other) in enumerate(dims) if index != axis and other
        )
        count = 1 if is_sparse else max((2 * BLOCK_NBYTES // itemsize - inner) // abs(step), 1)
        count = min(count, max(length // 2, 1))
        before = (slice(None),) * axis
        for begin in range(0, length, count):
            some = min(count, length - begin)
            part = [*dims[:axis], (some, step), *dims[axis + 1 :]]
            self.gather(out[(*before, slice(begin, begin + some))], first + begin * step, part)

    def _span(self, low: int, high: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Elements ``low:high`` of the storage, counted from the tensor's first; packed ones a byte each."""
        import numpy as np

        if not self._info.dtype.is_packed:
            elements = np.empty(high - low, dtype)
            self._read(low, high, elements)
            return elements
        stored = self._info.dtype
        aligned = low // stored.grain * stored.grain
        nbytes = stored.nbytes(high - aligned)
        packed = np.empty(nbytes, np.uint8)
        begin = self._extent.offset + stored.nbytes(aligned)
        check_bounds(self._extent, self._info, begin, begin + nbytes)
        self._fill(begin, packed.data)
        return unpack(packed, stored.bits, high - aligned)[low - aligned :]

    def _read(self, low: int, high: int, out: NDArray[Any]) -> None:
        import numpy as np

        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise SliceError(f"the slice lies in more than {MAX_PLACES:,} places of the file: take a smaller one")
        itemsize = out.dtype.itemsize
        begin = self._extent.offset + low * itemsize
        check_bounds(self._extent, self._info, begin, begin + (high - low) * itemsize)
        self._fill(begin, out.reshape(-1).view(np.uint8).data)


def check_bounds(extent: Extent, info: TensorInfo, begin: int, end: int) -> None:
    """Raise ReadError if the bytes ``begin:end`` are not all in the tensor's storage."""
    if begin < extent.begin or end > extent.end:
        raise ReadError(
            f"{clean(info.name, 120)} reaches outside its storage: bytes {begin:,} to {end:,} of the file,"
            f" where the storage has {extent.begin:,} to {extent.end:,}"
        )


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a contiguous tensor."""
    strides = []
    step = 1
    for dim in reversed(shape):
        strides.append(step)
        step *= dim
    return tuple(reversed(strides))


def is_dense(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether a view covers its span without gaps or repetitions, in any order."""
    expected = 1
    for step, dim in sorted((step, dim) for step, dim in zip(stride, shape, strict=True) if dim != 1):
        if step != expected:
            return False
        expected *= dim
    return True


def _is_row_major(dims: Dims) -> bool:
    expected = 1
    for length, step in reversed(dims):
        if length != 1:
            if step != expected:
                return False
            expected *= length
    return True


def raw_dtype(dtype: DType) -> np.dtype[Any]:
    """A plain numpy type as wide as one element; packed elements take a byte each once they are unpacked.

    Raises ReadError for types that cannot be decoded here.
    """
    import numpy as np

    part_dtype(dtype)
    return np.dtype("c16" if dtype.bits == 128 else f"u{max(dtype.bits, 8) // 8}")


def value_dtype(dtype: DType) -> np.dtype[Any]:
    """The numpy type of the values that ``gather_window`` returns. Raises ReadError for types that it cannot read."""
    import numpy as np

    part_dtype(dtype)
    return numpy_dtype(dtype) or np.dtype(np.complex64)


def resolve_bits(raw: NDArray[Any], dtype: DType, extent: Extent) -> None:
    """Swap the bytes of big-endian elements in place; conjugate or negate where torch has left that to the reader."""
    import numpy as np

    if extent.is_swapped:
        raw.view(f"u{max(dtype.bits // (16 if dtype.is_complex else 8), 1)}").byteswap(inplace=True)
    if extent.is_conj and dtype.is_complex:
        width = dtype.bits // 16
        raw.view(f"u{width}").reshape(*raw.shape, 2)[..., 1] ^= np.array(1 << (8 * width - 1), f"u{width}")
    if extent.is_neg:
        if dtype.kind == "int":
            # Two's complement: the same bytes whether the type is signed or not.
            np.negative(raw, out=raw)
        elif dtype.kind in ("float", "complex"):
            width = dtype.bits // (16 if dtype.is_complex else 8)
            part = raw.view(f"u{width}")
            part ^= np.array(1 << (8 * width - 1), f"u{width}")


def _values(raw: NDArray[Any], dtype: DType, extent: Extent) -> NDArray[Any]:
    """The values of raw elements, in the element's own type."""
    import numpy as np

    if not extent.is_plain:
        flat = raw.reshape(-1)
        resolve_bits(flat, dtype, extent)
    unpacked = numpy_dtype(dtype) if dtype.is_packed else None
    if unpacked is not None:
        return raw.view(unpacked)
    return decode(raw.reshape(-1).view(np.uint8), dtype, raw.size).reshape(raw.shape)
