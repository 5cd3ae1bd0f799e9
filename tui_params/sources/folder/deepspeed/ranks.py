"""The files of all ranks, read and judged: which belong together, and why others do not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.kinds import compact_ranges
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError, UnknownFormatError
from tui_params.sources.bytes import far
from tui_params.sources.folder.deepspeed.model_states import ModelStates, take_model_states
from tui_params.sources.folder.deepspeed.optimizer_states import OptimizerStates, take_optimizer_states
from tui_params.sources.folder.deepspeed.recognition import Tag
from tui_params.sources.folder.deepspeed.torch_file import ReadFile, TorchFile, read_torch_file

T = TypeVar("T")

_SHOWN = 5
_NOT_OURS = "is not what DeepSpeed writes"


class OfRanks(Generic[T]):
    """What was read of the files of one sort, by rank; ``lost`` says of each rank that has none why."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.found: dict[int, T] = {}
        self.names: dict[int, str] = {}
        self.lost: dict[int, str] = {}

    def why(self, rank: int) -> str:
        """Why nothing of a rank is known, one sentence."""
        return self.lost.get(rank) or f"the {self.what} file of rank {rank:,} is missing"


class Ranks(msgspec.Struct):
    """The files of one tag. ``world`` is the number of ranks, ``stage`` that of ZeRO (0: none)."""

    models: OfRanks[ModelStates]
    optimizers: OfRanks[OptimizerStates]
    files: list[ReadFile]
    findings: list[Finding]
    world: int = 1
    stage: int = 0

    @property
    def model(self) -> ModelStates | None:
        """The model file that counts: that of the lowest rank, which alone has the ties (ZeRO-3)."""
        return next(iter(self.models.found.values()), None)


def read_ranks(tag: Tag) -> Ranks:
    """All files of a tag; one that cannot be read is a finding. Raises OpenError if none can be read.

    A universal checkpoint has no optimizer files: they are not missed. Raises UnknownFormatError if the files can be
    read and none is one of DeepSpeed's.
    """
    ranks = Ranks(OfRanks("model"), OfRanks("optimizer"), [], [])
    _read(tag, tag.files.models, take_model_states, ranks.models, ranks)
    _read(tag, tag.files.optimizers, take_optimizer_states, ranks.optimizers, ranks)
    if not ranks.models.found and not ranks.optimizers.found:
        reasons = [*ranks.models.lost.values(), *ranks.optimizers.lost.values()]
        shown = clean(far.shown(tag.path), 200)
        if reasons and all(fault.endswith(_NOT_OURS) for fault in reasons):
            raise UnknownFormatError(reasons[0])
        raise OpenError(
            f"no file of {shown} can be read: {reasons[0]}" if reasons else f"{shown} has no file of mp_rank_00"
        )
    _agree(ranks)
    if tag.is_universal:
        ranks.optimizers.lost.clear()
    _report_missing(ranks)
    _compare_steps(ranks)
    return ranks


def _read(
    tag: Tag,
    names: Mapping[int, list[str]],
    take: Callable[[TorchFile], T | None],
    into: OfRanks[T],
    ranks: Ranks,
) -> None:
    for rank, found in names.items():
        if len(found) > 1:
            shown = " and ".join(clean(name, 80) for name in found[:_SHOWN])
            into.lost[rank] = f"rank {rank:,} has more than one {into.what} file: {shown}"
            continue
        (name,) = found
        try:
            states, file = read_torch_file(Path(tag.path / name), f"{tag.prefix}{name}", take)
        except OpenError as error:
            into.lost[rank] = f"the {into.what} file of rank {rank:,} cannot be read: {error}"
            continue
        ranks.files.append(file)
        ranks.findings += file.findings
        if states is None:
            into.lost[rank] = f"{clean(name, 80)} {_NOT_OURS}"
        else:
            into.found[rank] = states
            into.names[rank] = file.file.name


