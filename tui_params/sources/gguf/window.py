"""A window of a tensor that is stored in blocks: only the blocks that it touches are read and restored."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.dtypes import from_torch
from tui_params.core.reading.extent import Extent
from tui_params.core.reading.gather import MAX_PLACES, gather_window
from tui_params.core.reading.place import Place
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis, Window, make_window
from tui_params.errors import SliceError
from tui_params.sources.gguf.blocks import restore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_RESTORED = 1 << 22
"""Elements that are restored at once: a column has one in each block."""


def restore_window(place: Place, extent: Extent, info: TensorInfo, window: Window) -> NDArray[np.float32]:
    """The values at ``window`` as a new array. Raises ReadError, SliceError."""
    import numpy as np

    values = np.empty([axis.length for axis in window.axes], np.float32)
    rows = prod(axis.length for axis in window.axes[:-1])
    if rows > MAX_PLACES:
        raise SliceError(f"the slice lies in more than {MAX_PLACES:,} rows of blocks: take a smaller one")
    if values.size:
        _fill(values, place, extent, info, window.axes)
    return values.reshape(window.shape)


def _fill(out: NDArray[Any], place: Place, extent: Extent, info: TensorInfo, axes: tuple[Axis, ...]) -> None:
    """Fill ``out`` with the box of ``axes``; a large one is cut along its longest dimension."""
    assert info.dtype.stored is not None
    elements, nbytes = info.dtype.stored
    *rows, last = axes
    ends = last.index(0), last.index(last.length - 1)
    first = min(ends) // elements
    count = max(ends) // elements + 1 - first
    if prod(out.shape[:-1]) * count * elements > MAX_RESTORED and out.size > 1:
        cut = max(range(len(axes)), key=lambda number: (axes[number].length > 1, number < len(rows)))
        half = axes[cut].length // 2
        for begin, length in ((0, half), (half, axes[cut].length - half)):
            part = (*axes[:cut], axes[cut].part(begin, length), *axes[cut + 1 :])
            _fill(out[(slice(None),) * cut + (slice(begin, begin + length),)], place, extent, info, part)
        return
    byte = from_torch("uint8")
    assert byte is not None
    raw = msgspec.structs.replace(
        info, dtype=byte, shape=(*info.shape[:-1], info.shape[-1] // elements, nbytes), numel=info.nbytes
    )
    window = make_window((*rows, Axis(first, 1, count), Axis(0, 1, nbytes)))
    # A plain integer drops its dimension.
    found = restore(gather_window(place, extent, raw, window).reshape(-1), info.dtype)
    begin = last.start - first * elements
    end = begin + last.step * last.length
    picked = slice(begin, None if end < 0 else end, last.step)
    out[...] = found.reshape(*out.shape[:-1], count * elements)[..., picked]
