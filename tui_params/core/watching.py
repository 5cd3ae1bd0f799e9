"""Watching: conditions on tensors of a source that trains, and what has come of them, as a screen asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tui_params.core.findings import Finding


class Watching(Protocol):
    """Looks at tensors at every step. None of it waits for a tensor or for another process."""

    conditions: str
    """What is waited for, as it was written; empty if nothing is watched."""

    def start(self, names: Sequence[str] | None, conditions: str) -> None:
        """Watch these parameters and buffers, or all, with their gradients, in place of what was watched before.

        ``conditions`` are separated by blanks. Raises QueryError.
        """
        ...

    def stop(self) -> None:
        """Watch nothing. What was seen is kept."""
        ...

    @property
    def words(self) -> str:
        """What is watched, or why nothing is, as one sentence; empty if nothing was asked for."""
        ...

    def events(self) -> tuple[Finding, ...]:
        """What was seen until now, the earliest first: each about the tensor whose gradient or values it is."""
        ...
