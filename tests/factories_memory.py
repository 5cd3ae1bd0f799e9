"""A Source over numpy arrays in memory, for tests that need tensors and no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_params.core.dtypes import DTYPES, DType, numpy_dtype
from tui_params.core.findings import Finding
from tui_params.core.source import Listing, Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.errors import ReadError


def dtype_of(array: NDArray[Any]) -> DType:
    """The first line of the table whose numpy type the array has."""
    return next(dtype for dtype in DTYPES if numpy_dtype(dtype) == array.dtype)


class MemorySource(Source):
    """Tensors that are numpy or ml_dtypes arrays, by name.

    ``unreadable`` are reasons by name; ``tied_to`` are first names by name. ``broken`` are reasons by name of tensors
    that look readable until they are read. ``elements_read`` counts what ``read_window`` returned, and ``windows``
    keeps what it was asked for. ``step`` is the number of elements in a block.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        *,
        label: str = "memory",
        unreadable: Mapping[str, str] | None = None,
        broken: Mapping[str, str] | None = None,
        tied_to: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        findings: tuple[Finding, ...] = (),
        is_ordered: bool = True,
        step: int = 1 << 12,
    ) -> None:
        self.label = label
        self.arrays = dict(arrays)
        self.broken = dict(broken or {})
        self.step = step
        self.elements_read = 0
        self.windows: list[Window] = []
        self.is_closed = False
        self.listing = Listing(
            format="memory",
            tensors=tuple(
                _describe(name, array, (tied_to or {}).get(name), (unreadable or {}).get(name))
                for name, array in self.arrays.items()
            ),
            metadata=metadata or {},
            findings=findings,
            is_ordered=is_ordered,
        )

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        self.windows.append(window)
        array = self._array(info)
        at = tuple(
            axis.start if axis.is_index else [axis.index(place) for place in range(axis.length)] for axis in window.axes
        )
        for number, part in reversed(list(enumerate(at))):
            array = np.take(array, np.asarray(part, dtype=np.int64), axis=number)
        self.elements_read += array.size
        return array.copy()

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        array = np.ascontiguousarray(self._array(info)).reshape(-1)
        stop = array.size if stop is None else stop
        for first in range(start, stop, self.step):
            part = array[first : min(first + self.step, stop)]
            raw = part.view(np.uint8) if part.size else np.zeros(0, np.uint8)
            yield _pack(raw, info.dtype.bits) if info.dtype.is_packed else raw.copy()

    def close(self) -> None:
        self.is_closed = True

    def _array(self, info: TensorInfo) -> NDArray[Any]:
        if self.is_closed:
            raise ReadError(f"{self.label} is closed")
        reason = info.unreadable or self.broken.get(info.name)
        if reason:
            raise ReadError(reason)
        return self.arrays[info.name]


def _describe(name: str, array: NDArray[Any], tied_to: str | None, unreadable: str | None) -> TensorInfo:
    dtype = dtype_of(array)
    nbytes = dtype.nbytes(array.size)
    return TensorInfo(name, array.shape, dtype, array.size, nbytes, tied_to=tied_to, unreadable=unreadable)


def _pack(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """One value a byte, packed to ``bits`` bits each, lowest bits first."""
    each = np.unpackbits(codes[:, None], axis=1, bitorder="little")[:, :bits]
    return np.packbits(each.reshape(-1), bitorder="little")
