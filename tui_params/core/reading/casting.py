"""Casting: what casts would do to a tensor whose counts do not tell it, from one pass over its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.numbers.decode import part_dtype
from tui_params.core.reading.readable import Readable
from tui_params.core.reading.strips import strips
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from tui_params.core.numbers.casts import Cast

_ROWS_NUMEL = 1 << 14
"""Elements that are cast at a time: few enough for the second-level cache."""


@with_subnormals
def cast_values(
    source: Readable,
    info: TensorInfo,
    targets: Sequence[str],
    peak: float,
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Cast, ...]:
    """What casts to these types do to the elements of a tensor whose largest finite magnitude is ``peak``.

    The parts of a complex type are two elements. Raises ReadError, StoppedError.
    """
    from tui_params.core.numbers.casts import PART, CastSums, as_float64

    part_dtype(info.dtype)
    sums = [CastSums(target, peak) for target in targets]
    for strip in strips(source, info, should_stop=should_stop, progress=progress):
        values = strip.values
        if info.dtype.is_complex:
            values = values.view(values.real.dtype)
        step = max(1, _ROWS_NUMEL // values.shape[1])
        for first in range(0, values.shape[0], step):
            some = as_float64(values[first : first + step])
            for start in range(0, some.shape[1], PART):
                for each in sums:
                    each.add(some[:, start : start + PART])
    return tuple([each.cast() for each in sums])
