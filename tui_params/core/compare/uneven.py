"""What of a run is not the same at every step apart from values: which tensors there are, their shapes, their types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from tui_params.core.compare.tracks import Moment, Timeline, Track

Uneven = Literal["new", "gone", "shape", "type"]
"""A tensor that the step before does not have; one that only the step before has; another shape, another type."""


def uneven(timeline: Timeline) -> dict[int, dict[Uneven, list[Track]]]:
    """The tensors that differ so from the step before, by the index of the step, in its order.

    The step before is the latest that could be opened. What could not be read says nothing.
    """
    opened = [at for at, step in enumerate(timeline.steps) if step.reason is None]
    found: dict[int, dict[Uneven, list[Track]]] = {}
    for track in timeline.tracks:
        for at, what in _of_track(track.moments, opened):
            found.setdefault(at, {}).setdefault(what, []).append(track)
    return dict(sorted(found.items()))


def _of_track(moments: Sequence[Moment | None], opened: Sequence[int]) -> Iterator[tuple[int, Uneven]]:
    last: int | None = None  # the latest that was read
    before = moments[opened[0]] if opened else None
    for place, at in enumerate(opened):
        moment = moments[at]
        if place and (moment is None) is not (before is None):
            yield at, "gone" if moment is None else "new"
        elif moment is not None and moment.reason is None and last is not None:
            # Only tensors of one shape are compared.
            if moment.since != last:
                yield at, "shape"
            elif moment.dtype != moments[last].dtype:  # type: ignore[union-attr]
                yield at, "type"
        before = moment
        if moment is not None and moment.reason is None:
            last = at
