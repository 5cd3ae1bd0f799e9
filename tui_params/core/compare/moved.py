"""What can be said of how a tensor differs: between two looks at a model, and between two sources.

Of two looks, what was kept of the earlier one decides; of two sources, the values of both.
"""

from __future__ import annotations

from math import hypot, sqrt
from typing import Literal

import msgspec

from tui_params.core.figures import Figures
from tui_params.core.numbers.difference import Difference

State = Literal[
    "same", "moved", "new", "shape", "dtype", "stride", "unread", "equal", "only_a", "only_b", "implied", "adapted"
]
"""``same``: bit-identical. ``new``: there was no tensor of that name. ``shape``, ``dtype``, ``stride``: it has another
one, so that the bytes cannot be compared. ``unread``: it was not read at one of the two looks, or on one side.

The rest is of two sources alone. ``equal``: the bytes differ, no value does. ``only_a``, ``only_b``: one side has no
tensor of that name. ``implied``: so too, but that is no difference. ``adapted``: one side is an adapter that moves it.
Two tensors of different types are compared by their values: then ``dtype`` has a ``difference``.
"""

_ONLY_THAT = 5e-324
"""The size of what has moved, however little."""

_ROUNDING = 2.0**-52
"""Twice the most by which a figure, rounded once, is off: a share of itself."""

_BELOW = 1 - 1e-12
"""Makes up for the few roundings on the way to a lower bound."""


class Sums(msgspec.Struct, frozen=True, gc=False):
    """The figures that are kept of a tensor: over its finite elements, each exact and rounded once to float64.

    ``count`` elements, ``finite`` of them finite; of complex tensors the real and imaginary parts count as two.
    """

    count: int
    finite: int
    nan: int
    inf: int
    zeros: int
    mean: float | None
    std: float | None
    min: float | int | None
    max: float | int | None
    l2_norm: float | None


def sums_of(figures: Figures) -> Sums:
    """What is kept of the figures of a whole tensor."""
    return Sums(
        figures.count,
        figures.finite,
        figures.nan,
        figures.pos_inf + figures.neg_inf,
        figures.zeros,
        figures.mean,
        figures.std,
        figures.min,
        figures.max,
        figures.l2_norm,
    )


class Change(msgspec.Struct, frozen=True):
    """How a tensor has moved from ``before`` to ``now``.

    ``relative`` = ||now - before|| / ||before|| in the L2 norm over the elements that are finite on both sides, exact
    but for rounding; None where it is not known, or where the norm before was 0. ``at_least`` is a lower bound of it,
    which follows from the figures alone. ``difference`` has more, where the values of both sides were compared.
    ``about`` says in words what a state other than ``same`` and ``moved`` means here.
    """

    state: State
    before: Sums | None = None
    now: Sums | None = None
    relative: float | None = None
    at_least: float | None = None
    difference: Difference | None = None
    about: str = ""

    @property
    def cosine(self) -> float | None:
        """The cosine between the elements before and now; 1 of what is bit-identical. None where it is not known."""
        if self.state == "same":
            return 1.0
        return self.difference.cosine if self.difference is not None else None

    @property
    def share(self) -> float | None:
        """The share of the elements that have another value; None where it is not known."""
        if self.state == "same":
            return 0.0
        return self.difference.changed_fraction if self.difference is not None else None

    @property
    def has_changed(self) -> bool | None:
        """Whether it is not the same; None where that is not known, or is not asked of it (``implied``)."""
        if self.state in ("unread", "implied"):
            return None
        is_untouched = self.state == "adapted" and self.relative == 0
        return not is_untouched and self.state not in ("same", "equal")

    @property
    def size(self) -> float | None:
        """What to sort by: the relative change or its lower bound; what has none (new, from zero, NaN) comes first.

        None for what was not read.
        """
        if self.has_changed is None:
            return None
        if not self.has_changed:
            return 0.0
        is_measured = self.state in ("moved", "adapted") or self.difference is not None
        if not is_measured or self.is_from_zero or self.more_nan or self.more_inf:
            return float("inf")
        known = self.relative if self.relative is not None else self.at_least
        return known or _ONLY_THAT

    @property
    def is_only_that(self) -> bool:
        """Whether nothing more is known than that it has changed, or it is in its type alone: its size says nothing."""
        return self.size == _ONLY_THAT

    @property
    def more_nan(self) -> int:
        """How many more NaN there are."""
        if self.before is None and self.difference is not None:
            return self.difference.became_nan
        return max(0, self.now.nan - self.before.nan) if self.before is not None and self.now is not None else 0

    @property
    def more_inf(self) -> int:
        """How many more infinities there are."""
        if self.before is None and self.difference is not None:
            return self.difference.became_inf
        return max(0, self.now.inf - self.before.inf) if self.before is not None and self.now is not None else 0

    @property
    def is_from_zero(self) -> bool:
        """Whether every element was zero before, so that no relative change has a value."""
        found = self.difference
        if self.before is None and found is not None:
            return found.relative_l2 is None and bool(found.max_abs) and found.pairs == found.count
        return self.before is not None and self.before.l2_norm == 0 and self.before.finite == self.before.count


def relative_of_one(before: Sums, now: Sums) -> float | None:
    """The relative change of a tensor with one element, whose value the figures give; None for others."""
    if before.count != 1 or now.count != 1 or before.min is None or now.min is None or not before.min:
        return None
    try:
        return abs(now.min - before.min) / abs(before.min)
    except OverflowError:
        return None


def least_relative(before: Sums, now: Sums) -> float | None:
    """A lower bound of ||now - before|| / ||before|| that follows from the figures; None where they say nothing.

    The n differences d have the mean of now minus that of before, and their distance from it is at least the difference
    of the standard deviations (the triangle inequality of the centred vectors), so that
    ||d||^2 >= n (mean(d)^2 + (std - std)^2). The greatest |d| is at least the change of the least value, and of the
    greatest. Every figure may be off by its rounding, which is taken off.
    """
    norm = before.l2_norm
    if before.finite != before.count or now.finite != now.count or before.count != now.count or not norm:
        return None
    means, stds = _apart(before.mean, now.mean), _apart(before.std, now.std)
    most = max(sqrt(before.count) * hypot(means, stds), _apart(before.min, now.min), _apart(before.max, now.max))
    return most / norm * _BELOW


def _apart(a: float | None, b: float | None) -> float:
    """How far two figures are apart at least, with their rounding."""
    if a is None or b is None:
        return 0.0
    try:
        return max(0.0, abs(float(b) - float(a)) - _ROUNDING * (abs(float(a)) + abs(float(b))))
    except OverflowError:
        return 0.0
