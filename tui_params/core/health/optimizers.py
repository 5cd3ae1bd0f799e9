"""Rules about the states of optimizers: one that is absent among others, or that counted other steps than they did."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tui_params.core.findings import Finding, Severity
from tui_params.core.health.gaps import gaps_in
from tui_params.core.health.lists import lists_of
from tui_params.core.health.pieces import is_piece
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint
from tui_params.core.kinds import compact_ranges
from tui_params.core.text import name as shown_name
from tui_params.core.text import plural

_PARTS = frozenset(
    {
        "step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "grad_avg",
        "acc_delta",
    }
)  # fmt: skip
"""What torch.optim keeps for each parameter; other libraries keep more for some shapes only."""

_OWN = re.compile(rf"((?:.+\.)?(?:state|optim\w*))\.(.+)\.({'|'.join(sorted(_PARTS))})")
_LAST_NUMBER = re.compile(r"(\d{1,9})\]?$", re.ASCII)
_WHOLE = re.compile(r"(\d{1,15})(?:\.0*)?", re.ASCII)

_FEWEST = 4
_NAMED = 5
_MOST = 1_000_000


class States:
    """The states of one optimizer: by the key of each parameter, the names of its parts."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.parts: dict[str, dict[str, str]] = {}

    @property
    def numbers(self) -> set[int]:
        """The keys, if all are numbers; those of torch.optim's ``state_dict()`` are."""
        if not all(key.isdecimal() and len(key) < 10 for key in self.parts):
            return set()
        return {int(key) for key in self.parts}


def states_of(names: Iterable[str]) -> dict[str, States]:
    """Every optimizer whose states are among ``names``, by the prefix ``optimizer.state``."""
    found: dict[str, States] = {}
    for name in names:
        match = _OWN.fullmatch(name) if name.rpartition(".")[2] in _PARTS else None
        if match is not None:
            states = found.setdefault(match[1], States(match[1]))
            states.parts.setdefault(match[2], {})[match[3]] = name
    return found


