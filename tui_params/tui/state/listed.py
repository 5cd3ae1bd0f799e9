"""The list of tensors as a table for a file: what the columns of the tree show, as exact values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from tui_params.core import text
from tui_params.core.course import Course
from tui_params.core.export.table import Table, Value
from tui_params.core.figures import SPARK_BINS, Figures
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from tui_params.core.compare.moved import Change

UNREAD = "not read yet"


class Row(msgspec.Struct, frozen=True):
    """A tensor, and what is known of it beside its description.

    ``reason`` says why there are no ``figures``. ``gradient`` are the figures of its gradient, ``owner`` is the class
    of the module that holds it. ``change`` says how it has moved since an earlier look, where there is one.
    ``course`` is what was seen of it step by step, where it trains meanwhile.
    """

    info: TensorInfo
    figures: Figures | None = None
    reason: str = UNREAD
    has_gradient: bool = False
    gradient: Figures | None = None
    owner: str = ""
    change: Change | None = None
    gradient_change: Change | None = None
    course: Course | None = None


class Field(msgspec.Struct, frozen=True):
    """One column of the file. Where it ``is_of_figures``, a tensor without figures has no value there."""

    name: str
    value: Callable[[Row], Value]
    is_of_figures: bool = False


def _figure(name: str, get: Callable[[Figures], Value] | None = None) -> Field:
    def value(row: Row) -> Value:
        if row.figures is None:
            return None
        return get(row.figures) if get is not None else getattr(row.figures, name)

    return Field(name, value, is_of_figures=True)


def _gradient(name: str, get: Callable[[Figures], Value]) -> Field:
    return Field(name, lambda row: get(row.gradient) if row.gradient is not None else None)


def _change(name: str, get: Callable[[Change], Value]) -> Field:
    return Field(name, lambda row: get(row.change) if row.change is not None else None)


def _gradient_change(name: str, get: Callable[[Change], Value]) -> Field:
    return Field(name, lambda row: get(row.gradient_change) if row.gradient_change is not None else None)


def _course(name: str, get: Callable[[Course], Value]) -> Field:
    return Field(name, lambda row: get(row.course) if row.course is not None else None)


def _sized(name: str, get: Callable[[TensorInfo], Value]) -> Field:
    """Something that is not known where no file says what shape a tensor has."""
    return Field(name, lambda row: None if _has_unknown_size(row.info) else get(row.info))


def _has_unknown_size(info: TensorInfo) -> bool:
    return info.unreadable is not None and not info.shape and not info.numel


FIELDS: Mapping[str, tuple[Field, ...]] = {
    "name": (Field("name", lambda row: row.info.name),),
    "shape": (_sized("shape", lambda info: info.shape),),
    "dtype": (Field("dtype", lambda row: row.info.dtype.short),),
    "trainable": (Field("requires_grad", lambda row: row.info.requires_grad),),
    "numel": (_sized("numel", lambda info: info.numel),),
    "nbytes": (_sized("nbytes", lambda info: info.nbytes),),
    "grad": (
        Field("has_grad", lambda row: row.has_gradient if row.info.kind == "parameter" else None),
        _gradient("grad_l2_norm", lambda figures: figures.l2_norm),
        _gradient("grad_non_finite", lambda figures: figures.non_finite),
    ),
    "course": (
        _course("last_step", lambda course: course.norms[-1].step if course.norms else None),
        _course("last_grad_l2_norm", lambda course: course.norms[-1].value if course.norms else None),
    ),
    "update": (_course("last_update", lambda course: course.updates[-1].value if course.updates else None),),
    "change": (
        _change("change", lambda change: change.state),
        _change("change_relative_l2", lambda change: change.relative),
        _change("change_at_least", lambda change: change.at_least),
    ),
    "gradchange": (
        _gradient_change("grad_change", lambda change: change.state),
        _gradient_change("grad_change_relative_l2", lambda change: change.relative),
        _gradient_change("grad_change_at_least", lambda change: change.at_least),
    ),
    "across": (
        _change("difference", lambda change: change.state),
        _change("difference_relative_l2", lambda change: change.relative),
    ),
    "cosine": (_change("cosine", lambda change: change.cosine),),
    "share": (
        _change("changed_count", lambda change: change.difference.changed if change.difference is not None else None),
    ),
    "mean": (_figure("mean"),),
    "std": (_figure("std"),),
    "min": (_figure("min"),),
    "max": (_figure("max"),),
    "absmax": (_figure("abs_max"),),
    "rms": (_figure("rms"),),
    "l2": (_figure("l2_norm"),),
    "zeros": (_figure("zeros"),),
    "subnormals": (_figure("subnormals"),),
    "nonfinite": (_figure("nan"), _figure("pos_inf"), _figure("neg_inf")),
    "device": (Field("device", lambda row: row.info.device),),
    "module": (Field("module", lambda row: row.owner or None),),
    "spark": (
        _figure("bins_low", lambda figures: figures.spark_low),
        _figure("bins_high", lambda figures: figures.spark_high),
        _figure("bins", lambda figures: figures.spark),
    ),
}
"""By column of the tree, what stands for it in a file, under the names of ``stats --json``.

A share is given as its exact count, and a sparkline as the counts in equal bins between two values.
"""

_UNCHECKED = Field("unchecked", lambda row: row.reason if row.figures is None else None, is_of_figures=True)


_DRAWN = _figure("values", lambda figures: text.spark(figures.spark, SPARK_BINS))


def fields_of(columns: Sequence[str], *, is_drawn: bool = False) -> tuple[Field, ...]:
    """The name, and the fields for these columns; after any statistic ``unchecked``, the reason why there is none.

    ``is_drawn``: a sparkline stands as it is drawn, not as numbers.
    """
    fields: list[Field] = []
    for column in ("name", *columns):
        fields += [_DRAWN] if is_drawn and column == "spark" else FIELDS[column]
    if any(field.is_of_figures for field in fields):
        fields.append(_UNCHECKED)
    return tuple(fields)


def table_of_rows(
    rows: Iterator[Row], fields: Sequence[Field], count: int, facts: Mapping[str, str | int | None]
) -> Table:
    """The table of ``count`` tensors. In JSON it ends with how many of them have no statistics, if any is listed."""
    has_figures = any(field.is_of_figures for field in fields)
    unread = 0

    def values() -> Iterator[tuple[Value, ...]]:
        nonlocal unread
        for row in rows:
            unread += row.figures is None
            yield tuple(field.value(row) for field in fields)

    def closing() -> Mapping[str, int | None]:
        return {"unchecked": unread if has_figures else None}

    def about() -> str:
        words = text.plural(count, "tensor")
        return f"{words}, {unread:,} without figures" if has_figures and unread else words

    return Table(tuple(field.name for field in fields), values(), facts, closing, about)
