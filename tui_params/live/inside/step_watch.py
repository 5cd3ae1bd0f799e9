"""StepWatch: what one viewer has done at every step: rounds of copies, and a hold of the thread that trains."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from .anatomy import ODD
from .finite_check import FiniteCheck
from .hold import Hold
from .step_clock import Step, StepClock
from .step_rounds import StepRounds


class StepWatch:
    """Runs from ``start`` to ``close``. ``check`` is only there if the thread is to stand in the very step."""

    def __init__(self, clock: StepClock, rounds: StepRounds, hold: Hold, check: FiniteCheck | None) -> None:
        self.rounds, self.hold = rounds, hold
        self._clock, self._check = clock, check

    def start(self) -> None:
        self._clock.at_step.append(self._at_step)
        self._clock.settles.append(self._settle)
        self._clock.holds.append(self.hold)

    def close(self) -> None:
        """End it; a thread that stands because of it goes on."""
        self.hold.close()
        with suppress(ValueError):
            self._clock.at_step.remove(self._at_step)
        with suppress(ValueError):
            self._clock.settles.remove(self._settle)
        with suppress(ValueError):
            self._clock.holds.remove(self.hold)
        self.rounds.close()

    def _at_step(self, optimizer: Any, step: Step) -> None:
        self._settle()
        self._look(self.rounds.take(optimizer, step))

    def _settle(self) -> None:
        if self.rounds.is_under_way:
            self._look(self.rounds.arrived())

    def _look(self, taken: list[tuple[int, Any]]) -> None:
        try:
            with suppress(*ODD):
                if self._check is not None and self._check.look(taken):
                    self.hold.want()
        finally:
            # Whoever sees the round can rely on it that the thread stands, if it is to.
            self.rounds.finish()
