"""A timeline as lines: what is wrong since when, then the tensors that changed most, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from tui_params.cli.output import Output
from tui_params.core import text
from tui_params.core.compare.track_text import broken_note, named, order_words, uneven_words
from tui_params.core.compare.tracks import Timeline, Track

_MOST = 40
_MOST_OF_KIND = 12
_LONGEST_NAME = 200
_WIDEST_NAME = 60
_WIDEST_CHANGES = 40


def lines(timeline: Timeline, output: Output, *, names: bool = False) -> Iterator[str]:
    """The lines; with ``names`` every tensor, else those that changed most."""
    steps = timeline.steps
    shown = text.listed([step.name for step in steps], 8)
    yield f"{text.plural(len(steps), 'step')}: {shown}"
    for words in order_words(timeline):
        yield output.style(words, "yellow")
    for what, reason in timeline.unread[:_MOST]:
        yield output.style(f"! {what}: {reason}", "yellow")
    if len(timeline.unread) > _MOST:
        yield f"! and {len(timeline.unread) - _MOST:,} more that could not be read"
    yield ""
    yield from _broken(timeline, output)
    yield from _uneven(timeline, output)
    yield from _jumps(timeline, output)
    yield from _frozen(timeline, output)
    yield from _table(timeline, output, names=names)


def _broken(timeline: Timeline, output: Output) -> Iterator[str]:
    first = timeline.first_broken
    if first is None:
        words = "in what could be read" if timeline.unread else "at any step"
        yield f"No NaN and no infinity {words}"
        return
    at, tracks = first
    count = f"{len(tracks):,} of {text.plural(len(timeline.tracks), 'tensor')}"
    yield output.style(f"NaN or infinities first at step {timeline.steps[at].name}, in {count}", "bold red")
    before = at - 1
    if before >= 0 and timeline.steps[before].reason is not None:
        yield f"  step {timeline.steps[before].name} before it could not be read"
    for track in tracks[:_MOST_OF_KIND]:
        moment = track.moments[at]
        assert moment is not None
        numel = text.plural(moment.numel, "element")
        yield f"  {text.name(track.name, _LONGEST_NAME)}  {moment.nan:,} NaN, {moment.infinite:,} Inf of {numel}"
    if len(tracks) > _MOST_OF_KIND:
        yield f"  and {len(tracks) - _MOST_OF_KIND:,} more"
    later = [track for track in timeline.tracks if (found := track.first_broken) is not None and found > at]
    if later:
        yield f"  later steps: {text.plural(len(later), 'more tensor')}"


def _uneven(timeline: Timeline, output: Output) -> Iterator[str]:
    found = list(uneven_words(timeline))
    if not found:
        return
    yield ""
    yield output.style("Not the same tensors at every step", "bold yellow")
    for step, words in found:
        yield f"  step {step}: {words}" if step else f"  {words}"


def _jumps(timeline: Timeline, output: Output) -> Iterator[str]:
    by_step = timeline.jumps()
    if not by_step:
        return
    yield ""
    yield output.style(f"Jumps ({sum(map(len, by_step.values())):,})", "bold")
    for at, tracks in by_step.items():
        yield f"  step {timeline.steps[at].name}: {named(tracks)}"


def _frozen(timeline: Timeline, output: Output) -> Iterator[str]:
    by_step = timeline.frozen()
    if not by_step:
        return
    yield ""
    yield output.style(f"Frozen ({sum(map(len, by_step.values())):,} of {len(timeline.tracks):,})", "bold")
    for at, tracks in by_step.items():
        yield f"  since step {timeline.steps[at].name}: {named(tracks)}{broken_note(tracks)}"


def _table(timeline: Timeline, output: Output, *, names: bool) -> Iterator[str]:
    tracks = list(timeline.tracks)
    if not names:
        tracks = sorted((track for track in tracks if track.largest), key=lambda track: track.rank)[:_MOST]
    if not tracks:
        return
    count = len(timeline.steps)
    width = min(count, _WIDEST_CHANGES)
    name_width = min(max(len(text.name(track.name, _LONGEST_NAME)) for track in tracks), _WIDEST_NAME)
    if output.width is not None:
        name_width = max(16, min(name_width, output.width - width - 44))
    yield ""
    title = "Every tensor" if names else f"The largest changes ({len(tracks):,} of {len(timeline.tracks):,})"
    yield output.style(title, "bold")
    head = (
        f"  {'tensor':<{name_width}}  {'change':<{max(width, 6)}}  {'largest':>8}  {'at':>7}  {'norm':>8}  {'last':>8}"
    )
    yield output.style(head, "dim")
    for track in tracks:
        yield _row(timeline, track, name_width, width)


def _row(timeline: Timeline, track: Track, name_width: int, width: int) -> str:
    name = text.shorten_name(text.name(track.name, _LONGEST_NAME), name_width)
    changes = [0.0 if moment is None else moment.change or 0.0 for moment in track.moments]
    largest, at = track.largest, track.largest_at
    norms = [moment.norm for moment in track.moments if moment is not None and moment.norm is not None]
    first, last = (norms[0], norms[-1]) if norms else (None, None)
    mark = "!" if track.first_broken is not None else " "
    figures = [
        f"{text.number_within(largest, 8) if largest else '0':>8}",
        f"{timeline.steps[at].name if at is not None else '':>7}",
        f"{text.number_within(first, 8):>8}",
        f"{text.number_within(last, 8):>8}",
    ]
    return f"{mark} {name:<{name_width}}  {_spark(changes, width):<{max(width, 6)}}  {'  '.join(figures)}"


def _spark(changes: Sequence[float], width: int) -> str:
    """The changes as bars; of more than ``width`` steps, the largest of each few."""
    edges = [index * len(changes) // width for index in range(width + 1)]
    peaks = [max(changes[start:stop]) for start, stop in pairwise(edges)]
    top = max(peaks)
    return text.spark([round(peak / top * 1000) if top else 0 for peak in peaks], width)
