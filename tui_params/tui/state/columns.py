"""Columns: what the tree can show beside the names, and how these columns share its width."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec

from tui_params.core import text
from tui_params.core.figures import Figures
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.totals import Sums
from tui_params.tui.state.sorting import KEYS

_ROOMY, _STACKED, _WIDE = 56, 60, 100
"""Widths from which on there is room for more; in a terminal of 60 columns the tree has the whole width."""
_MOST_FOR_NAMES = 38
"""Cells that names keep before other columns come; most rows of a transformer need no more."""

_FULL_NAMES = 42
"""Cells that the full names of a flat list get before other columns come."""

_LONGEST_SHAPE, _LONGEST_DTYPE = 16, 12


class Column(msgspec.Struct, frozen=True):
    """One thing that the tree can show of each tensor.

    ``width`` is in cells, with the blank before it; a shape and a dtype take what the source needs, up to ``width``.
    ``sort`` is the name of the order that a click on the heading chooses. ``is_live``: only a model in memory has it.
    ``is_across``: only two sources that are compared have it.
    """

    name: str
    heading: str
    title: str
    width: int
    sort: str = ""
    of_figures: Callable[[Figures], float | None] | None = None
    is_live: bool = False
    is_across: bool = False


def _column_of(name: str, width: int) -> Column:
    """The column of something that the tree can be sorted by."""
    key = next(key for key in KEYS if key.name == name)
    return Column(name, key.short, key.title, width, name, key.of_figures, key.is_live, key.is_across)


COLUMNS: tuple[Column, ...] = (
    Column("shape", "shape", "dimensions; parameters of a module", _LONGEST_SHAPE, "numel"),
    _column_of("dtype", _LONGEST_DTYPE),
    _column_of("trainable", 7),
    _column_of("numel", 7),
    _column_of("nbytes", 9),
    _column_of("grad", 8),
    Column("course", "steps", "norms of its gradient at the last steps", 9, is_live=True),
    Column("update", "update", "norm of the last update / norm before it", 8, is_live=True),
    _column_of("change", 9),
    _column_of("gradchange", 9),
    _column_of("across", 15),
    _column_of("share", 8),
    _column_of("cosine", 9),
    *map(
        partial(_column_of, width=9),
        ("mean", "std", "min", "max", "absmax", "rms", "l2", "zeros", "subnormals", "nonfinite"),
    ),
    _column_of("device", 8),
    Column("module", "module", "class of the module that holds it", 15, is_live=True),
    Column("spark", "values", "how the values are distributed", 9),
)
"""Every column, in the order in which they stand unless the user chose another."""

BY_NAME = {column.name: column for column in COLUMNS}

_FIRST = ("shape", "dtype", "spark", "numel", "nbytes")
_FIRST_ACROSS = ("across", "share", "cosine", "shape", "dtype", "spark", "numel")
_FIRST_LIVE = ("shape", "grad", "spark", "dtype", "trainable", "numel", "nbytes")
_FIRST_TRAINED = ("shape", "grad", "course", "update", "spark", "dtype", "trainable", "numel", "nbytes")


def default_columns(
    is_live: bool, is_compared: bool = False, is_trained: bool = False, *, is_across: bool = False
) -> tuple[str, ...]:
    """What is shown unless the user chose otherwise, what matters most first: as many as there is room for.

    ``is_compared``: there is an earlier look at the model, since which it may have changed. ``is_trained``: it trains
    meanwhile, in another process. ``is_across``: there is another source beside it.
    """
    if is_across:
        return _FIRST_ACROSS
    usual = _FIRST_TRAINED if is_trained else _FIRST_LIVE
    if is_live and is_compared:
        return ("change", *usual)
    return usual if is_live else _FIRST


class Content(msgspec.Struct, frozen=True):
    """The cells that the longest shape (in both spellings) and the longest dtype of a source need.

    ``has_dtypes``: there are several. ``is_live``: it has parameters, which only a model in memory has.
    ``is_compared``: it is compared with an earlier look. ``is_trained``: it trains while it is looked at.
    ``is_across``: it is compared with another source.
    """

    shape: int = 5
    short_shape: int = 5
    dtype: int = 4
    has_dtypes: bool = False
    is_live: bool = False
    is_compared: bool = False
    is_trained: bool = False
    is_across: bool = False


def content_of(tensors: Sequence[TensorInfo]) -> Content:
    """The Content of some tensors."""
    return content_for({info.shape for info in tensors}, Sums(tensors))


def content_for(shapes: Iterable[tuple[int, ...]], sums: Sums, *, is_trained: bool = False) -> Content:
    """The Content of tensors of these shapes, whose sums are given."""
    shapes = [shape for shape in shapes if len(shape) <= _LONGEST_SHAPE]
    dtypes = sums.dtypes
    return Content(
        max((len(text.shape(shape)) for shape in shapes), default=5),
        max((len(text.short_shape(shape)) for shape in shapes), default=5),
        max(map(len, dtypes), default=4),
        len(dtypes) > 1,
        sums.has_parameters,
        is_trained=is_trained,
    )


class Layout(msgspec.Struct, frozen=True):
    """The columns of a tree of some width: the cells of the names, and of each column with the blank before it."""

    name: int
    cells: tuple[tuple[Column, int], ...]
    has_short_shapes: bool
    """Whether shapes are ``4096×1024`` instead of ``[4096, 1024]``."""

    def has(self, name: str) -> bool:
        return any(column.name == name for column, _ in self.cells)

    def start(self, name: str) -> int:
        """The cell at which a column begins; ValueError if it is not shown."""
        at = self.name
        for column, width in self.cells:
            if column.name == name:
                return at
            at += width
        raise ValueError(name)

    def at(self, x: int) -> Column | None:
        """The column at a cell; None left of the columns, where the names are."""
        end = self.name
        for column, width in self.cells:
            if end <= x < end + width:
                return column
            end += width
        return None


def lay_out(
    width: int,
    wanted: Sequence[str] | None = None,
    content: Content | None = None,
    *,
    sorted_by: str = "",
    is_flat: bool = False,
) -> Layout:
    """The columns of a tree ``width`` cells wide: the names keep about half of it.

    ``wanted`` are the columns that the user chose, in their order; None are the usual ones. The column that the tree
    is sorted by comes before all others. In a flat list the full names get their room first.
    """
    content = content if content is not None else Content()
    usual = default_columns(content.is_live, content.is_compared, content.is_trained, is_across=content.is_across)
    names = list(usual if wanted is None else wanted)
    if sorted_by in BY_NAME and sorted_by not in names:
        names.append(sorted_by)
    names.sort(key=lambda name: (name != sorted_by, is_flat and name != "spark"))
    least = width // 2 if _ROOMY <= width <= _STACKED else width * 9 // 20
    least = min(least, _MOST_FOR_NAMES) if wanted is None else max(min(least, 20), width // 4)
    has_short_shapes = width < _ROOMY
    left = width
    taken: dict[str, int] = {}
    for name in names:
        cells = _cells_of(name, width, content, has_short_shapes)
        keep = max(least, min(_FULL_NAMES, width - 18)) if is_flat and name not in (sorted_by, "spark") else least
        if left - cells >= keep:
            taken[name] = cells
            left -= cells
    order = [column.name for column in COLUMNS] if wanted is None else [*wanted]
    if sorted_by in taken and sorted_by not in order:
        order.insert(len(order) - (order[-1:] == ["spark"]), sorted_by)
    cells_of = tuple((BY_NAME[name], taken[name]) for name in order if name in taken)
    return Layout(left, cells_of, has_short_shapes)


def _cells_of(name: str, width: int, content: Content, has_short_shapes: bool) -> int:
    column = BY_NAME[name]
    if name == "across":
        return column.width if width >= _ROOMY else column.width - 1
    if name == "shape":
        return 1 + min(max(5, content.short_shape if has_short_shapes else content.shape), column.width)
    if name == "dtype":
        # Of a module, the type that most of its bytes have, and how many more: two types where there is room.
        more = 2 if content.has_dtypes and width > _STACKED else 0
        return 1 + min(max(5, content.dtype + more), column.width - 1) if width < _WIDE else column.width
    if name in ("spark", "course"):
        return 7 if width < _ROOMY else column.width
    # Seven characters are enough for any number.
    return column.width - 1 if width < _ROOMY and column.of_figures is not None and column.width > 8 else column.width


def indent(depth: int, width: int) -> int:
    """The cells before the arrow of a row, never more than a third of the width."""
    return min(depth * (2 if width >= _ROOMY else 1), max(0, width // 3 - 2))
