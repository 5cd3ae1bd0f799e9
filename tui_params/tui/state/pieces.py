"""Pieces: where the parts of tensors are stored, and what other ranks have of them, for the pages of those tensors."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tui_params.core.over_ranks import OverRanks
from tui_params.core.piece import Piece
from tui_params.core.tensor import TensorInfo

_MOST_KEPT = 100


class Stored(msgspec.Struct, frozen=True):
    """The first pieces of a tensor, how many there are, and by how many ranks they were written.

    ``over`` is what the ranks of a running job have of it; ``reason`` says why that could not be found out.
    """

    pieces: tuple[Piece, ...]
    count: int
    ranks: int
    over: OverRanks | None = None
    reason: str = ""


class Pieces:
    """The pieces of tensors by name. They are asked for when a page first needs them."""

    def __init__(self, ask: Callable[[TensorInfo], object]) -> None:
        self._ask = ask
        self._known: dict[str, Stored] = {}
        self._asked: str | None = None
        self._before: Pieces | None = None

    def keep(self, before: Pieces) -> None:
        """Show what was known before of the ranks, which says its step, until that is known anew."""
        self._before, before._before = before, None

    @property
    def is_settled(self) -> bool:
        """Whether no answer is awaited."""
        return self._asked is None or self._asked in self._known

    def take(self, name: str, stored: Stored) -> None:
        """Take the answer."""
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        self._known[name] = stored

    def of(self, info: TensorInfo) -> Stored | None:
        """The pieces of a tensor; None as long as they are not known, or if it lies in one place."""
        stored = self._known.get(info.name)
        if stored is None and self._asked != info.name and info.kind != "gradient":
            self._asked = info.name
            self._ask(info)
        return stored if stored is not None and stored.count else None

    def over(self, info: TensorInfo) -> Stored | None:
        """What is known of a tensor on the ranks of a job; to be called after ``of``."""
        stored = self._known.get(info.name)
        if stored is None:
            return self._before.over(info) if self._before is not None else None
        return stored if stored.over is not None or stored.reason else None
