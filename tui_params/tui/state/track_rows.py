"""TrackRow: one tensor of a run with what is to be said of it, and the orders in which the rows can stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import merge
from typing import Any, Literal

import msgspec

from tui_params.core.compare.tracks import JUMP, Step, Track, rises
from tui_params.core.kinds import kind_of, name_of_kind
from tui_params.core.name_order import natural_key

Order = Literal["first broken", "largest jump", "name"]
ORDERS: tuple[Order, ...] = ("first broken", "largest jump", "name")


class Kin(msgspec.Struct, frozen=True):
    """The tensors of one kind, for which the row of one of them stands, and how many of them are what."""

    kind: str
    names: frozenset[str]
    broken: int
    jumped: int
    frozen: int


class TrackRow(msgspec.Struct, frozen=True):
    """A track and its facts, worked out once; steps are indices. ``largest`` and ``times``: see ``Track.peak``.

    ``kin`` are the tensors that it stands for; None if it is there for itself.
    """

    track: Track
    first_broken: int | None
    largest: int | None
    times: float | None
    frozen_since: int | None
    kin: Kin | None = None

    @property
    def count(self) -> int:
        """How many tensors it stands for."""
        return 1 if self.kin is None else len(self.kin.names)

    def stands_for(self, name: str) -> bool:
        return self.name == name or (self.kin is not None and name in self.kin.names)

    @property
    def name(self) -> str:
        return self.track.name

    @property
    def jump(self) -> int | None:
        """The step of the jump, as in ``Track.jump``."""
        return self.largest if self.times is not None and self.times >= JUMP else None

    @property
    def change(self) -> float:
        """The largest change; 0 where nothing has changed, or nothing could be compared."""
        moment = self.track.moments[self.largest] if self.largest is not None else None
        return moment.change or 0.0 if moment is not None else 0.0


def row_of(track: Track) -> TrackRow:
    at, times = track.peak or (None, None)
    return TrackRow(track, track.first_broken, at, times, track.frozen_since)


def arranged(rows: Sequence[TrackRow], words: str, order: Order) -> list[TrackRow]:
    """The rows that have all these words in their names, in that order.

    They are sorted in small parts that are merged, because a sort lets no other thread run until it ends.
    """
    wanted = words.lower().split()
    if wanted:
        rows = [row for row in rows if all(word in row.name.lower() for word in wanted)]
    key = _KEYS[order]
    parts = [sorted(rows[start : start + _PART], key=key) for start in range(0, len(rows), _PART)]
    return parts[0] if len(parts) == 1 else list(merge(*parts, key=key))


def folded(rows: Sequence[TrackRow], words: str, order: Order) -> list[TrackRow]:
    """Of each kind the row that comes first of those that ``arranged`` gives; it stands for the others."""
    kinds: dict[str, list[TrackRow]] = {}
    for row in arranged(rows, words, order):
        kinds.setdefault(kind_of(row.name), []).append(row)
    return [same[0] if len(same) == 1 else msgspec.structs.replace(same[0], kin=_kin(same)) for same in kinds.values()]


def _kin(rows: Sequence[TrackRow]) -> Kin:
    return Kin(
        name_of_kind([row.name for row in rows]),
        frozenset([row.name for row in rows]),
        sum(row.first_broken is not None for row in rows),
        sum(row.jump is not None for row in rows),
        sum(row.frozen_since is not None for row in rows),
    )


def _name_key(row: TrackRow) -> tuple[object, ...]:
    return (natural_key(row.name),)


def _jump_key(row: TrackRow) -> tuple[object, ...]:
    return -(row.times or 0.0), -row.change, *_name_key(row)


def _broken_key(row: TrackRow) -> tuple[object, ...]:
    if row.first_broken is None:
        return 1, *_jump_key(row)
    return 0, row.first_broken, *_name_key(row)


_KEYS: dict[Order, Callable[[TrackRow], Any]] = {
    "first broken": _broken_key,
    "largest jump": _jump_key,
    "name": _name_key,
}
_PART = 2048


def what_is_broken(row: TrackRow) -> str:
    """What it has at the first step at which it is broken: ``NaN``, ``Inf`` or ``NaN and Inf``."""
    moment = row.track.moments[row.first_broken] if row.first_broken is not None else None
    return broken_words(bool(moment and moment.nan), bool(moment and moment.infinite))


def broken_words(has_nan: bool, has_infinite: bool) -> str:
    return "NaN and Inf" if has_nan and has_infinite else "Inf" if has_infinite else "NaN"


def are_numbered(steps: Sequence[Step]) -> bool:
    """Whether every step has a number, and the numbers rise: then these are the axis."""
    return rises(steps) and all(step.number is not None for step in steps)
