"""Reads a plane of a tensor as blocks: a sample of it at once, or every element, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.numbers.region import Region
from tui_params.core.reading.readable import Readable
from tui_params.core.reading.tensor_reading import Reading
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis, Plane, Window, make_window, plane_of
from tui_params.errors import ReadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tui_params.core.numbers.block_picture import BlockPicture
    from tui_params.core.numbers.raster import BlockFacts

SAMPLED = 1 << 21
"""Elements of a sample, at most."""

SAMPLED_BEYOND = 1 << 20
"""A region of fewer elements is read at once, and needs no sample."""

SAMPLED_ROWS, SAMPLED_COLUMNS = 256, 512
"""Blocks of a sample down and across, at most; one row of each is looked at."""

SAMPLED_PLACES = 2048
"""Places of the file that a sample is read from, at most, where whole rows would be too much."""

_PIECE = 1 << 19
"""Elements that are read at a time where they do not lie one after the other."""


@with_subnormals
def read_picture(
    source: Readable,
    info: TensorInfo,
    view: Plane,
    region: Region,
    *,
    check: Callable[[], None],
    progress: Callable[[int], None] | None = None,
) -> BlockPicture:
    """The exact picture of a region of a plane that has elements.

    ``check`` is called once per block that is read, and raises to stop; ``progress`` gets the elements read so far.
    Raises ReadError.
    """
    from tui_params.core.numbers.block_picture import blocking_of

    if info.unreadable is not None:
        raise ReadError(info.unreadable)
    if _is_turned(view):
        turned = read_picture(source, info, _turned(view), region.transposed(), check=check, progress=progress)
        return turned.transposed()
    blocking = blocking_of(region)
    start = _run_of(info, view, region)
    if start is None:
        return _read_pieces(source, info, view, region, check, progress)

    def should_stop() -> bool:
        check()
        return False

    ranges = [(start, start + region.numel)]
    reading = Reading(
        source, info, has_channels=False, ranges=ranges, is_counted=False, blocking=blocking, origin=start
    )
    reading.run(should_stop, progress)
    picture = reading.picture()
    assert picture is not None
    return picture


@with_subnormals
def sample_picture(source: Readable, info: TensorInfo, view: Plane) -> BlockPicture | None:
    """A picture of a plane from SAMPLED of its elements at most: the same columns of evenly spread rows.

    None if the plane has so few elements that it can be read as a whole as soon. Raises ReadError.
    """
    import numpy as np

    from tui_params.core.kernels.block_tables import BlockTables
    from tui_params.core.numbers.block_picture import Blocking, make_picture
    from tui_params.core.numbers.block_sums import BlockSums

    if info.unreadable is not None:
        raise ReadError(info.unreadable)
    if _is_turned(view):
        turned = sample_picture(source, info, _turned(view))
        return None if turned is None else turned.transposed()
    rows, columns = view.row_count, view.column_count
    if rows * columns <= SAMPLED_BEYOND:
        return None
    height = -(-rows // SAMPLED_ROWS)
    down = -(-rows // height)
    if columns <= SAMPLED // down:
        runs, width = [(0, columns)], -(-columns // SAMPLED_COLUMNS)
    else:
        most = max(1, min(SAMPLED_COLUMNS, SAMPLED_PLACES // down))
        width = -(-columns // most)
        runs = _spread(columns, width, SAMPLED // (down * most))
    # The same place in each block, also in the last one, which may be smaller.
    first = min(height // 2, rows - (down - 1) * height - 1)
    tables = BlockTables.empty(down, columns, 1, width, has_rows=False, has_columns=False)
    sums = BlockSums(info.dtype, columns, tables, source.engine.current)
    column_counts = np.zeros(tables.sums.shape[1], np.int64)
    if len(runs) > 1:
        source = source.still_part(info, _strided(view, first, height, down, 0, columns))
    for start, count in runs:
        sums.add(_values(source, info, view, _strided(view, first, height, down, start, count)), 0, start)
        np.add.at(column_counts, np.arange(start, start + count) // width, 1)
    blocking = Blocking(Region(0, 0, rows, columns), height, width)
    return make_picture(blocking, tables, np.ones(down, np.int64), column_counts, is_sampled=True)


def _read_pieces(
    source: Readable,
    info: TensorInfo,
    view: Plane,
    region: Region,
    check: Callable[[], None],
    progress: Callable[[int], None] | None,
) -> BlockPicture:
    """The exact picture of a region whose elements lie apart, window by window."""
    from tui_params.core.numbers.block_picture import blocking_of, exact_picture
    from tui_params.core.numbers.block_sums import BlockSums

    source = source.still_part(info, view.part(region.top, region.height, region.left, region.width))
    blocking = blocking_of(region)
    tables = blocking.tables()
    sums = BlockSums(info.dtype, region.width, tables, source.engine.current)
    across = min(region.width, _PIECE)
    down = max(1, _PIECE // across)
    done = 0
    for top in range(0, region.height, down):
        for left in range(0, region.width, across):
            check()
            rows, columns = min(down, region.height - top), min(across, region.width - left)
            window = view.part(region.top + top, rows, region.left + left, columns)
            sums.add(_values(source, info, view, window), top, left)
            done += rows * columns
            if progress is not None:
                progress(done)
    return exact_picture(blocking, tables)


def _values(source: Readable, info: TensorInfo, view: Plane, window: Window) -> NDArray[Any]:
    """The values of a window that is a part of a plane, in rows and columns."""
    found = source.read_window(info, window)
    rows = 1 if view.rows is None else window.axes[view.rows].length
    return found.reshape(rows, -1)


def _strided(view: Plane, first: int, step: int, rows: int, column: int, columns: int) -> Window:
    """The window of every ``step``-th row of a plane from ``first`` on, and of some neighbouring columns."""
    window = view.part(first, 1, column, columns)
    if view.rows is None:
        return window
    axis = view.window.axes[view.rows]
    axes = list(window.axes)
    axes[view.rows] = Axis(axis.index(first), axis.step * step if rows > 1 else 1, rows)
    return make_window(tuple(axes))


def _spread(columns: int, width: int, count: int) -> list[tuple[int, int]]:
    """A run of at most ``count`` columns in the middle of each ``width``."""
    found = []
    for start in range(0, columns, width):
        room = min(width, columns - start)
        some = min(count, room)
        found.append((start + (room - some) // 2, some))
    return found


def _is_turned(view: Plane) -> bool:
    """Whether the columns of a plane, not its rows, are what lies together."""
    return view.rows is not None and view.columns is not None and view.rows > view.columns


def _turned(view: Plane) -> Plane:
    turned = plane_of(view.window, view.columns, view.rows)
    return Plane(turned.window, turned.rows, turned.columns, view.leading, view.at)


def _run_of(info: TensorInfo, view: Plane, region: Region) -> int | None:
    """The number of the first element of a region whose elements lie one after the other; None if they do not."""
    ndim, axes = info.ndim, view.window.axes
    if info.stride is not None or not ndim or view.columns != ndim - 1 or region.width != view.column_count:
        return None
    if view.rows is not None and (view.rows != ndim - 2 or axes[view.rows].step != 1):
        return None
    last = axes[ndim - 1]
    if last.step != 1 or (region.height > 1 and last.length != info.shape[-1]):
        return None
    index = view.index(region.top, region.left)
    if index is None:
        return None
    start = 0
    for place, length in zip(index, info.shape, strict=True):
        start = start * length + place
    stop = start + region.numel
    grain = info.dtype.grain
    return None if start % grain or (stop % grain and stop != info.numel) else start


MOST_READ = 1 << 20
"""Elements of a block that is read for its exact figures, at most."""


@with_subnormals
def read_block(source: Readable, info: TensorInfo, view: Plane, region: Region) -> BlockFacts:
    """The exact figures of a region of at most MOST_READ elements of a plane; of complex ones the absolute value.

    Raises ReadError.
    """
    import numpy as np

    from tui_params.core.numbers.block_sums import magnitudes
    from tui_params.core.numbers.raster import BlockFacts

    window = view.part(region.top, region.height, region.left, region.width)
    found = magnitudes(source.read_window(info, window).reshape(-1))
    nan, inf = int(np.isnan(found).sum()), int(np.isinf(found).sum())
    good = found[np.isfinite(found)]
    if not good.size:
        return BlockFacts(region, found.size, nan, inf, None, None, None)
    with np.errstate(all="ignore"):
        # In units of the largest magnitude no sum overflows.
        peak = float(np.abs(good).max())
        unit = peak or 1.0
        mean, rms = float((good / unit).mean()) * unit, float(np.sqrt(((good / unit) ** 2).mean())) * unit
    low, high = float(good.min()) + 0.0, float(good.max()) + 0.0
    return BlockFacts(region, found.size, nan, inf, mean, rms, peak, low, high)
