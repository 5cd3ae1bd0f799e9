"""An event in words: what began to hold of a tensor, with its numbers."""

from __future__ import annotations

from tui_params.core import text
from tui_params.live.watching.judge import Event


def event_words(event: Event) -> str:
    """The condition, the figures of that step, and whether the gradient was still multiplied by a loss scale."""
    return f"{event.condition.text}: {_figures(event)}{_scaling(event)}"


def _figures(event: Event) -> str:
    figures, numel = event.figures, event.info.numel * (2 if event.info.dtype.is_complex else 1)
    infinite = figures.pos_inf + figures.neg_inf
    is_all = figures.nan + infinite >= numel
    others = "" if is_all else f", norm of the others {text.number(figures.norm)}"
    what = event.condition.what
    if what == "nan":
        return f"{figures.nan:,} of {text.plural(numel, 'value')} NaN{others}"
    if what == "inf":
        return f"{infinite:,} of {text.plural(numel, 'value')} infinite ({figures.pos_inf:,} above 0){others}"
    if what == "still":
        return f"the same bits at each look since step {event.since:,}"
    if not figures.is_finite:
        return f"{figures.nan:,} NaN and {infinite:,} infinite of {text.plural(numel, 'value')}{others}"
    if event.median is not None:
        times = figures.norm / event.median
        return f"norm {text.number(figures.norm)}, {text.number(times)} times its median {text.number(event.median)}"
    return f"norm {text.number(figures.norm)}"


def _scaling(event: Event) -> str:
    if event.info.kind != "gradient" or not event.is_scaled:
        return ""
    return " (the GradScaler skipped this step)" if event.is_skipped else " (still multiplied by the GradScaler)"
