"""The states of the optimizer, each under the name of its parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from tui_params.core.text import plural
from tui_params.sources.folder.deepspeed.assembly import Assembly
from tui_params.sources.folder.deepspeed.buffers import FlatsOf, Placed, build_buffers
from tui_params.sources.folder.deepspeed.optimizer_states import OptimizerStates
from tui_params.sources.folder.deepspeed.ranks import Ranks
from tui_params.sources.folder.deepspeed.torch_file import Stored

_MAX_KEYS = 32
"""States of one parameter that are looked at: no optimizer has as many."""


def add_moments(ranks: Ranks, placed: Sequence[Placed], made: Assembly) -> None:
    """The states of the optimizer under the names of their parameters, ``optimizer.NAME.exp_avg``."""
    optimizers = list(ranks.optimizers.found.values())
    if not optimizers or not placed:
        return
    count = max(parameter.group for parameter in placed) + 1
    # Of stage 3 the groups of shapes are the sub-groups of the optimizer, unless something cut them otherwise.
    is_split = ranks.stage != 3 or all(len(states.flats) == count for states in optimizers)
    keys: list[dict[str, None]] = [{} for _ in range(count)]
    for states in optimizers:
        for number, moments in enumerate(states.moments):
            for group in (number,) if is_split else range(count):
                if group < count:
                    keys[group] |= dict.fromkeys(islice(moments, _MAX_KEYS))
    buffers = {key: build_buffers(ranks, count, _moments_of(key, ranks.stage)) for key in dict.fromkeys(_flatten(keys))}
    firsts: dict[tuple[int, str], str] = {}
    for parameter in placed:
        if parameter.shape is None:
            continue
        group = parameter.group
        note = (f"state of {parameter.name}",)
        for key in keys[group]:
            name = f"optimizer.{parameter.name}.{key}"
            of = buffers[key]
            lost = parameter.lost or of.lost[group]
            made.stitch(name, parameter.shape, of.dtypes[group], of.layouts[group], parameter.start, lost, notes=note)
            made.states.add(name)
        scalars = optimizers[0].scalars
        for key, stored in scalars[group].items() if is_split and group < len(scalars) else ():
            name = f"optimizer.{parameter.name}.{key}"
            first = firsts.setdefault((group, key), name)
            made.add(name, stored, tied_to=None if first == name else first, notes=note)
            made.states.add(name)
    if not is_split:
        for number, loose in enumerate(optimizers[0].scalars):
            for key, stored in loose.items():
                made.add(f"optimizer.state.{number}.{key}", stored)
                made.states.add(f"optimizer.state.{number}.{key}")


def _flatten(keys: Sequence[Mapping[str, None]]) -> Iterator[str]:
    for group in keys:
        yield from group


def _moments_of(key: str, stage: int) -> FlatsOf:
    """The partitions of one of the moments; of stage 3 as long as those of the values, so that all places agree."""

    def flats(states: OptimizerStates) -> Sequence[Stored | None]:
        found: list[Stored | None] = []
        for number, values in enumerate(states.flats):
            stored = states.moments[number].get(key) if number < len(states.moments) else None
            if stage == 3 and (stored is None or stored.info.numel != values.info.numel):
                count = 0 if stored is None else stored.info.numel
                reason = f"a rank has {plural(count, 'element')} of it, and {values.info.numel:,} of the parameters"
                stored = values.called(values.info.name, unreadable=reason)
            found.append(stored)
        return found

    return flats
