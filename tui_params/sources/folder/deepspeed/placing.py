"""Where each trained parameter begins in its flat buffer, as the shapes in the model file say it."""

from __future__ import annotations

from math import prod

from tui_params.core.findings import Finding
from tui_params.core.text import plural
from tui_params.sources.folder.deepspeed.assembly import Assembly
from tui_params.sources.folder.deepspeed.buffers import Placed
from tui_params.sources.folder.deepspeed.model_states import ModelStates
from tui_params.sources.folder.deepspeed.ranks import Ranks

_NO_PLACE = "it lies behind a parameter whose shape is malformed, so its place is not known"


def place_parameters(ranks: Ranks, model: ModelStates, made: Assembly) -> list[Placed]:
    """Where each trained parameter begins; the shapes are compared with what the ranks have."""
    _count_groups(ranks, len(model.groups or ()), made)
    first = next(iter(ranks.optimizers.found.values()), None)
    is_third, world = ranks.stage == 3, max(ranks.world, 1)
    found: list[Placed] = []
    start = 0
    for number, group in enumerate(model.groups or ()):
        paddings = first.paddings[number] if first is not None and number < len(first.paddings) else ()
        lost: str | None = None
        if not is_third:
            start = 0
        for place, due in enumerate(group):
            if due.shape is None:
                lost = _NO_PLACE
                continue
            found.append(Placed(due.name, due.shape, number, start, lost))
            numel = prod(due.shape)
            start += -(-numel // world) if is_third else numel
            if not is_third and place < len(paddings):
                start += paddings[place]
        if not is_third and lost is None:
            _compare_sizes(ranks, number, start, made)
        elif is_third and lost is not None:
            # All groups are one buffer.
            rest = [due for later in model.groups[number + 1 :] for due in later] if model.groups else []
            found += [Placed(due.name, due.shape, number, start, lost) for due in rest if due.shape is not None]
            return found
    if is_third and model.groups:
        _compare_sizes(ranks, None, start, made)
    return found


def _compare_sizes(ranks: Ranks, group: int | None, needed: int, made: Assembly) -> None:
    """A finding if a flat buffer has other elements than its parameters need; what is left over is padding."""
    world = ranks.world
    optimizers = ranks.optimizers.found
    if len(optimizers) < world:
        return
    if group is None:
        for rank, states in optimizers.items():
            has = sum(flat.info.numel for flat in states.flats)
            if has != needed:
                evidence = f"its flat buffers have {plural(has, 'element')}, and the parameters need {needed:,}"
                file = ranks.optimizers.names[rank]
                made.findings.append(Finding("error", "flat-layout", None, evidence, file=file))
        return
    has = sum(states.flats[group].info.numel for states in optimizers.values() if group < len(states.flats))
    grain = 2 * world
    if -(-has // grain) != -(-needed // grain):
        evidence = (
            f"the flat buffer of group {group:,} has {plural(has, 'element')}, and its parameters need {needed:,}"
        )
        made.findings.append(Finding("error", "flat-layout", None, evidence))


def _count_groups(ranks: Ranks, count: int, made: Assembly) -> None:
    """A finding for each rank that has flat buffers of more groups than there are shapes."""
    for rank, states in ranks.optimizers.found.items() if ranks.stage != 3 else ():
        if len(states.flats) > count:
            evidence = f"it has {plural(len(states.flats), 'flat buffer')}, and there are shapes for {count:,}"
            file = ranks.optimizers.names[rank]
            made.findings.append(Finding("error", "flat-layout", None, evidence, file=file))
