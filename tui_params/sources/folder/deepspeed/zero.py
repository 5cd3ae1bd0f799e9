"""From the files of all ranks to the model: parameters in float32, frozen weights, buffers, ties, and moments."""

from __future__ import annotations

from typing import Any

from tui_params.core.findings import Finding
from tui_params.core.text import clean
from tui_params.sources.folder.deepspeed.assembly import Assembly
from tui_params.sources.folder.deepspeed.buffers import Buffers, Placed, build_buffers, checked_flat, common_dtype
from tui_params.sources.folder.deepspeed.model_states import ModelStates
from tui_params.sources.folder.deepspeed.moments import add_moments
from tui_params.sources.folder.deepspeed.optimizer_states import OptimizerStates
from tui_params.sources.folder.deepspeed.partitions import Partition
from tui_params.sources.folder.deepspeed.placing import place_parameters
from tui_params.sources.folder.deepspeed.ranks import Ranks
from tui_params.sources.folder.deepspeed.stage_3 import Dealt
from tui_params.sources.folder.deepspeed.torch_file import Stored

_FROZEN = "frozen: it is not trained"
_PLACEHOLDER = "a placeholder of ZeRO-3, and no list of shapes has its name"


def assemble(ranks: Ranks) -> Assembly:
    """The listing of the model that the files of all ranks are together."""
    made = Assembly()
    model = ranks.model
    made.findings += ranks.findings
    if model is None:
        evidence = "no model file can be read, which has the names and shapes of the parameters"
        made.findings.append(Finding("error", "missing-rank", None, evidence))
        _list_partitions(ranks, made)
        return made
    if model.groups is None:
        _add_plain(model, made)
        return made
    placed = place_parameters(ranks, model, made)
    buffers = build_buffers(ranks, len(model.groups), lambda states: states.flats)
    trained = {parameter.name: parameter for parameter in placed}
    copies: list[str] = []
    for name in dict.fromkeys([*model.module, *trained, *model.frozen]):
        if name in model.shared and name not in trained:
            continue
        parameter = trained.get(name)
        if parameter is not None:
            if not _stitch(parameter, buffers, ranks, model, made):
                copies.append(name)
        else:
            _add_untrained(name, ranks, model, made)
    _add_ties(ranks, model, made)
    for name in copies:
        if name in model.module and model.module[name].info.numel:
            note = "the copy with which the model computes: its float32 values cannot be read"
            made.add(f"module.{name}", model.module[name], notes=(note,))
    add_moments(ranks, placed, made)
    made.add_rest(model.rest)
    for rank, states in ranks.optimizers.found.items():
        _add_optimizer_rest(rank, states, made)
    return made


def _add_plain(model: ModelStates, made: Assembly) -> None:
    """The model file of a run without ZeRO: nothing is cut, and the state of the optimizer stands in it too."""
    for name, stored in model.rest.tensors.items():
        own = name.removeprefix("module.")
        if own != name:
            tied_to = stored.info.tied_to and stored.info.tied_to.removeprefix("module.")
            made.add(own, stored, tied_to=tied_to, **({"kind": "buffer"} if own in model.buffers else {}))
    for name, stored in model.rest.tensors.items():
        if not name.startswith("module."):
            made.add(name, stored)
            if name.startswith("optimizer."):
                made.states.add(name)
    made.metadata |= model.rest.metadata


def add_beside(ranks: Ranks, model: ModelStates, made: Assembly) -> None:
    """List what the model files have and nothing else has: buffers, parameters that are not trained, and ties."""
    trained = {due.name for group in model.groups or () for due in group}
    for name in dict.fromkeys([*model.module, *model.frozen]):
        if name not in made.tensors and name not in trained and name not in model.shared:
            _add_untrained(name, ranks, model, made)
    _add_ties(ranks, model, made)


def _add_untrained(name: str, ranks: Ranks, model: ModelStates, made: Assembly) -> None:
    if name in model.frozen and (ranks.stage == 3 or name not in model.module):
        _add_frozen(name, ranks, model, made)
    else:
        _add_own(name, model.module[name], ranks, model, made)


