"""Judge: what the looks at one tensor amount to. A condition that goes on holding is one event, not one a step."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.tensor import TensorInfo
from tui_params.live.attached.figures import LookFigures, digest_of, figures_of, is_finite
from tui_params.live.watching.condition import Condition

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WINDOW = 128
"""The norms of so many looks make a median; those of fewer than FEWEST make none."""

FEWEST = 16


class Event(msgspec.Struct, frozen=True, gc=False):
    """A condition began to hold for a tensor at a step.

    ``median`` is that of the norms before, ``since`` the first step of those at which the bits were the same; each is
    set where the condition is about it.
    """

    step: int
    info: TensorInfo
    condition: Condition
    figures: LookFigures
    median: float | None = None
    since: int | None = None
    is_scaled: bool = False
    is_skipped: bool = False


class Judge:
    """The conditions on one tensor."""

    def __init__(self, info: TensorInfo, conditions: tuple[Condition, ...]) -> None:
        self.info = info
        self.looks = 0
        self._conditions = conditions
        self._holding: set[Condition] = set()
        self._needs_norm = any(each.what in ("norm", "growth") for each in conditions)
        self._norms: deque[float] = deque()
        self._ordered: list[float] = []
        self._digest: bytes | None = None
        self._since = 0
        self._has_window = any(each.what == "growth" for each in conditions)
        self._has_digest = any(each.what == "still" for each in conditions)

    def look(self, step: int, raw: NDArray[np.uint8]) -> list[Event]:
        """The events of a look at the bytes that the tensor has after a step.

        Raises ReadError if it cannot be decoded.
        """
        info = self.info
        self.looks += 1
        figures: LookFigures | None = None
        if self._needs_norm or (self._minds_finite and not is_finite(raw, info.dtype, info.numel)):
            figures = figures_of(raw, info.dtype, info.numel)
        if self._has_digest:
            digest = digest_of(raw)
            if digest != self._digest:
                self._digest, self._since = digest, step
        median = self._median() if self._has_window else None
        holding = {each for each in self._conditions if self._holds(each, step, figures, median)}
        if self._has_window and figures is not None and figures.is_finite:
            self._add(figures.norm)
        begun = [each for each in self._conditions if each in holding and each not in self._holding]
        self._holding = holding
        if not begun:
            return []
        if figures is None:
            figures = figures_of(raw, info.dtype, info.numel)
        return [
            Event(
                step,
                info,
                each,
                figures,
                median if each.what == "growth" else None,
                self._since if each.what == "still" else None,
            )
            for each in begun
        ]

    @property
    def _minds_finite(self) -> bool:
        return any(each.what in ("nan", "inf") for each in self._conditions)

    def _holds(self, condition: Condition, step: int, figures: LookFigures | None, median: float | None) -> bool:
        if condition.what == "still":
            return step - self._since >= condition.amount
        if figures is None:
            return False
        if condition.what == "nan":
            return figures.nan > 0
        if condition.what == "inf":
            return figures.pos_inf + figures.neg_inf > 0
        # A norm that is no number, or is infinite, is below no limit.
        if not figures.is_finite:
            return True
        if condition.what == "norm":
            return figures.norm > condition.amount
        return bool(median) and median is not None and figures.norm > condition.amount * median

    def _median(self) -> float | None:
        count = len(self._ordered)
        if count < FEWEST:
            return None
        middle = count // 2
        if count % 2:
            return self._ordered[middle]
        return (self._ordered[middle - 1] + self._ordered[middle]) / 2

    def _add(self, norm: float) -> None:
        self._norms.append(norm)
        insort(self._ordered, norm)
        if len(self._norms) > WINDOW:
            del self._ordered[bisect_left(self._ordered, self._norms.popleft())]
