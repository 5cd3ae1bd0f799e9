"""The tensors of a run in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tui_params.core import text
from tui_params.core.compare.tracks import Timeline, Track
from tui_params.core.compare.uneven import Uneven, uneven
from tui_params.core.kinds import kind_of, name_of_kind

_LONGEST_NAME = 200
_MOST_KINDS = 12
_MOST_TWICE = 3
_MOST_UNEVEN = 12
_UNEVEN: dict[Uneven, str] = {
    "new": "not at the step before",
    "gone": "no longer there",
    "shape": "of another shape",
    "type": "of another type",
}


def named(tracks: Sequence[Track]) -> str:
    """The tensors by their kinds, the first few."""
    kinds: dict[str, list[str]] = {}
    for track in tracks:
        kinds.setdefault(kind_of(track.name), []).append(track.name)
    words = [text.name(name_of_kind(names), _LONGEST_NAME) for names in kinds.values()]
    return text.listed(words, _MOST_KINDS)


def broken_note(tracks: Sequence[Track]) -> str:
    """How many of some tensors have NaN or infinities at the last step, to follow their names; empty if none has."""
    lasts = [track.moments[-1] for track in tracks]
    count = sum(moment is not None and moment.is_broken for moment in lasts)
    if not count:
        return ""
    return f" ({'all' if count == len(tracks) else f'{count:,} of them'} with NaN or infinities)"


def order_words(timeline: Timeline) -> Iterator[str]:
    """What is odd about the numbers of the steps, in sentences."""
    if not timeline.is_monotonic():
        yield "the numbers of the steps do not rise in this order"
    counts = Counter(step.number for step in timeline.steps if step.number is not None)
    twice = [number for number, count in counts.items() if count > 1]
    for number in twice[:_MOST_TWICE]:
        labels = [text.clean(step.label, 60) for step in timeline.steps if step.number == number]
        times = "twice" if len(labels) == 2 else f"{len(labels):,} times"
        yield f"step {number} is there {times}: {text.listed(labels, 3)}"
    if len(twice) > _MOST_TWICE:
        yield f"{len(twice) - _MOST_TWICE:,} more steps are there more than once"


def uneven_words(timeline: Timeline) -> Iterator[tuple[str, str]]:
    """The steps at which the tensors are not those of the step before: the name of the step, and how they differ."""
    found = uneven(timeline)
    for at, changed in list(found.items())[:_MOST_UNEVEN]:
        parts = [f"{len(tracks):,} {_UNEVEN[what]} ({named(tracks)})" for what, tracks in changed.items()]
        yield timeline.steps[at].name, "; ".join(parts)
    if len(found) > _MOST_UNEVEN:
        yield "", f"and at {text.plural(len(found) - _MOST_UNEVEN, 'more step')}"
