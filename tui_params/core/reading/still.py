"""Elements of one tensor as they were at one time, of a source that changes while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tui_params.core.dtypes import fit
from tui_params.core.numbers.decode import decode
from tui_params.core.reading.gather import BLOCK_NBYTES
from tui_params.core.reading.readable import Readable
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window, parse_window
from tui_params.errors import ReadError, UnknownTensorError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class StillTensor(Readable):
    """Elements ``start:stop`` out of ``source``, read at once: so they are of one time. Raises ReadError.

    Of a tensor that is not contiguous it has all. It is also that of another name, as sources over it may call it.
    """

    def __init__(self, source: Readable, info: TensorInfo, start: int = 0, stop: int | None = None) -> None:
        import numpy as np

        self.label = source.label
        self.engine = source.engine
        self._info = info
        self._values: NDArray[Any] | None = None
        if info.stride is not None and not info.dtype.is_packed:
            # Its blocks come in any order, and what asks for windows wants the same elements.
            self._values = np.ascontiguousarray(source.read_window(info, parse_window("", info.shape)))
        is_whole = info.stride is not None or (start == 0 and stop is None)
        self._first, end = (0, info.numel) if is_whole else (start, info.numel if stop is None else stop)
        wanted = info.dtype.nbytes(end) - info.dtype.nbytes(self._first)
        done, taken = 0, np.empty(0, np.uint8)
        for block in source.blocks(info, self._first, end) if self._values is None else self._stored():
            if done + block.size > wanted:
                raise ReadError(f"{info.name} has more bytes than the {wanted:,} that were listed")
            if not done:
                # Not before: a source may refuse what it lists, because it is too large.
                taken = np.empty(wanted, np.uint8)
            taken[done : done + block.size] = block
            done += block.size
        if done != wanted:
            raise ReadError(f"{info.name} ended after {done:,} of {wanted:,} bytes")
        self._raw = taken

    def _stored(self) -> Iterator[NDArray[np.uint8]]:
        import numpy as np

        assert self._values is not None
        values = self._values.reshape(-1)
        if self._info.dtype.name == "complex32":
            # numpy has no such type, so it was read as complex64; converting it back is exact.
            with np.errstate(invalid="ignore"):
                values = values.view(np.float32).astype(np.float16)
        yield values.astype(values.dtype.newbyteorder("<"), copy=False).view(np.uint8)

    def find(self, name: str) -> TensorInfo:
        if name != self._info.name:
            raise UnknownTensorError(f"{self.label} has no tensor {name!r}")
        return self._info

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        dtype = self._info.dtype
        before = dtype.nbytes(self._first)
        end = dtype.nbytes(self._info.numel if stop is None else min(stop, self._info.numel)) - before
        step = dtype.nbytes(fit(BLOCK_NBYTES, dtype))
        if start < self._first or end > self._raw.size:
            raise ReadError(f"of {info.name} other elements were read")
        for begin in range(dtype.nbytes(start) - before, end, step):
            yield self._raw[begin : min(begin + step, end)]

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        import numpy as np

        if self._raw.size != self._info.nbytes:
            raise ReadError(f"of {info.name} only some elements were read")
        if self._values is None:
            self._values = decode(self._raw, self._info.dtype, self._info.numel).reshape(self._info.shape)
        values = self._values
        for number, axis in enumerate(window.axes):
            values = values.take(axis.start + axis.step * np.arange(axis.length), axis=number)
        return np.ascontiguousarray(values).reshape(window.shape)


class StillWindow(Readable):
    """The values of one window of a tensor, read at once; windows within it can be read. Raises ReadError."""

    def __init__(self, source: Readable, info: TensorInfo, window: Window) -> None:
        self.label = source.label
        self.engine = source.engine
        self._info = info
        self._axes = window.axes
        self._values = source.read_window(info, window).reshape([axis.length for axis in window.axes])

    def find(self, name: str) -> TensorInfo:
        if name != self._info.name:
            raise UnknownTensorError(f"{self.label} has no tensor {name!r}")
        return self._info

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        raise ReadError(f"of {info.name} only some values were read")

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        import numpy as np

        values = self._values
        for number, (axis, kept) in enumerate(zip(window.axes, self._axes, strict=True)):
            places, rest = np.divmod(axis.start - kept.start + axis.step * np.arange(axis.length), kept.step)
            if rest.any() or (places < 0).any() or (places >= kept.length).any():
                raise ReadError(f"of {info.name} other values were read")
            values = values.take(places, axis=number)
        return np.ascontiguousarray(values).reshape(window.shape)
