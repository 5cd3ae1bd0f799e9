"""BrokenSteps: at which steps of a run which tensors have a NaN or an infinity for the first time."""

from __future__ import annotations

from itertools import islice

from tui_params.tui.screens.timeline.header import FirstBroken
from tui_params.tui.state.track_rows import TrackRow, broken_words

NAMED = 200
"""Of how many tensors that are broken first the names are told."""


class BrokenSteps:
    """Counted as rows arrive."""

    def __init__(self) -> None:
        self._names: dict[int, dict[str, None]] = {}
        self._kinds: dict[int, tuple[bool, bool]] = {}

    def take(self, row: TrackRow, at: int) -> None:
        """A tensor is broken from that step on."""
        moment = row.track.moments[at]
        assert moment is not None
        has_nan, has_infinite = self._kinds.get(at, (False, False))
        self._kinds[at] = has_nan or bool(moment.nan), has_infinite or bool(moment.infinite)
        self._names.setdefault(at, {})[row.name] = None

    @property
    def first(self) -> FirstBroken | None:
        """The first such step; None if there is none."""
        at = min(self._names, default=None)
        if at is None:
            return None
        return FirstBroken(
            at, len(self._names[at]), broken_words(*self._kinds[at]), list(islice(self._names[at], NAMED))
        )