def _stitch(parameter: Placed, buffers: Buffers, ranks: Ranks, model: ModelStates, made: Assembly) -> bool:
    """List a trained parameter; whether it can be read."""
    copy = model.module.get(parameter.name)
    notes: tuple[str, ...] = ()
    if copy is not None and copy.info.numel:
        where = clean(next(iter(ranks.models.names.values())), 120)
        notes = (f"the model computes with a {copy.info.dtype.name} copy in {where}, which is not listed",)
    group = parameter.group
    if parameter.shape is None:
        made.add_unknown(parameter.name, parameter.lost or "its shape is not known")
        return False
    return made.stitch(
        parameter.name,
        parameter.shape,
        buffers.dtypes[group],
        buffers.layouts[group],
        parameter.start,
        parameter.lost or buffers.lost[group],
        requires_grad=True,
        notes=notes,
    )


def _add_frozen(name: str, ranks: Ranks, model: ModelStates, made: Assembly) -> None:
    """A parameter that is not trained: whole in the one model file, or a piece of it in that of each rank."""
    shape = model.frozen[name]
    more: dict[str, Any] = {"requires_grad": False, "notes": (_FROZEN,)}
    own = model.fragments.get(name)
    if ranks.stage != 3 and own is not None:
        made.add(name, own, **more)
        return
    parts: list[Partition | None] = []
    lost: list[str | None] = []
    for rank in range(ranks.world):
        states = ranks.models.found.get(rank)
        fragment = None if states is None else states.fragments.get(name)
        parts.append(None if fragment is None else Partition(rank, [checked_flat(fragment)]))
        absent = f"the model file of rank {rank:,} has no part of it"
        lost.append(ranks.models.why(rank) if states is None else absent if fragment is None else None)
    dtype, odd = common_dtype(parts)
    made.stitch(name, shape, dtype, Dealt(parts, lost), 0, odd, **more)


def _add_own(name: str, stored: Stored, ranks: Ranks, model: ModelStates, made: Assembly) -> None:
    """A tensor of the model file itself: a buffer, or a parameter that is not trained."""
    if name in model.buffers:
        made.add(name, stored, kind="buffer")
    elif ranks.stage == 3 and stored.info.shape == (0,):
        made.add(name, stored, unreadable=_PLACEHOLDER, shape=(), numel=0, nbytes=0, offset=None)
    elif any(model.groups or ()):
        made.add(name, stored, requires_grad=False, notes=(_FROZEN,))
    else:
        made.add(name, stored)


def _add_ties(ranks: Ranks, model: ModelStates, made: Assembly) -> None:
    """Parameters under further names; an owner that is not there is named, and so is a circle."""
    owners: dict[str, str] = {}
    for alias in model.shared:
        chain = [alias]
        while chain[-1] not in made.tensors and chain[-1] not in owners and chain[-1] in model.shared:
            owners[chain[-1]] = chain[-1]
            chain.append(model.shared[chain[-1]])
        owner = owners.get(chain[-1], chain[-1])
        owners |= dict.fromkeys(chain, owner)
    for alias, owner in owners.items():
        if alias in made.tensors or alias not in model.shared:
            continue
        if owner in made.tensors:
            made.alias(alias, owner)
            continue
        of = clean(model.shared[alias], 120)
        evidence = f"shared_params: {clean(alias, 120)} is another name of {of}, which is not there"
        file = next(iter(ranks.models.names.values()))
        made.findings.append(Finding("error", "flat-layout", None, evidence, file=file))
        if alias in model.module:
            _add_own(alias, model.module[alias], ranks, model, made)


def _add_optimizer_rest(rank: int, states: OptimizerStates, made: Assembly) -> None:
    """What else an optimizer file has; of other ranks than the first only tensors that the first does not have."""
    for name, stored in states.rest.tensors.items():
        if name not in made.tensors:
            made.add(name if not rank else f"rank_{rank}.{name}", stored)
    if not rank or not any(key.startswith("optimizer.") for key in made.metadata):
        for key, value in states.rest.metadata.items():
            made.metadata.setdefault(key, value)


def _list_partitions(ranks: Ranks, made: Assembly) -> None:
    """The flat partitions as they are, with the reason why they are not looked at: nothing says what is in them."""
    reason = "a flat partition of an optimizer: without the model file nothing says which elements are padding"
    for rank, states in ranks.optimizers.found.items():
        for number, stored in enumerate(states.flats):
            made.add(f"rank_{rank}.flat.{number}", stored, unreadable=stored.info.unreadable or reason)
        _add_optimizer_rest(rank, states, made)
