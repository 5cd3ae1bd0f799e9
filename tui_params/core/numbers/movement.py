"""Movement: what a timeline tells of one tensor at one step, from a loop that reads each element of it once."""

from __future__ import annotations

from fractions import Fraction
from math import fsum, sqrt

import numpy as np
from numpy.typing import NDArray

from tui_params.core.kernels.protocol import DIGITS, Kernels, Moved
from tui_params.core.numbers.difference import Counted
from tui_params.core.numbers.moments import Moments, root

_UNIT = 301
"""The digits begin at 2**-301; squares of float32 are multiples of 2**-298."""

_DOUBT = 75
"""The sum of squares is right to 2**-75 of itself.

The loop cuts squares, of 1024 elements at a time, at a unit of 2**-51 of a power of two that is at most four times the
greatest of them. The lower parts, at most half a unit each, add up to at most 2**-40 of the sum of the squares, and
float64 rounds their sum at most 2**10 + 2**20 times by 2**-53 of that. Elements that are all subnormal have none.
"""


class Movement:
    """Accumulates what the loop finds of one tensor at one step, piece after piece."""

    def __init__(self) -> None:
        self.finite = self.nan = self.infinite = 0
        self.abs_max: float | None = None
        self.differs = False
        self._digits = np.zeros(DIGITS, np.uint64)
        self._rests: list[float] = []
        self.forget()

    def forget(self) -> None:
        """Drop what was found of the elements before; the figures of the step itself stay."""
        self.differs = False
        self._count = self._changed = self._pairs = 0
        self._aa: list[float] = []
        self._dd: list[float] = []

    def add(
        self,
        kernels: Kernels,
        types: tuple[str, str],
        before: Moved | None,
        old: NDArray[np.uint8] | None,
        new: NDArray[np.uint8],
        numel: int,
    ) -> Moved | None:
        """Take ``numel`` elements in, and how they moved from those before, if there are some.

        ``before`` is what was found of these. None, and nothing is taken in, if the kernels have no loop for the types.
        """
        found = kernels.moved(before, old, new, types, numel, self._digits)
        if found is None:
            return None
        self.finite += found.finite
        self.nan += found.nan
        self.infinite += found.infinite
        if found.finite:
            self.abs_max = max(found.peak, self.abs_max or 0.0)
        self._rests.append(found.rest)
        if old is not None:
            self.differs |= found.differs
            self._count += numel
            self._changed += found.changed
            self._pairs += found.pairs
            self._aa.append(found.aa)
            self._dd.append(found.dd)
        return found

    def l2_norm(self, others: Moments) -> float | None:
        """The norm of the finite elements, rounded once, with those that ``others`` are the moments of.

        None without a finite element. Raises ArithmeticError if it cannot be told to which of two numbers it has to be
        rounded: of four million norms that are about one, whose elements have to be looked at otherwise.
        """
        if not self.finite + others.finite:
            return None
        total = sum(digit << 32 * place for place, digit in enumerate(self._digits.tolist()))
        total += int(Fraction(fsum(self._rests)) * (1 << _UNIT)) + (others.squares << _UNIT - 298)
        doubt = total >> _DOUBT if any(self._rests) else 0
        low, high = (root(total + around, 1 << _UNIT) for around in (-doubt, doubt))
        if low != high:
            raise ArithmeticError("the norm lies between two numbers")
        return low

    @property
    def changed_fraction(self) -> float:
        return self._changed / self._count if self._count else 0.0

    def change(self) -> float | None:
        """The norm of what was added to the elements before, divided by theirs, as ``Difference.relative_l2``."""
        dd, aa = fsum(self._dd), fsum(self._aa)
        # All squares are multiples of 2**-298 and below 2**256 each, so that the quotient is within float64.
        return sqrt(dd / aa) if aa else 0.0 if not dd and self._pairs else None

    def counted(self) -> Counted:
        """How the elements moved, as a Tally of differences takes it in; without what a timeline does not tell."""
        sums = [(0, 1), *(Fraction(fsum(some)).as_integer_ratio() for some in (self._dd, self._aa)), (0, 1), (0, 1)]
        return Counted((self._count, self._changed, self._pairs, 0, 0, 0, 0, 0), 0.0, None, None, tuple(sums))
