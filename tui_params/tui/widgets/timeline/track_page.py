"""The page of one tensor of a run: its facts in words, and its norm and change as curves. Drawn in a thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.core import text
from tui_params.core.compare.tracks import Moment, Step
from tui_params.tui.state.track_rows import Kin, TrackRow, what_is_broken
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import Part
from tui_params.tui.widgets.canvas import cut_line, line_width
from tui_params.tui.widgets.detail.text_lines import name_lines, within, wrapped
from tui_params.tui.widgets.timeline.course_plot import LEAST_ROWS, course_lines

_SIDE_BY_SIDE = 60
"""Cells from which on the curves stand side by side, if they would be too low one above the other."""

_TALL = 18
_MOST_REASONS = 3


def track_page(row: TrackRow, steps: Sequence[Step], width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """The page; ``steps`` are those that the track knows of."""
    lines = [*name_lines(row.name, width)[:2]]
    for words, style in _facts(row, steps, glyphs):
        lines += wrapped(words, width, style, hang=2, limit=2)
    return within([*lines, *_curves(row, steps, width, height - len(lines), glyphs)], width)


def _facts(row: TrackRow, steps: Sequence[Step], glyphs: Glyphs) -> Iterator[Part]:
    moments = row.track.moments
    if row.kin is not None:
        yield _kind_words(row.kin), "accent"
    if row.first_broken is not None:
        yield _broken(row, steps, row.first_broken), "error"
    if row.largest is not None and row.jump is not None:
        times = text.number_within(row.times, 6)
        words = f"{text.number(row.change)}, {times} times the median of its other changes"
        yield f"Jump at step {steps[row.largest].name}: change {words}", "warning"
    elif row.largest is not None:
        yield f"Largest change {text.number(row.change)}, at step {steps[row.largest].name}", "text"
    if row.frozen_since is not None:
        yield f"Frozen since step {steps[row.frozen_since].name}: not a bit has changed", "accent"
    norms = [(at, moment.norm) for at, moment in enumerate(moments) if moment is not None and moment.norm is not None]
    last = next((moment for moment in reversed(moments) if moment is not None), None)
    shape = f"{text.shape(row.track.shape)} {last.dtype}" if last is not None else text.shape(row.track.shape)
    if norms:
        (first, begin), (final, end) = norms[0], norms[-1]
        grown = f"norm {text.number(begin, 6)} at step {steps[first].name}"
        grown += f", {text.number(end, 6)} at {steps[final].name}" if final != first else ""
        yield f"{text.clean(shape, 80)}, {grown}", "dim"
    else:
        yield text.clean(shape, 80), "dim"
    yield from _missing(moments, steps, glyphs)


def _kind_words(kin: Kin) -> str:
    counts = [(kin.broken, "with NaN or Inf"), (kin.jumped, "jumped"), (kin.frozen, "frozen")]
    have = [f"{count:,} {what}" for count, what in counts if count]
    return f"The first of {text.plural(len(kin.names), 'tensor')} of its kind{''.join(f', {words}' for words in have)}"


def _broken(row: TrackRow, steps: Sequence[Step], at: int) -> str:
    moment = row.track.moments[at]
    assert moment is not None
    counts = [(moment.nan, "NaN"), (moment.infinite, "Inf")]
    have = " and ".join(f"{count:,} {what}" for count, what in counts if count)
    words = f"{what_is_broken(row)} since step {steps[at].name}: {have} of {text.plural(moment.numel, 'element')}"
    again = [place for place, later in enumerate(row.track.moments) if place > at and later is not None]
    healed = next((place for place in again if _is_whole(row.track.moments[place])), None)
    before = row.track.moments[at - 1] if at else None
    if at and (before is None or before.reason is not None):
        words += f" (step {steps[at - 1].name} before it was not read)"
    return words + (f"; none at step {steps[healed].name}" if healed is not None else "")


def _is_whole(moment: Moment | None) -> bool:
    return moment is not None and moment.reason is None and not moment.is_broken


def _missing(moments: Sequence[Moment | None], steps: Sequence[Step], glyphs: Glyphs) -> Iterator[Part]:
    """The steps at which it was not read, with the reasons, and those that do not have it."""
    read = list(zip(steps, moments, strict=False))
    lost = [(step.name, step.reason) for step, _ in read if step.reason is not None]
    lost += [(step.name, moment.reason) for step, moment in read if moment is not None and moment.reason is not None]
    for name, reason in lost[:_MOST_REASONS]:
        yield f"{glyphs.unreadable} step {name}: {reason}", "warning"
    if len(lost) > _MOST_REASONS:
        yield f"{glyphs.unreadable} {text.plural(len(lost) - _MOST_REASONS, 'more step')} could not be read", "warning"
    gone = [step.name for step, moment in read if moment is None and step.reason is None]
    if gone:
        yield f"not there at step {text.listed(gone, 4)}", "dim"


def _curves(row: TrackRow, steps: Sequence[Step], width: int, height: int, glyphs: Glyphs) -> list[Line]:
    moments = row.track.moments
    own = steps[: len(moments)]
    broken = [at for at, moment in enumerate(moments) if moment is not None and moment.is_broken]
    of_finite = " of the finite elements" if broken and width >= _SIDE_BY_SIDE // 2 else ""
    norms = [None if moment is None else moment.norm for moment in moments]
    changes = [None if moment is None else moment.change for moment in moments]

    def plot(title: str, values: Sequence[float | None], columns: int, rows: int) -> list[Line]:
        return course_lines(title, own, values, broken, columns, rows, glyphs)

    if height >= _TALL or width < _SIDE_BY_SIDE:
        rows = (height - 1) // 2
        if rows < LEAST_ROWS + 3:  # there is room for one of them only
            return plot("change since the step before", changes, width, height)
        norm = plot(f"norm{of_finite}", norms, width, rows)
        change = plot("change since the step before", changes, width, rows)
        return [*([[]] if norm or change else []), *norm, *change]
    half = width // 2 - 1
    left, right = plot(f"norm{of_finite}", norms, half, height), plot("change", changes, half, height)
    left, right = left or [[] for _ in right], right or [[] for _ in left]
    return [[*cut_line(a, half), ("  ", "text"), *b] for a, b in zip(left, right, strict=True) if line_width(a + b)]