def find_missing_states(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Parameters without a state, or without a part of it, among those that have one."""
    metadata = checkpoint.metadata
    names = [info.name for info in checkpoint.source.listing.tensors]
    optimizers = states_of(names)
    if not optimizers or is_piece(checkpoint):
        return
    share = checkpoint.thresholds.pattern_share
    tensors = checkpoint.source.listing.tensors
    is_first = [info for info in tensors if info.kind == "parameter" and info.tied_to is None]
    trainable = {info.name for info in is_first if info.requires_grad}
    for states in states_of([*names, *metadata]).values():
        if states.prefix not in optimizers or len(states.parts) < 2:
            continue
        shown = shown_name(states.prefix, 200)
        numbers = states.numbers
        if numbers:
            total = _stated(metadata, states.prefix) or max(numbers) + 1
            absent = [number for number in range(min(total, _MOST)) if number not in numbers]
            if absent:
                is_odd = len(numbers) >= max(share * total, _FEWEST)
                severity: Severity = "warning" if is_odd else "info"
                what = "is absent: it" if len(absent) == 1 else "are absent: these"
                evidence = f"{len(numbers):,} of {total:,} parameters have a state, {shown}."
                evidence += f"{{{compact_ranges(absent)}}} {what} had no gradient in any step, or the state was lost"
                yield Finding(severity, "optimizer-no-state", None, evidence, module=states.prefix)
        elif trainable & states.parts.keys():
            if not _are_of_several(metadata, states.prefix):
                yield from _stateless(states, [name for name in names if name in trainable])
        else:
            for modules in lists_of(states.parts).values():
                for module, sentence in gaps_in(modules, share, is_of_states=True):
                    evidence = f"of the states in {shown}, {sentence}"
                    module = f"{states.prefix}.{module}"
                    yield Finding("warning", "optimizer-no-state", None, evidence, module=module)
        yield from _missing_parts(states, share)


def _are_of_several(metadata: Mapping[str, str], prefix: str) -> bool:
    """Whether the groups are those of optimizers of several kinds: one of them may keep no states at all."""
    settings: dict[str, set[str]] = {}
    for key in metadata:
        number, _, setting = key.removeprefix(f"{prefix}.param_groups.").partition(".")
        if setting and key.startswith(f"{prefix}.param_groups."):
            settings.setdefault(number, set()).add(setting.partition(".")[0])
    return len({frozenset(each) for each in settings.values()}) > 1


def _stateless(states: States, trainable: Sequence[str]) -> Iterator[Finding]:
    """Parameters of a model in memory that its optimizer has no state of, while it has one of most others."""
    absent = [name for name in trainable if name not in states.parts]
    if not absent or len(trainable) < 2 * len(absent) + 1:
        return
    which = ", ".join(shown_name(name, 80) for name in absent[:_NAMED]) + (", …" if len(absent) > _NAMED else "")
    evidence = f"{shown_name(states.prefix, 200)} has no state of {len(absent):,} of {len(trainable):,} trainable "
    evidence += f"parameters: {which}; no step had a gradient of {'it' if len(absent) == 1 else 'them'}, or it was lost"
    yield Finding("warning", "optimizer-no-state", None, evidence, module=states.prefix)


def _stated(metadata: Mapping[str, str], prefix: str) -> int:
    """How many parameters the groups of an optimizer have; torch numbers them from 0 through all groups."""
    groups = f"{prefix.removesuffix('state')}param_groups."
    last = [
        int(match[1]) + 1
        for key, text in metadata.items()
        if key.startswith(groups) and key.endswith(".params") and (match := _LAST_NUMBER.search(text))
    ]
    return max(last, default=0)


def _missing_parts(states: States, share: float) -> Iterator[Finding]:
    """Parts of a state that nearly all others have; some libraries keep whole other sets for some parameters."""
    held = Counter(frozenset(parts) for parts in states.parts.values())
    usual, count = held.most_common(1)[0]
    if count < max(share * len(states.parts), _FEWEST):
        return
    for parts in states.parts.values():
        if parts.keys() < usual:
            absent = ", ".join(sorted(usual - parts.keys()))
            evidence = f"the state has no {absent}, but {count:,} of {len(states.parts):,} states have"
            yield Finding("warning", "optimizer-no-state", next(iter(parts.values())), evidence)


def find_behind(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Parameters that were stepped another number of times than nearly all others."""
    counted: dict[str, dict[str, int]] = {}
    for sketch in checkpoint.sketches:
        if sketch.count == 1 and sketch.info.name.endswith(".step") and sketch.max is not None:
            prefix = _prefix(sketch.info.name)
            if prefix is not None:
                counted.setdefault(prefix, {})[sketch.info.name] = int(sketch.max)
    known = {info.name for info in checkpoint.source.listing.tensors}
    for key, text in checkpoint.metadata.items():
        match = _WHOLE.fullmatch(text) if key.endswith(".step") else None
        prefix = _prefix(key) if match is not None else None
        if match is not None and prefix is not None:
            counted.setdefault(prefix, {})[key] = int(match[1])
    # Of a training that goes on, each was read after another step: they differ by what was made meanwhile at most.
    beat = checkpoint.source.beat()
    slack = 0 if beat is None else beat.steps
    for prefix, steps in counted.items():
        usual, count = Counter(steps.values()).most_common(1)[0]
        is_odd = count >= max(checkpoint.thresholds.pattern_share * len(steps), _FEWEST)
        if len(steps) < 2 or count == len(steps) or max(steps.values()) - min(steps.values()) <= slack:
            continue
        if not is_odd:
            low, high = min(steps.values()), max(steps.values())
            evidence = f"{len(steps):,} parameters were stepped between {low:,} and {high:,} times; "
            evidence += f"{count:,} of them {plural(usual, 'time')}"
            yield Finding("info", "optimizer-steps", None, evidence, module=prefix)
            continue
        for name, step in steps.items():
            if step != usual and abs(usual - step) > slack:
                evidence = f"it was stepped {plural(step, 'time')}, but {count:,} of {len(steps):,} parameters "
                evidence += f"{plural(usual, 'time')}"
                tensor = name if name in known else _sibling(name, known)
                module = name.removesuffix(".step") if tensor is None else None
                yield Finding("warning", "optimizer-steps", tensor, evidence, module=module)


def _prefix(name: str) -> str | None:
    match = _OWN.fullmatch(name)
    return None if match is None else match[1]


def _sibling(name: str, known: set[str]) -> str | None:
    """Another part of the same state, where the step is a number in the metadata."""
    owner = name.removesuffix("step")
    return next((owner + part for part in sorted(_PARTS) if owner + part in known), None)


OPTIMIZER_RULES: tuple[Rule, ...] = (
    Rule(
        "optimizer-no-state",
        "Parameter without a state",
        ("warning", "info"),
        "A parameter of the optimizer has no state, or not all of it, among those that have one: it never had a "
        "gradient, or the state was lost.",
        "torch.optim.Optimizer.state_dict: a state is made in the first step in which the parameter has a gradient",
        ("pattern_share",),
        cross_check=find_missing_states,
    ),
    Rule(
        "optimizer-steps",
        "Unequal steps",
        ("warning", "info"),
        "A parameter was stepped another number of times than the others: it had no gradient in some steps.",
        "torch.optim (Adam and its kin count the steps of each parameter)",
        ("pattern_share",),
        cross_check=find_behind,
    ),
)
