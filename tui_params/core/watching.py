"""Watching: conditions on tensors of a source that trains, and what has come of them, as a screen asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from tui_params.core.findings import Finding

HOLD_SECONDS = 300.0
"""How long the training stands at most, if nothing else is said: below the 10 minutes after which NCCL ends a job."""

MAX_HOLD_SECONDS = 86_400.0


class Wish(msgspec.Struct, frozen=True):
    """What to wait for, and what to do when it comes.

    ``conditions`` are separated by blanks; empty if nothing is watched. ``folder`` is where the tensors of events are
    written, empty if they are not. ``hold_seconds`` is how long the training stands after an event at most, 0 if it
    goes on.
    """

    conditions: str = ""
    folder: str = ""
    hold_seconds: float = 0.0


NOTHING = "nothing is watched"
"""How ``Watching.words`` begin that say why nothing is."""


class Watching(Protocol):
    """Looks at tensors at every step. None of it waits for a tensor or for another process."""

    wish: Wish

    def start(self, names: Sequence[str] | None, wish: Wish) -> None:
        """Watch these parameters and buffers, or all, with their gradients, in place of what was watched before.

        Raises QueryError.
        """
        ...

    def stop(self) -> None:
        """Watch nothing. What was seen is kept."""
        ...

    @property
    def words(self) -> str:
        """What is watched, or why nothing is, as one sentence; empty if nothing was asked for."""
        ...

    @property
    def standing(self) -> str:
        """That the training stands because of this, where and for how long, as a sentence; empty if it does not."""
        ...

    def release(self) -> None:
        """Let the training go on, and watch on."""
        ...

    def events(self) -> tuple[Finding, ...]:
        """What was seen until now, the earliest first: each about the tensor whose gradient or values it is."""
        ...
