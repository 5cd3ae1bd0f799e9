"""Between: the next element of a tensor whose value lies in a range, searched for in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.dtypes import DType
from tui_params.core.findings import Index
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.numbers.decode import numbers, part_dtype
from tui_params.core.reading.readable import Readable
from tui_params.core.reading.strips import runs
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Range(msgspec.Struct, frozen=True, gc=False):
    """The finite values from ``low`` on and below ``high``, or up to it if ``is_closed``: a bin of a histogram.

    If ``is_magnitude``, those whose magnitudes lie there. A complex number does if one of its parts does.
    """

    low: float
    high: float
    is_closed: bool
    is_magnitude: bool = False


@with_subnormals
def find_between(
    source: Readable,
    info: TensorInfo,
    wanted: Range,
    here: Index | None = None,
    *,
    is_backwards: bool = False,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Index | None:
    """The index of the next element in the range after the one at ``here``, in row-major order; None if there is none.

    It goes on at the other end, up to ``here`` itself. ``progress`` gets how many elements were passed over. Raises
    ReadError, StoppedError.
    """
    import numpy as np

    if not info.numel:
        return None
    test = _test_of(info.dtype, wanted)
    # Where the search begins, and where it comes to last.
    shape = info.shape or (1,)
    at = -1 if here is None else int(np.ravel_multi_index(here or (0,), shape))
    cut = at + 1 if not is_backwards else at if here is not None else info.numel
    parts = ((0, cut), (cut, info.numel)) if is_backwards else ((cut, info.numel), (0, cut))
    passed = 0
    for low, high in parts:
        if low >= high:
            continue
        for run in runs(source, info, low, high, is_backwards=is_backwards, should_stop=should_stop):
            places = test(run.values.reshape(-1)).nonzero()[0]
            if places.size:
                number = run.first + int(places[-1 if is_backwards else 0])
                return tuple(map(int, np.unravel_index(number, shape))) if info.shape else ()
            passed += run.values.size
            if progress is not None:
                progress(passed)
    return None


def _test_of(dtype: DType, wanted: Range) -> Callable[[NDArray[Any]], NDArray[np.bool_]]:
    """The function that says which of some values, in the element's own type, are in the range."""
    import numpy as np

    part = part_dtype(dtype)
    if part.bits <= 16 and dtype.kind != "bool":
        bits = 16 if part.bits == 16 else 8
        table = _is_in(numbers(np.arange(1 << bits, dtype=f"u{bits // 8}"), part), wanted)

        runs = _runs(table)

        def by_pattern(values: NDArray[Any]) -> NDArray[np.bool_]:
            if values.dtype.kind == "c":
                return by_value(values)  # complex32 is read as complex64, whose parts are no longer its patterns
            words = values.view(f"u{bits // 8}")
            found = np.zeros(words.shape, np.bool_)
            for first, more in runs:
                found |= words - first <= more
            return found

    def by_value(values: NDArray[Any]) -> NDArray[np.bool_]:
        if values.dtype.kind == "c":
            return _is_in(values.real, wanted) | _is_in(values.imag, wanted)
        return _is_in(values if values.dtype.kind in "iuf" else values.astype(np.int64), wanted)

    return by_pattern if part.bits <= 16 and dtype.kind != "bool" else by_value


def _runs(table: NDArray[np.bool_]) -> list[tuple[np.unsignedinteger[Any], np.unsignedinteger[Any]]]:
    """The patterns that are in the table, as runs: the first, and how many more. A range of values makes a few."""
    import numpy as np

    word = np.uint16 if table.size > 256 else np.uint8
    edges = np.flatnonzero(np.diff(np.concatenate(([0], table.view(np.int8), [0])))).tolist()
    return [(word(first), word(stop - first - 1)) for first, stop in zip(edges[::2], edges[1::2], strict=True)]


def _is_in(values: NDArray[Any], wanted: Range) -> NDArray[np.bool_]:
    import numpy as np

    if values.dtype.kind != "f":
        return _is_integer_in(values, wanted)
    with np.errstate(invalid="ignore"):
        # Two comparisons of float32 with a float64 would round the float64.
        sizes = np.abs(values.astype(np.float64)) if wanted.is_magnitude else values.astype(np.float64)
        above = sizes <= wanted.high if wanted.is_closed else sizes < wanted.high
        return (sizes >= wanted.low) & above & (sizes <= 1.7976931348623157e308)


def _is_integer_in(values: NDArray[Any], wanted: Range) -> NDArray[np.bool_]:
    """Integers are compared as integers: a float64 does not hold all of them."""
    import numpy as np

    low, high = math.ceil(wanted.low), (math.floor(wanted.high) if wanted.is_closed else math.ceil(wanted.high) - 1)
    if not wanted.is_magnitude:
        return _is_from_to(values, low, high)
    low = max(low, 0)
    positive, negative = _is_from_to(values, low, high), _is_from_to(values, -high, -low)
    return np.logical_or(positive, negative)


def _is_from_to(values: NDArray[Any], low: int, high: int) -> NDArray[np.bool_]:
    import numpy as np

    info = np.iinfo(values.dtype)
    if low > high or low > info.max or high < info.min:
        return np.zeros(values.shape, np.bool_)
    kind = values.dtype.type
    found: NDArray[np.bool_] = (values >= kind(max(low, info.min))) & (values <= kind(min(high, info.max)))
    return found
