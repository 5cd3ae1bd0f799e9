"""The levels of a plane: how bright each tensor is, against its kind or against all, with robust limits."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tui_params.core.layers.known import READ, UNREAD, Column, positions
from tui_params.core.layers.planes import Plane
from tui_params.core.layers.statistics import Statistic
from tui_params.core.numbers.levels import BAD, MIDDLE, TOP
from tui_params.core.numbers.raster import robust_limit

Against = Literal["kind", "plane"]
"""What a value is compared with: the median of its kind, or the values of the whole plane."""

_LEAST_SHARE = 0.01
"""The limit of the colours of shares is at least this."""

_LEAST_TIMES = 2.0
"""The limit of the colours is at least this many times the median: what is within that is quiet."""


class Shades(msgspec.Struct, frozen=True):
    """``levels`` has a byte for each of the plane's ``tensors``: 0 to TOP, or BAD of one with a NaN or an Inf.

    ``against`` the kind, MIDDLE is its median, and ``limit`` how many times it the ends are; against the plane, 0 is
    zero and TOP is ``limit``. ``bad`` tensors have a NaN or an Inf, ``clipped`` lie beyond the limit, ``unread`` are
    not known. A tensor without a value has the level 0, which is not shown.
    """

    statistic: str
    against: Against
    levels: bytes
    limit: float
    bad: int
    clipped: int
    unread: int
    known: int


def against_of(statistic: Statistic, wanted: Against) -> Against:
    """What a figure can be compared with: shares and counts have no quotient."""
    return wanted if statistic.scale == "ratio" else "plane"


def shades_of(whole: Column, plane: Plane, statistic: Statistic, wanted: Against) -> Shades:
    """The levels of a plane, whose figures are in a column of all tensors."""
    column = whole.some(positions(plane.tensors))
    against = against_of(statistic, wanted)
    is_good = (column.states == READ) & np.isfinite(column.values)
    is_bad = (column.states == READ) & (column.flags > 0)
    if against == "kind":
        shares, limit, clipped = _against_kind(column, is_good, plane)
        levels = MIDDLE + np.rint(shares * MIDDLE)
    else:
        sizes = np.where(is_good, column.values, 0.0)
        least = _LEAST_SHARE if statistic.scale == "share" else 0.0
        limit = robust_limit(np.sort(sizes[is_good & ~is_bad]), least)
        clipped = int(np.count_nonzero(sizes[is_good] > limit))
        levels = np.rint(np.minimum(sizes / limit, 1.0) * TOP) if limit > 0 else np.zeros(sizes.size)
    found = np.where(is_good, levels, 0).astype(np.uint8)
    found[is_bad] = BAD
    unread = int(np.count_nonzero(column.states == UNREAD))
    bad, good = int(np.count_nonzero(is_bad)), int(np.count_nonzero(is_good))
    return Shades(statistic.name, against, found.tobytes(), float(limit), bad, clipped, unread, good)


def _against_kind(column: Column, is_good: NDArray[np.bool_], plane: Plane) -> tuple[NDArray[np.float64], float, int]:
    """From -1 to 1 how far each value is from the median of its kind, as a quotient; its limit; how many are beyond."""
    kinds = np.zeros(len(plane.tensors), np.intp) if plane.is_split else np.asarray(plane.column_of, np.intp)
    medians = np.zeros(int(kinds.max(initial=0)) + 1)
    order = np.argsort(kinds, kind="stable")
    for some in np.split(order, np.flatnonzero(np.diff(kinds[order])) + 1):
        values = column.values[some[is_good[some]]]
        if values.size:
            medians[kinds[some[0]]] = np.median(values)
    usual = medians[kinds]
    values = np.where(is_good, column.values, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.log(values / usual)
    far = np.where(is_good, far, 0.0)
    # Where half of a kind is zero, the rest of it is as far as can be, and its zeros are usual.
    far = np.where(is_good & (usual == 0), np.where(values > 0, np.inf, 0.0), far)
    sizes = np.abs(far[is_good])
    finite = np.sort(sizes[np.isfinite(sizes)])
    limit = robust_limit(finite, float(np.log(_LEAST_TIMES)))
    return np.clip(far / limit, -1.0, 1.0), float(np.exp(min(limit, 700.0))), int(np.count_nonzero(sizes > limit))
