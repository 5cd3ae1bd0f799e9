"""The pages of the detail pane for a tensor and for an entry, as lines of styled text. Pure functions of frozen values.

The most important facts come first, so that 20 lines of a small terminal are enough to see what it is, whether anything
is wrong with it, and how the values are spread. Every number says whether it is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tui_params.core import text
from tui_params.core.course import Course
from tui_params.core.figures import QUANTILES, Figures
from tui_params.core.findings import MAX_INDICES, Finding
from tui_params.core.packed import UNTOLD
from tui_params.core.tensor import TensorInfo
from tui_params.core.tensor_summary import one_line
from tui_params.core.tree.totals import Entry
from tui_params.tui.state.pieces import Stored
from tui_params.tui.state.places import places_of
from tui_params.tui.state.readable import readable_lines
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.beside import LEAST_WIDTH, Beside, beside_lines
from tui_params.tui.widgets.detail.change_lines import before_and_now_lines, sentence_lines
from tui_params.tui.widgets.detail.course_lines import course_lines
from tui_params.tui.widgets.detail.piece_lines import piece_lines, piece_summary
from tui_params.tui.widgets.detail.rank_lines import rank_lines, rank_table
from tui_params.tui.widgets.detail.text_lines import mark_of, name_lines, within, wrapped

if TYPE_CHECKING:
    from tui_params.core.compare.moved import Change
    from tui_params.tui.widgets.detail.across_lines import AcrossView

NO_TYPES = ("?", "unknown")
"""The names that readers give to an element type they do not know."""

_MOST_ENTRY_LINES = 500

MOST_PIECE_LINES = 6
"""Lines about pieces that a histogram makes room for."""

LEAST_HEIGHT = 8
"""The fewest lines of the pane that leave room for a histogram."""


class TensorView(msgspec.Struct, frozen=True):
    """What the pane shows of a tensor. ``plot`` holds the lines of its histogram, which a worker has drawn.

    ``beside`` is the gradient of a parameter, which is shown beside it. ``stored`` are its pieces, if it has several.
    ``since`` says since which earlier look ``change`` is, and ``gradient_change`` of the gradient beside it; empty
    without such a look. ``course`` is what was seen of a parameter step by step, ``curve`` the norms of it as a worker
    has drawn them. ``across`` is its partner in another source, if it is compared with one. ``toll`` stands in the
    place of figures that are not read by themselves, because they are elsewhere; ``progress`` says how far the fetching
    of a tensor is. ``on_ranks`` is what the ranks of a job have of it.
    """

    info: TensorInfo
    tied_names: tuple[str, ...] = ()
    class_name: str | None = None
    figures: Figures | None = None
    reason: str | None = None
    findings: tuple[Finding, ...] = ()
    plot: tuple[Line, ...] = ()
    gradient: str = ""
    is_tight: bool = False
    beside: Beside | None = None
    stored: Stored | None = None
    since: str = ""
    change: Change | None = None
    gradient_change: Change | None = None
    course: Course | None = None
    across: AcrossView | None = None
    toll: str = ""
    progress: str = ""
    on_ranks: Stored | None = None
    curve: tuple[Line, ...] = ()


def tensor_lines(view: TensorView, width: int, glyphs: Glyphs) -> list[Line]:
    """The page of a tensor, ``width`` cells wide."""
    return within(_tensor_lines(view, width, glyphs), width)


def _tensor_lines(view: TensorView, width: int, glyphs: Glyphs) -> list[Line]:
    info = view.info
    lines = name_lines(info.name, width)
    dtype = text.clean(info.dtype.name if width >= 48 else info.dtype.short, 20)
    facts = f"  {dtype}  {text.size(info.nbytes)}"
    dims = text.shape(info.shape)
    reason = view.reason or info.unreadable
    if view.figures is None and reason is not None:
        lines += wrapped(f"{glyphs.unreadable} {text.clean(reason)}", width, "warning", hang=2, limit=6)
    is_unknown = has_unknown_size(info)
    if is_unknown:
        lines.append([(text.shorten(_unknown_words(info), width), "dim")])
    elif len(dims) + len(facts) > width:
        lines += wrapped(dims, width, "number")
        lines.append([(facts.strip(), "text")])
    else:
        lines.append([(dims, "number"), (facts, "text")])
    # Where little of the page is on screen, findings come before the less important facts.
    first = [finding for finding in view.findings if view.is_tight and finding.severity != "info"]
    lines += _finding_lines(first, True, width, glyphs)
    if info.storage_shape is not None:
        # 4 bits: 2 elements in a byte; 6 bits: 4 in 3 bytes.
        elements, nbytes = info.dtype.unit
        each = "each" if nbytes == 1 else f"every {nbytes}"
        words = f"stored as {text.shape(info.storage_shape)} bytes, {elements} elements in {each}"
        lines += wrapped(words, width, "dim")
    is_crowded = view.is_tight and len(_finding_lines(view.findings, True, width, glyphs)) > 1
    # Where findings need the room, the number of elements is said once: with how many of them were read.
    is_said = is_unknown or (is_crowded and view.figures is not None and not view.figures.is_sampled)
    kinds = [] if is_said else [text.plural(info.numel, "element")]
    if info.kind != "tensor":
        kinds.append(info.kind)
    if info.requires_grad is not None and info.kind == "parameter":
        kinds.append(f"trainable {glyphs.trainable}" if info.requires_grad else "frozen")
    if view.class_name:
        kinds.append(f"in {text.clean(view.class_name, 40)}")
    if kinds:
        lines += wrapped(glyphs.separator.join(kinds), width, "dim")
    where = info.location if view.stored is None else piece_summary(view.stored)
    if info.device and info.file:
        where = f"{where}{glyphs.separator}saved from {info.device}"
    if where:
        lines.append([(text.clean(where, width), "dim")])
    if info.storage_nbytes is not None and info.storage_nbytes > info.nbytes:
        lines += wrapped(f"a view into a storage of {text.size(info.storage_nbytes)}", width, "dim")
    if view.tied_names:
        more = f" +{len(view.tied_names) - 1}" if len(view.tied_names) > 1 else ""
        room = width - len("= tied to ") - len(more)
        name = text.shorten_name(text.clean(view.tied_names[0], 4 * width), room)
        lines.append([(f"{glyphs.tied} tied to {name}{more}", "accent")])
    for note in info.notes[:4]:
        # A reason is said whole.
        limit = 5 if note.startswith(UNTOLD) else 2
        lines += wrapped(text.clean(note, 300), width, "dim", limit=limit)
    if view.gradient:
        lines += wrapped(view.gradient, width, "dim")
    lines += course_lines(view.course, width, glyphs, view.curve)
    if view.on_ranks is not None:
        lines += rank_lines(view.on_ranks.over, view.on_ranks.reason, width, glyphs)
    if view.across is not None:
        from tui_params.tui.widgets.detail.across_lines import across_lines

        lines += across_lines(view.across, width, glyphs, is_tight=view.is_tight)
    else:
        lines += sentence_lines(view.since, view.change, width, glyphs)
    if view.beside is not None and view.across is None:
        lines += sentence_lines(view.since, view.gradient_change, width, glyphs, "its gradient")
    if not view.is_tight:
        lines.append([])
    rest = [finding for finding in view.findings if finding not in first]
    lines += _finding_lines(rest, view.is_tight, width, glyphs)
    pieces = _piece_lines(view, width)
    if view.across is not None and view.across.is_of_values:
        return [*lines, *pieces]
    if view.figures is None:
        if reason is not None:
            return [*lines, *pieces]
        if view.toll:
            return [*lines, *wrapped(view.toll, width, "accent"), *pieces]
        return [*lines, [(f"{glyphs.working} {view.progress or 'reading'}", "dim")]]
    if view.beside is not None and view.figures.count and width >= LEAST_WIDTH:
        lines += wrapped(_exactness(view.figures), width, "warning" if view.figures.is_sampled else "dim", limit=2)
        lines += beside_lines(view.figures, view.beside, width, glyphs)
    else:
        lines += figure_lines(view.figures, width, glyphs, is_crowded=is_crowded)
    if view.on_ranks is not None:
        lines += rank_table(view.on_ranks.over, width)
    compared = before_and_now_lines(view.change, width) if view.since else []
    if compared and not view.is_tight:
        lines += [[], *compared]
    if view.plot:
        if not view.is_tight:
            lines.append([])
        lines += view.plot
    lines += [*pieces, *_quantile_lines(view.figures, width)]
    if compared and view.is_tight:
        lines += [[], *compared]
    return lines


def _piece_lines(view: TensorView, width: int) -> list[Line]:
    return [] if view.stored is None else piece_lines(view.stored, view.info.shape, width)


def _finding_lines(findings: Sequence[Finding], is_tight: bool, width: int, glyphs: Glyphs) -> list[Line]:
    lines: list[Line] = []
    for finding in findings:
        mark, style = mark_of(finding.severity, glyphs)
        words = f"{mark} {finding.evidence}{places_of(finding, 3 if is_tight else MAX_INDICES)}"
        lines += wrapped(words, width, style, hang=2)
    return lines


def has_unknown_size(info: TensorInfo) -> bool:
    """Whether not even the shape of an unreadable tensor is known: a tensor of shape ``()`` would have 1 element."""
    return info.has_unknown_size


def _type_words(info: TensorInfo) -> str:
    """The element type of a tensor; empty where the reader does not know it."""
    return "" if info.dtype.kind == "unknown" and info.dtype.name in NO_TYPES else info.dtype.name


def _unknown_words(info: TensorInfo) -> str:
    name = _type_words(info)
    return f"shape unknown, {text.clean(name)}" if name else "shape and type unknown"


def figure_lines(figures: Figures, width: int, glyphs: Glyphs, *, is_crowded: bool = False) -> list[Line]:
    """The spread in one line, whether it is exact, and the table of statistics.

    ``is_crowded``: where there is neither a NaN nor an infinity, one cell says so.
    """
    lines: list[Line] = []
    if figures.count == 0:
        return [[("no elements", "dim")]]
    if figures.spark and figures.spark_low is not None and figures.min != figures.max:
        low, high = text.number(figures.spark_low, 3), text.number(figures.spark_high, 3)
        drawn = text.spark(
            figures.spark, min(16, max(4, width - len(low) - len(high) - 14)), ascii_only=glyphs.is_ascii
        )
        lines.append(
            [
                (low, "number"),
                (" ", "text"),
                (drawn, "spark"),
                (" ", "text"),
                (high, "number"),
                ("  0.1\u201399.9 %" if not glyphs.is_ascii else "  0.1-99.9 %", "dim"),
            ]
        )
    lines += wrapped(_exactness(figures), width, "warning" if figures.is_sampled else "dim", limit=2)
    if figures.finite == 0:
        lines.append([(f"{glyphs.error} no value is finite", "error")])
    columns = 3 if width >= 54 else 2 if width >= 30 else 1
    room = width // columns
    column, digits = (8, 4) if room >= 18 else (7, 3)
    cells: list[tuple[str, str, str]] = [
        ("mean", text.number(figures.mean, digits), "number"),
        ("std", text.number(figures.std, digits), "number"),
        ("min", text.number(figures.min, digits), "number"),
        ("max", text.number(figures.max, digits), "number"),
        ("absmax", text.number(figures.abs_max, digits), "number"),
        ("RMS", text.number(figures.rms, digits), "number"),
        ("L2", text.number(figures.l2_norm, digits), "number"),
        ("zeros", _share(figures.zeros, figures), "number"),
        ("NaN", text.integer(figures.nan), "error" if figures.nan else "number"),
        ("subnrm", _share(figures.subnormals, figures), "number"),
        ("+Inf", text.integer(figures.pos_inf), "error" if figures.pos_inf else "number"),
        ("-Inf", text.integer(figures.neg_inf), "error" if figures.neg_inf else "number"),
    ]
    measured = {"mean": figures.mean, "std": figures.std, "min": figures.min, "max": figures.max}
    measured |= {"absmax": figures.abs_max, "RMS": figures.rms, "L2": figures.l2_norm}
    if is_crowded and columns == 2 and not figures.non_finite:
        cells = [*cells[:8], ("NaN,Inf", "0", "number"), cells[9]]
    if columns == 3:
        # One column each: where the values lie, how large they are, what is odd about them.
        cells = [cells[index] for index in (0, 4, 8, 1, 5, 10, 2, 6, 11, 3, 7, 9)]
    for start in range(0, len(cells), columns):
        line: Line = []
        for label, value, style in cells[start : start + columns]:
            head = max(column, len(label) + 1)
            line.append((label.ljust(head), "dim"))
            if len(value) > room - head - 1 and label in measured:
                value = text.number_within(measured[label], room - head - 1)
            line.append((text.shorten(value, room - head - 1).ljust(room - head), style))
        lines.append(line)
    return lines


def entry_lines(entry: Entry, width: int, glyphs: Glyphs) -> list[Line]:
    """The page of a leaf that is not a tensor."""
    lines = name_lines(entry.name, width)
    lines.append([("a value stored beside the tensors", "dim")])
    lines.append([])
    for line in readable_lines(entry.name, entry.text)[:_MOST_ENTRY_LINES]:
        indent = len(line) - len(line.lstrip(" "))
        hang = min(indent, width // 2)
        lines += [[(" " * hang, "text"), *part] for part in wrapped(line[indent:], width - hang, "text", limit=200)]
    return within(lines, width)


def summary_line(info: TensorInfo, figures: Figures | None) -> str:
    """A tensor in one line, as ``tui_params.summarize`` prints it, with its name."""
    return one_line(info.name, info.shape, info.dtype, figures)


def _exactness(figures: Figures) -> str:
    whole = figures.numel * figures.parts
    of = "elements" if figures.parts == 1 else "real and imaginary parts"
    if figures.is_sampled:
        return f"sampled: {figures.count:,} of {whole:,} {of} ({text.percent(figures.count, whole)})"
    if whole == 1:
        return "exact, 1 element" if figures.is_exact else "1 element"
    return f"exact, all {whole:,} {of}" if figures.is_exact else f"over all {whole:,} {of}"


def _share(count: int, figures: Figures) -> str:
    return "0" if count == 0 else text.percent(count, figures.count)


def _quantile_lines(figures: Figures, width: int) -> list[Line]:
    if not figures.quantiles or figures.finite == 0 or figures.min == figures.max:
        return []
    if figures.quantiles_exact:
        heading = "Quantiles"
    else:
        heading = f"Quantiles (bucketed, ±{text.number(100 * figures.quantile_error, 2)} %)"
    lines: list[Line] = [[], [(heading, "label")]]
    names = [f"{100 * quantile:g} %" for quantile in QUANTILES]
    values = [text.number(value, 3) for value in figures.quantiles]
    if width >= 72:
        lines.append([(name.rjust(width // 9), "dim") for name in names])
        lines.append([(value.rjust(width // 9), "number") for value in values])
        return lines
    columns = 3 if width >= 54 else 2
    height = -(-len(names) // columns)
    for row in range(height):
        line: Line = []
        for place in range(row, len(names), height):
            line.append((f"{names[place]:<8}", "dim"))
            line.append((values[place].ljust(width // columns - 8), "number"))
        lines.append(line)
    return lines


def plot_height(view: TensorView, width: int, height: int, glyphs: Glyphs) -> int:
    """How many lines the histogram gets, so that the page fills its ``height`` lines, without more if possible."""
    if height < LEAST_HEIGHT or view.figures is None:
        return 0
    follows = before_and_now_lines(view.change, width) if view.since and view.is_tight else []
    quantiles = len(_quantile_lines(view.figures, width)) + max(len(_piece_lines(view, width)) - MOST_PIECE_LINES, 0)
    quantiles += len(follows) + 1 if follows else 0
    page = len(tensor_lines(msgspec.structs.replace(view, plot=()), width, glyphs))
    with_quantiles = height - page - (0 if view.is_tight else 2)
    if with_quantiles >= 8:
        return min(with_quantiles, 14)
    # The last line on screen says that more follows, and covers what stands there: not the numbers of the axis.
    fits = with_quantiles + quantiles - 1
    return 4 if fits == 4 else max(5, min(fits - 1, 12))
