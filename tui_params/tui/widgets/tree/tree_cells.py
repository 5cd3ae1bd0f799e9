"""The cells of a row beside its name: one for each column of the layout. Pure functions: they read no file."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

import msgspec

from tui_params.core import text
from tui_params.core.course import ODD, Course, drawn
from tui_params.core.figures import Figures
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.totals import Totals
from tui_params.tui.state.across_words import (
    across_cell,
    across_line,
    cosine_cell,
    cosine_words,
    module_line,
    share_cell,
)
from tui_params.tui.state.change_words import cell_of
from tui_params.tui.state.changes import Below
from tui_params.tui.state.columns import Column, Layout
from tui_params.tui.state.marks import Mark
from tui_params.tui.state.sorting import trainable_of
from tui_params.tui.terminal.glyphs import UNICODE, Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.beside import on_axis
from tui_params.tui.widgets.detail.detail_lines import has_unknown_size

if TYPE_CHECKING:
    from tui_params.core.compare.moved import Change

Cell = tuple[str, str]


class Known(msgspec.Struct, frozen=True):
    """What is known of a tensor beside its description.

    ``gradient`` are the figures of its gradient, and ``has_gradient`` says whether it has one. ``owner`` is the class
    of the module that holds it. ``change`` says how it has moved since an earlier look, if there is one.
    ``axis`` are the ends of the axis that it shares with others, if it does; ``is_aside``: others share one.
    ``course`` is what was seen of a parameter step by step.
    """

    figures: Figures | None = None
    mark: Mark = ""
    gradient: Figures | None = None
    has_gradient: bool = False
    owner: str = ""
    is_compared: bool = False
    change: Change | None = None
    gradient_change: Change | None = None
    axis: tuple[float, float] | None = None
    is_aside: bool = False
    course: Course | None = None


_ACROSS = {"across": across_cell, "cosine": cosine_cell, "share": share_cell}
"""The columns of what is compared with another source."""


def tensor_cells(info: TensorInfo, known: Known, layout: Layout, glyphs: Glyphs, sorted_by: str = "") -> Line:
    """The cells of a tensor; the one that the tree is sorted by stands out."""
    line: Line = []
    for column, width in layout.cells:
        if column.name == "spark":
            line.extend(_spark(known, width, glyphs))
            continue
        if column.name == "course":
            words, style = _course(known, width - 1, glyphs)
            line.append((f" {words}".ljust(width), style))
            continue
        if column.name == "across":
            line.extend([(" ", "dim"), *across_line(known.change, width - 1, glyphs)])
            continue
        words, style = tensor_cell(info, known, column, width - 1, layout, glyphs)
        if column.name == sorted_by and style in ("dim", "text", "number") and words != glyphs.unknown:
            style = "accent"
        line.append((_placed(words, column, width), style))
    return line


def tensor_cell(info: TensorInfo, known: Known, column: Column, room: int, layout: Layout, glyphs: Glyphs) -> Cell:
    """The words of one cell, at most ``room``, and their style."""
    name = column.name
    is_unknown = has_unknown_size(info)
    if name == "shape":
        return ("?" if is_unknown else _shape(info.shape, room, layout, glyphs)), "number"
    if name == "numel":
        return ("?" if is_unknown else text.numel(info.numel)), "number"
    if name == "nbytes":
        return ("?" if is_unknown else text.size(info.nbytes)), "dim"
    if name == "dtype":
        return text.clean(info.dtype.short, room), "dim"
    if name == "trainable":
        is_trainable = trainable_of(info)
        return ("–" if is_trainable is None else "yes" if is_trainable else "no"), "dim"
    if name == "device":
        return text.clean(info.device or "–", room), "dim"
    if name == "module":
        return text.clean(known.owner or "–", room), "dim"
    if name == "change":
        return ("–", "dim") if not known.is_compared else cell_of(known.change, room, glyphs)
    if name == "gradchange":
        is_known = known.is_compared and known.has_gradient
        return cell_of(known.gradient_change, room, glyphs) if is_known else ("–", "dim")
    if name in _ACROSS:
        return _ACROSS[name](known.change, room, glyphs)
    if name == "grad":
        return _gradient(info, known, room, glyphs)
    if name == "update":
        return _update(known, room, glyphs)
    return figure_cell(known.figures, column, room, glyphs, is_lost=info.unreadable is not None or _is_lost(known))


def figure_cell(figures: Figures | None, column: Column, room: int, glyphs: Glyphs, *, is_lost: bool) -> Cell:
    """A statistic: a dot where it is not known yet, a dash where it never will be."""
    if figures is None:
        return ("–" if is_lost else glyphs.unknown), "dim"
    if column.name in ("zeros", "subnormals"):
        share = text.percent(figures.zeros if column.name == "zeros" else figures.subnormals, figures.count)
        return (share if len(share) <= room else ">99.9 %"), "dim" if figures.is_sampled else "text"
    assert column.of_figures is not None, column.name
    style = "dim" if figures.is_sampled else "text"
    if column.name == "nonfinite" and figures.non_finite:
        style = "error"
    return text.number_within(column.of_figures(figures), room), style


def module_cells(
    totals: Totals,
    layout: Layout,
    *,
    is_unknown: bool,
    is_repeated: bool,
    sorted_by: str = "",
    value: Cell | None,
    changed: Below | None = None,
    glyphs: Glyphs = UNICODE,
) -> Line:
    """The cells of a module: what it holds. ``is_repeated``: the module before it holds the same, so this is quiet.

    ``value`` is what the tree is sorted by, where that is a statistic: that of its first tensor. ``changed``: how many
    of its tensors have changed since an earlier look or on the other side, as far as it is known; None without any.
    """
    line: Line = []
    for column, width in layout.cells:
        words, style = "", "dim"
        if not totals.tensors:
            pass
        elif column.name == "across" and changed is not None:
            line.extend([(" ", "dim"), *module_line(changed, totals.tensors, width - 1, glyphs)])
            continue
        elif column.name == "cosine" and changed is not None and changed.cosine is not None:
            words = cosine_words(changed.cosine, width - 1) if changed.cosine < 1 else ""
        elif value is not None and column.name == sorted_by:
            words, style = value
        elif column.name == "numel" or (column.name == "shape" and not layout.has("numel")):
            words, style = ("?" if is_unknown else text.numel(totals.numel)), "dim" if is_repeated else "number"
        elif column.name == "nbytes":
            words = "?" if is_unknown else text.size(totals.nbytes)
        elif column.name == "dtype":
            words = _mix(totals, width - 1)
        elif column.name == "trainable" and totals.named:
            words = "no" if not totals.trainable else "yes" if totals.trainable == totals.named else "part"
        elif column.name == "change" and changed is not None and changed.known:
            moved, known = changed.moved, changed.known
            words = f"{moved} of {known}" if moved else "same" if known == totals.tensors else ""
            words = words if len(words) < width else f"{moved:,}"
        if column.name == sorted_by and style == "number":
            style = "accent"
        line.append((_placed(words, column, width), style))
    return line


def heading_cells(
    layout: Layout, glyphs: Glyphs, sorted_by: str = "", *, is_ascending: bool = False, has_axis: bool = False
) -> Line:
    """The headings of the columns; the one that the tree is sorted by has an arrow.

    ``has_axis``: sparklines of one module share an axis, and the heading says so.
    """
    line: Line = []
    for column, width in layout.cells:
        is_sorted = column.name == sorted_by
        arrow = (glyphs.ascending if is_ascending else glyphs.opened) if is_sorted else ""
        heading = column.heading if column.name != "spark" or not has_axis else "one axis" if width > 8 else "1 axis"
        words = f"{heading}{arrow}" if len(heading) + len(arrow) < width else heading
        line.append(
            (_placed(words[: width - 1], column, width), "accent" if is_sorted or heading != column.heading else "dim")
        )
    return line


def _placed(words: str, column: Column, width: int) -> str:
    """Words in a cell, with a blank before them: names and kinds to the left, numbers to the right."""
    if column.name in ("dtype", "module", "device", "spark", "course"):
        return f" {words}".ljust(width)
    return words.rjust(width)


def _shape(shape: tuple[int, ...], room: int, layout: Layout, glyphs: Glyphs) -> str:
    words = text.short_shape(shape) if layout.has_short_shapes else text.shape(shape)
    if len(words) > room:
        words = text.short_shape(shape)
    if len(words) > room:
        words = text.shorten(words, room)
    return words.replace("×", "x") if glyphs.is_ascii else words


def _gradient(info: TensorInfo, known: Known, room: int, glyphs: Glyphs) -> Cell:
    """The norm of the gradient, or in a word why there is none."""
    if info.kind != "parameter":
        return "", "dim"
    if known.has_gradient:
        figures = known.gradient
        if figures is None:
            return glyphs.unknown, "dim"
        if figures.non_finite:
            return ("NaN" if figures.nan else "Inf"), "error"
        return text.number_within(figures.l2_norm, room), "dim" if figures.is_sampled else "text"
    return ("none", "text") if info.requires_grad else ("frozen", "dim")


def _course(known: Known, room: int, glyphs: Glyphs) -> Cell:
    """The norms of the gradient at the last looks, the latest at the right."""
    if known.course is None or not known.course.norms:
        return (glyphs.unknown if known.has_gradient and known.course is None else "–"), "dim"
    is_odd = known.course.norms[-1].word in ODD
    return drawn(known.course.norms, room, ascii_only=glyphs.is_ascii), "error" if is_odd else "spark"


def _update(known: Known, room: int, glyphs: Glyphs) -> Cell:
    """The norm of the last update of a parameter, divided by its norm before."""
    if known.course is None or not known.course.updates:
        return (glyphs.unknown if known.has_gradient else "–"), "dim"
    last = known.course.updates[-1]
    if last.value is None:
        return last.word, "error" if last.word in ODD else "dim"
    return text.number_within(last.value, room), "text"


def _is_lost(known: Known) -> bool:
    return known.mark == "unreadable" and known.figures is None


def _mix(totals: Totals, room: int) -> str:
    """The element types of a module, the one with most bytes first."""
    mix = dict(totals.nbytes_by_dtype)
    shown = text.dtype_mix(mix, 2)
    if len(shown) > room and len(mix) > 1:
        first, more = text.dtype_mix(mix, 1).split("+")
        shown = f"{first[: room - len(more) - 2]}…+{more}" if len(first) > room - len(more) - 1 else f"{first}+{more}"
    return shown[:room]


def _spark(known: Known, width: int, glyphs: Glyphs) -> Line:
    figures = known.figures
    if _is_lost(known):
        return [(" n/a".ljust(width), "warning")]  # the mark at the left and the detail say more
    if figures is None:
        return [(f" {glyphs.unknown}".ljust(width), "dim")]
    if figures.count == 0:
        return [(" empty".ljust(width), "dim")]
    if figures.finite == 0:
        return [((" NaN" if figures.nan else " Inf").ljust(width), "error")]
    if figures.min == figures.max:
        only = text.number_within(figures.min, width - 2)
        return [((f" ={only}" if only else " equal").ljust(width), "dim")]
    counts: Sequence[int] = figures.spark
    if known.axis is not None and 0 < known.axis[1] - known.axis[0] < inf:
        counts = on_axis(figures, *known.axis, width - 1)
    drawn = text.spark(counts, width - 1, ascii_only=glyphs.is_ascii)
    return [(" ", "dim"), (drawn.ljust(width - 1), "dim" if figures.is_sampled or known.is_aside else "spark")]
