"""Profiling: the figures of the rows and columns of one tensor, from one pass over its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_params.core.channels import is_embedding_name
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.numbers.decode import part_dtype
from tui_params.core.reading.readable import Readable
from tui_params.core.reading.strips import strips
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError

if TYPE_CHECKING:
    from tui_params.core.numbers.profiles import Profiles


@with_subnormals
def profile(
    source: Readable,
    info: TensorInfo,
    outlier_ratio: float,
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Profiles:
    """The figures of every row and column of a tensor of two dimensions and more.

    Sums are those of float64; counts and largest magnitudes are exact. An outlier is ``outlier_ratio`` times as large
    as the median. Raises ReadError, StoppedError.
    """
    from tui_params.core.numbers.profiles import ProfileSums

    part_dtype(info.dtype)
    if info.ndim < 2:
        raise ReadError("a tensor of one dimension has no rows and columns" if info.ndim else "it is a single value")
    if not info.numel:
        raise ReadError("it has no elements")
    sums = ProfileSums(info)
    for strip in strips(source, info, should_stop=should_stop, progress=progress):
        sums.add(strip.values, strip.first)
    return sums.profiles(outlier_ratio, has_faint=info.ndim == 2 and is_embedding_name(info.name))
