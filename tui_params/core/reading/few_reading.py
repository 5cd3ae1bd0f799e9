"""The read of a tensor of few elements for its figures, without threads and tables, which take longer than it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tui_params.core.channels import Channels
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.kernels.protocol import DECODED, FEW
from tui_params.core.numbers.few import figures_of, marks_of
from tui_params.core.numbers.maxima import has_marks, lines_of, maxima_of
from tui_params.core.numbers.summary import Summary
from tui_params.core.reading.partial import Measured, Partial
from tui_params.core.reading.readable import Readable
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError, StoppedError


def is_few(info: TensorInfo) -> bool:
    """Whether ``measure_few`` reads a tensor: there is a loop for its type, and it has not too many elements."""
    return 0 < info.numel <= FEW and info.dtype.name in DECODED and info.stride is None and info.unreadable is None


def measure_few(
    source: Readable,
    info: TensorInfo,
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Measured:
    """The figures and the channels of such a tensor; to the last bit those of ``tensor_reading.measure``.

    Raises ReadError (also if fewer bytes come than the tensor has), StoppedError, what the source raises.
    """
    _raise_if_stopped(info, should_stop)
    pieces: list[NDArray[np.uint8]] = []
    found: Measured | None = None
    done = 0
    for block in source.blocks(info):
        if block.size == info.nbytes:
            found = _measured(source, info, block)
            done = info.numel
        else:
            pieces.append(block.copy())
            done = min(done + info.dtype.numel(block.size), info.numel)
        if progress is not None:
            progress(done)
        if done < info.numel:
            _raise_if_stopped(info, should_stop)
    if found is None:
        if done != info.numel:
            raise ReadError(f"{info.name} ended after {done} of {info.numel} elements")
        found = _measured(source, info, np.concatenate(pieces))
    return found


@with_subnormals
def _measured(source: Readable, info: TensorInfo, raw: NDArray[np.uint8]) -> Measured:
    kernels, dtype = source.engine.current, info.dtype
    lines = lines_of(info)
    if lines is None or not has_marks(info):
        found = kernels().few(raw, dtype.name, info.numel, marks_of(dtype), lines)
        if found is not None:
            channels = None if found.rows is None else Channels(found.rows, found.columns)
            return Measured(figures_of(found, dtype, info.numel), channels)
    maxima = maxima_of(info, kernels)
    if maxima is not None:
        maxima.add(raw, 0, info.numel)
    return Partial(Summary.of(raw, dtype, info.numel, kernels), maxima).measured(info)


def _raise_if_stopped(info: TensorInfo, should_stop: Callable[[], bool] | None) -> None:
    if should_stop is not None and should_stop():
        raise StoppedError(f"the reading of {info.name} was stopped")
