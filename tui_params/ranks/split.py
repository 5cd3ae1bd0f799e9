"""How work is split among processes: as many bytes for each, next to each other, with large tensors cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tui_params.core.dtypes import fit
from tui_params.core.tensor import TensorInfo

STEP_NBYTES = 4 << 20
"""A tensor is cut at multiples of so many bytes."""

_EACH = 1 << 16
"""What a tensor costs beside its bytes, in bytes: to begin one takes as long as to read these."""


class Unit(msgspec.Struct, frozen=True, gc=False):
    """A thing to read: its bytes, and into how many equal steps it may be cut."""

    nbytes: int
    steps: int = 1


class Portion(msgspec.Struct, frozen=True, gc=False):
    """The steps ``first:stop`` of unit ``number``, which are those of one process."""

    number: int
    first: int
    stop: int


def split(units: Sequence[Unit], ways: int) -> list[list[Portion]]:
    """The portions of each of ``ways`` processes; in order, they are every step of every unit, once."""
    total = sum(unit.nbytes + _EACH for unit in units)
    shares: list[list[Portion]] = [[] for _ in range(ways)]
    at, way = 0, 0
    for number, unit in enumerate(units):
        cost, first = unit.nbytes + _EACH, 0
        while first < unit.steps:
            # The border between this process and the next, in steps of this unit; the last process takes the rest.
            border = total * (way + 1) - at * ways
            stop = unit.steps if way == ways - 1 else min(unit.steps, _nearest(border * unit.steps, cost * ways))
            if stop > first:
                shares[way].append(Portion(number, first, stop))
                first = stop
            if first < unit.steps:
                way += 1
        at += cost
    return shares


def _nearest(numerator: int, denominator: int) -> int:
    return max(0, (2 * numerator + denominator) // (2 * denominator))


def step_of(info: TensorInfo) -> int:
    """The elements of one step of a tensor."""
    return fit(STEP_NBYTES, info.dtype)


def units_of(infos: Iterable[TensorInfo]) -> list[Unit]:
    """The tensors as units; one that is not contiguous cannot be cut, for its blocks come in any order."""
    return [Unit(info.nbytes, 1 if info.stride is not None else -(-info.numel // step_of(info)) or 1) for info in infos]


def elements(info: TensorInfo, portion: Portion) -> tuple[int, int]:
    """The elements ``start:stop`` of a portion of a tensor."""
    if info.stride is not None:
        return 0, info.numel
    step = step_of(info)
    return min(portion.first * step, info.numel), min(portion.stop * step, info.numel)
