"""The values of a tensor, or of a slice of it, as a file in numpy's own format (NEP 1), read a few MB at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tui_params.core.export.contents import Contents, Piece, quantised_words
from tui_params.core.numbers.decode import part_dtype
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window, pieces
from tui_params.errors import ReadError, WriteError

if TYPE_CHECKING:
    import numpy as np

    from tui_params.core.dtypes import DType
    from tui_params.core.reading.readable import Readable

PIECE_NBYTES = 1 << 22

MOST_DIMENSIONS = 32
"""What every numpy can load; from 2.0 on it is 64."""


def npy_of(source: Readable, info: TensorInfo, window: Window) -> Contents:
    """The file that ``numpy.load`` reads as the values at ``window``, with the element's own type.

    numpy itself has no bfloat16 and none of the types of 8 bits and less (``ml_dtypes`` adds them, and ``numpy.save``
    writes them as void, which nothing reads back). Their bit patterns are written instead, as uint16 or uint8, one
    element each, and ``about`` says so. Raises ReadError, WriteError.
    """
    import numpy as np

    if info.unreadable is not None:
        raise ReadError(info.unreadable)
    native, stored = _types(info.dtype)
    if len(window.shape) > MOST_DIMENSIONS:
        raise WriteError(
            f"an array of numpy has at most {MOST_DIMENSIONS} dimensions, and this has {len(window.shape)}"
        )
    header = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(stored), "fortran_order": False, "shape": window.shape}
    np.lib.format.write_array_header_1_0(header, fields)
    about = quantised_words(info)
    if stored != native:
        about = f"{info.dtype.short} as {stored} bits: .view(ml_dtypes.{native})"
    nbytes = len(header.getvalue()) + window.numel * stored.itemsize
    return Contents(_pieces(header.getvalue(), source, info, window, native, stored), nbytes, lambda: about)


def _types(dtype: DType) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """The type of the elements as they are read, and the one that is written. Raises ReadError."""
    import numpy as np

    from tui_params.core.dtypes import numpy_dtype

    part_dtype(dtype)
    native = np.dtype(np.complex64) if dtype.name == "complex32" else numpy_dtype(dtype)
    assert native is not None
    is_of_numpy = native.isbuiltin == 1
    return native, native if is_of_numpy else np.dtype(f"u{native.itemsize}")


def _pieces(
    header: bytes, source: Readable, info: TensorInfo, window: Window, native: np.dtype[Any], stored: np.dtype[Any]
) -> Iterator[Piece]:
    import numpy as np

    yield header
    source = source.still_part(info, window)
    for part in pieces(window, max(1, PIECE_NBYTES // native.itemsize)):
        values = np.ascontiguousarray(source.read_window(info, part)).reshape(-1)
        if values.size != part.numel or values.dtype != native:
            raise ReadError(f"{values.size:,} values of {values.dtype} came in place of {part.numel:,} of {native}")
        yield values.view(stored).view(np.uint8).data
