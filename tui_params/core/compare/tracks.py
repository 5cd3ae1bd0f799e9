"""Tracks: how each tensor of a run moves from step to step, and since when something is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import msgspec

from tui_params.core.health.roles import names_a_state

JUMP = 8.0
"""A change is a jump if it is so many times the median of the others of the same tensor."""

FEWEST = 4
"""Changes of a tensor from which on one of them can be said to be a jump."""


class Step(msgspec.Struct, frozen=True):
    """One checkpoint of a run: its number, if it has one, and why it is not compared, if it is not."""

    label: str
    number: int | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        return self.label if self.number is None else str(self.number)


class Moment(msgspec.Struct, frozen=True, gc=False):
    """One tensor at one step.

    ``norm`` is the L2 norm and ``abs_max`` the largest magnitude of the finite elements; None without one, or beyond
    float64. ``change`` is ``||b - a|| / ||a||`` over the elements that are finite in both, since the step ``since``
    (an index), the latest before it that has the tensor in the same shape; ``changed`` is the share of elements that
    differ, 0 with ``is_identical`` where not a bit does. All four are None where there is no such step. ``reason``
    is why the tensor was not read at this step; then all figures are None.
    """

    dtype: str
    numel: int
    nan: int | None = None
    infinite: int | None = None
    norm: float | None = None
    abs_max: float | int | None = None
    since: int | None = None
    change: float | None = None
    changed: float | None = None
    is_identical: bool | None = None
    reason: str | None = None

    @property
    def is_broken(self) -> bool:
        return bool(self.nan or self.infinite)


class Track(msgspec.Struct, frozen=True):
    """One tensor over all steps; where a step does not have it, its moment is None."""

    name: str
    shape: tuple[int, ...]
    moments: tuple[Moment | None, ...]

    @property
    def first_broken(self) -> int | None:
        """The index of the first step at which it has NaN or infinities; None if it never has."""
        return next((at for at, moment in enumerate(self.moments) if moment is not None and moment.is_broken), None)

    @property
    def jump(self) -> int | None:
        """The index of the step of the largest change, if that is JUMP times the median of the others."""
        found = self.peak
        return found[0] if found is not None and found[1] is not None and found[1] >= JUMP else None

    @property
    def peak(self) -> tuple[int, float | None] | None:
        """The index of the step of the largest change, and how many times the median of the others that is.

        The second is None where there are too few changes to say; None for both where nothing has changed.
        """
        changes = [
            (moment.change, at) for at, moment in enumerate(self.moments) if moment is not None and moment.change
        ]
        if not changes:
            return None
        largest, at = max(changes)
        others = sorted(change for change, place in changes if place != at)
        return at, largest / others[len(others) // 2] if len(changes) >= FEWEST else None

    @property
    def rank(self) -> tuple[bool, float]:
        """What sorts the largest changes: the model comes before the states of its optimizer, which move more."""
        return names_a_state(self.name), -self.largest

    @property
    def largest(self) -> float:
        """The largest change; 0 without one."""
        return max((moment.change for moment in self.moments if moment is not None and moment.change), default=0.0)

    @property
    def largest_at(self) -> int | None:
        """The index of the step of the largest change, the first of several; None without one."""
        largest = self.largest
        changes = [0.0 if moment is None else moment.change or 0.0 for moment in self.moments]
        return changes.index(largest) if largest else None

    @property
    def frozen_since(self) -> int | None:
        """The index of the first step since which not a bit has changed, up to the last; None if the last changed."""
        found = None
        for moment in reversed(self.moments):
            if moment is None or moment.is_identical is not True:
                break
            found = moment.since
        return found


class Timeline(msgspec.Struct, frozen=True):
    """The steps of a run in their order, and a track for each tensor, in the order of the first step that has it."""

    steps: tuple[Step, ...]
    tracks: tuple[Track, ...]

    @property
    def first_broken(self) -> tuple[int, tuple[Track, ...]] | None:
        """The first step at which any tensor has NaN or infinities, and the tensors that have them there."""
        firsts = [(at, track) for track in self.tracks if (at := track.first_broken) is not None]
        if not firsts:
            return None
        first = min(at for at, _ in firsts)
        return first, tuple(track for at, track in firsts if at == first)

    def jumps(self) -> dict[int, list[Track]]:
        """The tensors that jumped, by the index of the step, in its order."""
        return self._by_step(lambda track: track.jump)

    def frozen(self) -> dict[int, list[Track]]:
        """The tensors that are frozen, by the index of the step since which they are, in its order."""
        return self._by_step(lambda track: track.frozen_since)

    def _by_step(self, step_of: Callable[[Track], int | None]) -> dict[int, list[Track]]:
        found: dict[int, list[Track]] = {}
        for track in self.tracks:
            if (at := step_of(track)) is not None:
                found.setdefault(at, []).append(track)
        return dict(sorted(found.items()))

    @property
    def unread(self) -> tuple[tuple[str, str], ...]:
        """The steps that could not be opened, and the tensors that could not be read at some step, with the reasons."""
        steps = [(step.label, step.reason) for step in self.steps if step.reason is not None]
        return (*steps, *self._unread_tensors())

    def _unread_tensors(self) -> Iterator[tuple[str, str]]:
        for track in self.tracks:
            for step, moment in zip(self.steps, track.moments, strict=True):
                if moment is not None and moment.reason is not None:
                    yield f"{track.name} at {step.name}", moment.reason

    def is_monotonic(self) -> bool:
        """Whether the numbers of the steps rise, as far as they have some."""
        return rises(self.steps)


def rises(steps: Sequence[Step]) -> bool:
    """Whether the numbers of the steps rise, as far as they have some."""
    return all(a < b for a, b in pairwise([step.number for step in steps if step.number is not None]))


def finite(value: float | None) -> float | None:
    """The value, or None where it is no number to print."""
    return value if value is not None and math.isfinite(value) else None
