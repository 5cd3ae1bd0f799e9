"""Counting: the Distribution of one tensor, from counts that are kept, or from a read of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_params.core.reading import tensor_reading
from tui_params.core.reading.outcome import reason_of
from tui_params.core.reading.readable import Readable
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError

if TYPE_CHECKING:
    from tui_params.core.numbers.distribution import Distribution
    from tui_params.core.numbers.summary import Summary


def is_large(info: TensorInfo) -> bool:
    """Whether a tensor is shown by a sample of its elements before it has been read whole."""
    return info.numel > tensor_reading.SAMPLE_BEYOND


def counted(summary: Summary, info: TensorInfo) -> Distribution:
    """The distribution from a summary of a tensor, or of a sample of it."""
    from tui_params.core.numbers.distribution import distribution_of

    return distribution_of(summary, info.numel)


def count(
    source: Readable,
    info: TensorInfo,
    *,
    is_sample: bool = False,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Distribution:
    """The distribution of a tensor, or of a sample of it, from a read. Raises ReadError, StoppedError."""
    try:
        if is_sample:
            summary = tensor_reading.sample(source, info, should_stop=should_stop)
        else:
            summary = tensor_reading.summarize(source, info, should_stop=should_stop, progress=progress)
    except (OSError, MemoryError) as error:
        raise ReadError(reason_of(error)) from error
    return counted(summary, info)