def _agree(ranks: Ranks) -> None:
    """Decide on the stage and the number of ranks; files that say another thing do not count."""
    found = ranks.optimizers.found
    said = Counter((states.stage >= 3, states.world or max(found) + 1) for states in found.values())
    if not said:
        model = ranks.model
        has_shapes = model is not None and bool(model.groups)
        parted = len(ranks.models.found) > 1 or any("zero_pp_rank" in name for name in ranks.models.names.values())
        ranks.stage = 3 if parted else 1 if has_shapes else 0
        ranks.world = max(ranks.models.found, default=0) + 1
        if has_shapes and not ranks.optimizers.lost:
            ranks.optimizers.lost[0] = "there is no optimizer file, which has the float32 values"
        return
    is_third, world = max(said, key=lambda key: (said[key], key[1]))
    ranks.world = world
    for rank, states in list(found.items()):
        stated = states.world or world
        if (states.stage >= 3) == is_third and stated == world and rank < world:
            ranks.stage = max(ranks.stage, states.stage)
            continue
        del found[rank]
        if rank >= world and stated == world:
            fault = f"it is of rank {rank:,}, and the others say that there are {plural(world, 'rank')}"
        elif stated != world:
            fault = f"it says that there are {plural(stated, 'rank')}, and most others {world:,}: it is of another run"
        else:
            fault = f"it is of ZeRO stage {states.stage}, unlike most others: it is of another run"
        ranks.findings.append(Finding("error", "foreign-rank", None, fault, file=ranks.optimizers.names[rank]))
        if rank < world:
            ranks.optimizers.lost[rank] = f"the optimizer file of rank {rank:,} is of another run"


def _report_missing(ranks: Ranks) -> None:
    """A finding for each reason why the file of a rank is not there."""
    wanted: list[tuple[OfRanks[ModelStates] | OfRanks[OptimizerStates], int]] = [
        (ranks.models, ranks.world if ranks.stage == 3 else 1)
    ]
    if ranks.optimizers.found or ranks.optimizers.lost:
        wanted.append((ranks.optimizers, ranks.world))
    for sort, count in wanted:
        absent = [rank for rank in range(count) if rank not in sort.found and rank not in sort.lost]
        if absent and sort.found:
            which = f"{'rank' if len(absent) == 1 else 'ranks'} {compact_ranges(absent)}"
            files = f"the {sort.what} {'file' if len(absent) == 1 else 'files'} of {which} of {count:,}"
            evidence = f"{files} {'is' if len(absent) == 1 else 'are'} missing"
            ranks.findings.append(Finding("error", "missing-rank", None, evidence))
        for rank, fault in sort.lost.items():
            if rank >= count:
                fault = f"{fault}; there should be {plural(count, f'{sort.what} file')}"
                ranks.findings.append(Finding("error", "foreign-rank", None, fault))
            elif "another run" not in fault:
                ranks.findings.append(Finding("error", "missing-rank", None, fault))


def _compare_steps(ranks: Ranks) -> None:
    """Findings about files that were written after another number of steps than most."""
    optimizers = {rank: states.steps for rank, states in ranks.optimizers.found.items()}
    ranks.findings += _odd_steps(
        {rank: max(steps.values()) for rank, steps in optimizers.items() if steps}, ranks.optimizers.names
    )
    models = {rank: states.steps for rank, states in ranks.models.found.items()}
    ranks.findings += _odd_steps(
        {rank: float(steps) for rank, steps in models.items() if steps is not None}, ranks.models.names
    )


def _odd_steps(steps: Mapping[int, float], names: Mapping[int, str]) -> Iterable[Finding]:
    if len(set(steps.values())) < 2:
        return
    usual, _ = Counter(steps.values()).most_common(1)[0]
    other = next(rank for rank, step in steps.items() if step == usual)
    for rank, step in steps.items():
        if step != usual:
            evidence = (
                f"it is of step {step:,.0f}, and the file of rank {other:,} of step {usual:,.0f}: what is joined of"
                " both was never one model"
            )
            yield Finding("error", "foreign-rank", None, evidence, file=names[rank])
