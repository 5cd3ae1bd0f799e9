"""Where each trained parameter begins in its flat buffer, as the shapes in the model file say it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.text import clean, plural
from tui_params.sources.folder.deepspeed.assembly import Assembly
from tui_params.sources.folder.deepspeed.buffers import Placed
from tui_params.sources.folder.deepspeed.model_states import Due, ModelStates
from tui_params.sources.folder.deepspeed.ranks import Ranks

_NO_PLACE = "it lies behind a parameter whose shape is malformed, so its place is not known"
_UNCERTAIN = "where a parameter begins in them is not certain"
_SHOWN = 5


def place_parameters(ranks: Ranks, model: ModelStates, made: Assembly) -> list[Placed]:
    """Where each trained parameter begins; the shapes are compared with what the ranks have.

    Where they do not fit, no place in that buffer is certain.
    """
    groups = model.groups or ()
    _count_groups(ranks, len(groups), made)
    _compare_shapes(ranks, model, made)
    if ranks.stage == 3:
        # All groups are one buffer, of which each rank has its share.
        found, needed = _place([(number, due) for number, group in enumerate(groups) for due in group], ranks, ())
        return _checked(found, None if needed is None else _misfit_of_ranks(ranks, needed, made))
    placed: list[Placed] = []
    first = next(iter(ranks.optimizers.found.values()), None)
    for number, group in enumerate(groups):
        paddings = first.paddings[number] if first is not None and number < len(first.paddings) else ()
        found, needed = _place([(number, due) for due in group], ranks, paddings)
        placed += _checked(found, None if needed is None else _misfit_of_group(ranks, number, needed, made))
    return placed


def _place(dues: list[tuple[int, Due]], ranks: Ranks, paddings: Sequence[int]) -> tuple[list[Placed], int | None]:
    """The parameters of one buffer one after the other, and how many elements they need; None if that is not known."""
    found: list[Placed] = []
    world = max(ranks.world, 1)
    start = 0
    lost: str | None = None
    for place, (group, due) in enumerate(dues):
        if due.shape is None:
            found.append(Placed(due.name, None, group, start, f"its entry in param_shapes {due.fault}"))
            lost = _NO_PLACE
            continue
        found.append(Placed(due.name, due.shape, group, start, lost))
        numel = prod(due.shape)
        start += -(-numel // world) if ranks.stage == 3 else numel
        start += paddings[place] if place < len(paddings) else 0
    return found, start if lost is None else None


def _checked(found: list[Placed], misfit: str | None) -> list[Placed]:
    """The parameters; with a misfit, none of their places is certain."""
    if misfit is None:
        return found
    return [msgspec.structs.replace(parameter, lost=parameter.lost or misfit) for parameter in found]


def _misfit_of_ranks(ranks: Ranks, needed: int, made: Assembly) -> str | None:
    """A sentence, and a finding for each rank, if the flat buffers of stage 3 have other elements than are needed."""
    misfit = None
    for rank, states in ranks.optimizers.found.items():
        has = sum(flat.info.numel for flat in states.flats)
        if has != needed:
            evidence = f"its flat buffers have {plural(has, 'element')}, and the parameters need {needed:,}"
            file = ranks.optimizers.names[rank]
            made.findings.append(Finding("error", "flat-layout", None, evidence, file=file))
            misfit = misfit or f"the flat buffers of rank {rank:,} do not fit the shapes: {_UNCERTAIN}"
    return misfit


def _misfit_of_group(ranks: Ranks, group: int, needed: int, made: Assembly) -> str | None:
    """A sentence, and a finding, if a flat buffer of stage 1 or 2 has other elements; what is left over is padding."""
    optimizers = ranks.optimizers.found
    if len(optimizers) < ranks.world:
        return None
    has = sum(states.flats[group].info.numel for states in optimizers.values() if group < len(states.flats))
    grain = 2 * ranks.world
    if -(-has // grain) == -(-needed // grain):
        return None
    evidence = f"the flat buffer of group {group:,} has {plural(has, 'element')}, and its parameters need {needed:,}"
    made.findings.append(Finding("error", "flat-layout", None, evidence))
    return f"the flat buffer of its group does not fit the shapes: {_UNCERTAIN}"


def _compare_shapes(ranks: Ranks, model: ModelStates, made: Assembly) -> None:
    """A finding for parameters that the model file itself has in another shape than its list of shapes says."""
    odd = [
        due.name
        for group in model.groups or ()
        for due in group
        if due.shape is not None
        and (copy := model.module.get(due.name)) is not None
        and (copy.info.numel or ranks.stage != 3)
        and not copy.info.has_unknown_size
        and copy.info.shape != due.shape
    ]
    if odd:
        more = f" and {len(odd) - _SHOWN:,} more" if len(odd) > _SHOWN else ""
        shown = ", ".join(clean(name, 80) for name in odd[:_SHOWN])
        evidence = f"the state dict has {shown}{more} in another shape than param_shapes"
        file = next(iter(ranks.models.names.values()))
        made.findings.append(Finding("error", "flat-layout", None, evidence, file=file))


def _count_groups(ranks: Ranks, count: int, made: Assembly) -> None:
    """A finding for each rank that has flat buffers of more groups than there are shapes."""
    for rank, states in ranks.optimizers.found.items() if ranks.stage != 3 else ():
        if len(states.flats) > count:
            evidence = f"it has {plural(len(states.flats), 'flat buffer')}, and there are shapes for {count:,}"
            file = ranks.optimizers.names[rank]
            made.findings.append(Finding("error", "flat-layout", None, evidence, file=file))
