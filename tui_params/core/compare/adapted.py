"""Adapted: how an adapter on one side moves a weight of the other."""

from __future__ import annotations

import msgspec


class Adapted(msgspec.Struct, frozen=True):
    """A weight, by its name on its own side, and what moves it.

    ``relative`` is the norm of the change divided by that of the weight: 0 where the adapter has nothing for it, None
    where it is not known. ``about`` is a sentence with the adapter, the norms, and why one is not known.
    """

    name: str
    relative: float | None
    about: str

    @property
    def is_touched(self) -> bool:
        return self.relative != 0
