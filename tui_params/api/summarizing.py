"""``tui_params.summarize``: every statistic of one tensor, as a value that prints as one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from tui_params.api.opening import ENGINE, is_live_module, open_source
from tui_params.core.dtypes import DTYPES, DType, numpy_dtype
from tui_params.core.figures import Figures
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.tensor_summary import TensorSummary
from tui_params.core.text import clean, listed

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from tui_params.api.opening import Target

    Summarized: TypeAlias = "Target | torch.Tensor | NDArray[Any]"

_NDITER_ELEMENTS = 1 << 20


@with_subnormals
def summarize(x: Summarized, name: str | None = None) -> TensorSummary:
    """The exact statistics of a torch tensor or a numpy array; with ``name``, of a tensor of whatever can be opened.

    ``summarize(model, "head.weight")`` and ``summarize("last.ckpt", "head.weight")`` take what ``open_source`` takes.
    Every element is read, and a tensor stays where it is: nothing is computed on its device. Prints as one line; every
    figure is an attribute (``core.figures.Figures``); the statistics are over the finite elements. Torch is not
    imported. Raises TypeError for anything else and for element types that have no numbers, UnknownTensorError,
    OpenError, ReadError.
    """
    if name is not None:
        source = open_source(x)
        try:
            return _of(source, source.find(name), name)
        finally:
            if source is not x:
                source.close()
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        with open_source({"": x}) as source:
            tensors = source.listing.tensors
            if len(tensors) != 1:
                names = listed([clean(info.name.lstrip("."), 40) for info in tensors], 4)
                raise TypeError(f"this tensor is made of {len(tensors)} others ({names}): summarize those")
            return _of(source, tensors[0], "")
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(x, (numpy.ndarray, numpy.generic)):
        return _of_array(numpy.asanyarray(x))
    if isinstance(x, (Source, TensorInfo, Mapping, str)) or is_live_module(x):
        raise TypeError("say which tensor: summarize(source, name)")
    raise TypeError(f"expected a torch tensor or a numpy array, or a source and a name, not {type(x).__name__}")


def _of(source: Source, info: TensorInfo, name: str) -> TensorSummary:
    from tui_params.core.reading.tensor_reading import summarize

    return _with_figures(summarize(source, info).figures(info.numel), name, info.shape, info.dtype)


def _of_array(array: NDArray[Any]) -> TensorSummary:
    import numpy as np

    from tui_params.core.numbers.summary import Accumulator

    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("a masked array hides elements: summarize(x.compressed()) has those that are not masked")
    native = array.dtype.newbyteorder("=")
    dtype = next((each for each in DTYPES if numpy_dtype(each) == native), None)
    if dtype is None:
        raise TypeError(f"the element type {array.dtype} of this array is none whose numbers are summarized")
    accumulator = Accumulator(dtype, ENGINE.current)
    for part in _parts(array, native):
        raw = part.view(np.uint8)
        accumulator.add(_packed(raw, dtype.bits) if dtype.is_packed else raw, part.size)
    return _with_figures(accumulator.summary().figures(array.size), "", array.shape, dtype)


def _parts(array: NDArray[Any], native: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """The elements, each once, in contiguous little-endian arrays."""
    import numpy as np

    if not array.size:
        return
    wanted = native.newbyteorder("<")
    if array.flags.c_contiguous and array.dtype == wanted:
        flat = np.asarray(array).reshape(-1)
        step = 8 * _NDITER_ELEMENTS
        yield from (flat[first : first + step] for first in range(0, flat.size, step))
        return
    for index in np.ndindex(array.shape[:-1]) if array.ndim and array.shape[-1] >= 64 else [...]:
        yield np.ascontiguousarray(np.asarray(array)[index], wanted).reshape(-1)


def _packed(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """One element a byte, packed to ``bits`` bits each, lowest bits first."""
    import numpy as np

    each = np.unpackbits(codes[:, None], axis=1, bitorder="little")[:, :bits]
    return np.packbits(each.reshape(-1), bitorder="little")


def _with_figures(figures: Figures, name: str, shape: tuple[int, ...], dtype: DType) -> TensorSummary:
    return TensorSummary(**msgspec.structs.asdict(figures), name=name, shape=shape, dtype=dtype)
