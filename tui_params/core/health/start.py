"""Rules about tensors that still have their initial values, which is no fault in one tensor by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.health.codebooks import unused_codebooks
from tui_params.core.health.roles import Role, adapter_part, is_matrix
from tui_params.core.health.rule import ByTensor, Rule
from tui_params.core.health.subjects import Checkpoint, Sketch
from tui_params.core.health.training import step_of
from tui_params.core.text import all_are, are, number, plural
from tui_params.core.text import name as shown_name

MOST_APART = 3
"""Up to so many tensors of one value are listed one by one; more become one remark."""

_START_ROLES: frozenset[Role] = frozenset({"weight", "embedding", "norm", "bias", "lora_b", "zero_init", "statistic"})
_MATRICES: frozenset[Role] = frozenset({"weight", "embedding"})
_START_RULES = ("all-zero", "constant", "batchnorm", "inf")
_WHAT = {"all-zero": "zeros", "inf": "infinities", "batchnorm": "no batch counted"}
_SHOWN = 200
_SAID_BETTER = frozenset(
    {"norm-near-zero", "untrained-lora", "untrained-zero-init", "optimizer-never-stepped", "moments-underflowed"}
)
"""Rules that say that a tensor is zero and also why that matters."""


def find_untrained_zero_init(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Layers that start at zero and are still zero, although others of their kind are not or the run has made steps."""
    kinds: dict[str, list[Sketch]] = {}
    for sketch in checkpoint.sketches:
        if sketch.role == "zero_init" and sketch.count and sketch.is_exact and not adapter_part(sketch.info.name):
            kinds.setdefault(_same_of_layers(sketch.info.name), []).append(sketch)
    step = step_of(checkpoint.metadata)
    for kind, members in kinds.items():
        others = sum(not sketch.is_zero for sketch in members)
        if not others and not step:
            continue
        reason = (
            f"{others:,} of {len(members):,} {kind} {are(others)} not" if others else f"the run is at step {step:,}"
        )
        for sketch in members:
            if sketch.is_zero:
                evidence = f"{all_are(sketch.count, 'value')} still zero, as at the start, but {reason}"
                yield sketch.finding("warning", "untrained-zero-init", evidence)


def _same_of_layers(name: str) -> str:
    """The name with ``#`` for its first number only.

    The numbers after it tell layers apart that start differently: in a head of three layers only the last one starts
    at zero.
    """
    segments = name.split(".")
    first = next((place for place, segment in enumerate(segments) if segment.isdecimal()), None)
    return name if first is None else ".".join([*segments[:first], "#", *segments[first + 1 :]])


def gather_start_values(findings: ByTensor, checkpoint: Checkpoint) -> tuple[ByTensor, tuple[Finding, ...]]:
    """Replaces the remarks on zeros and ones that a fresh model is full of by one remark that counts them.

    A tensor keeps its own remark if another of its kind differs from it: it may be the one that training missed.
    """
    left = {tensor: _without_repetition(found) for tensor, found in findings.items()}
    kinds: dict[str, list[Sketch]] = {}
    for sketch in checkpoint.sketches:
        kinds.setdefault(_same_of_layers(sketch.info.name), []).append(sketch)
    if _is_untrained(checkpoint):
        left |= _zero_by_design(left, kinds.values())
    unused = unused_codebooks(checkpoint.sketches)
    left |= _as_remarks(left, unused, "in a codebook that has counted no vector yet")
    gathered: dict[str, Finding] = {}
    for members in kinds.values():
        found = [_start_finding(sketch, left.get(sketch.info.name, ())) for sketch in members]
        if all(found):
            gathered |= {finding.tensor: finding for finding in found if finding and finding.tensor}
    summary: tuple[Finding, ...] = ()
    if len(gathered) > MOST_APART:
        for tensor, finding in gathered.items():
            left[tensor] = tuple(other for other in left[tensor] if other is not finding)
        summary = (_summary(gathered, checkpoint),)
    return {tensor: found for tensor, found in left.items() if found}, summary


def _is_untrained(checkpoint: Checkpoint) -> bool:
    """Whether a model is certainly as it was made: no gain of a norm differs from its start, and matrices are drawn.

    Only gains of 32 bits tell: in bfloat16 they may stay at 1 through a whole training, whose steps are smaller than
    the distance to the next number.
    """
    has_norms, drawn, zeros = False, 0, 0
    for sketch in checkpoint.sketches:
        if sketch.role == "norm" and sketch.count > 1:
            if not sketch.is_exact or sketch.min != sketch.max or sketch.info.dtype.bits < 32:
                return False
            has_norms = True
        elif sketch.role == "optimizer" and not sketch.is_zero:
            return False
        elif sketch.role in _MATRICES and is_matrix(sketch.info):
            drawn += sketch.min != sketch.max
            zeros += sketch.is_zero
    return has_norms and drawn > zeros > 0 and not step_of(checkpoint.metadata)


def _zero_by_design(findings: ByTensor, kinds: Iterable[Sequence[Sketch]]) -> dict[str | None, tuple[Finding, ...]]:
    """What is said of the matrices of an untrained model that are zero, like all of their kind: a remark, no error."""
    names = [
        sketch.info.name
        for members in kinds
        if all(sketch.is_zero and sketch.role in _MATRICES for sketch in members)
        for sketch in members
    ]
    return _as_remarks(findings, names, "in a model none of whose norms has been trained: it may start so")


def _as_remarks(findings: ByTensor, names: Iterable[str], why: str) -> dict[str | None, tuple[Finding, ...]]:
    """What is said of some tensors, without an error for zeros that they start with."""
    changed = {name: tuple([_as_remark(finding, why) for finding in findings.get(name, ())]) for name in names}
    return {name: found for name, found in changed.items() if found}


def _as_remark(finding: Finding, why: str) -> Finding:
    if finding.rule != "all-zero" or finding.severity != "error":
        return finding
    return msgspec.structs.replace(finding, severity="info", evidence=f"{finding.evidence}, {why}")


def _without_repetition(found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    if any(finding.rule in _SAID_BETTER for finding in found):
        return tuple(finding for finding in found if (finding.rule, finding.severity) != ("all-zero", "info"))
    return found


def _start_finding(sketch: Sketch, found: Sequence[Finding]) -> Finding | None:
    """The remark that a tensor holds one value, if training may start from it."""
    if sketch.role not in _START_ROLES:
        return None
    start = next((f for f in found if f.severity == "info" and f.rule in _START_RULES), None)
    if start is not None and start.rule == "inf":
        # Beside finite values, NaN or infinities of the other sign it is not the only value.
        is_alone = sketch.min is None and sum(finding.rule in ("inf", "nan") for finding in found) == 1
        return start if is_alone else None
    return start


def _summary(gathered: Mapping[str, Finding], checkpoint: Checkpoint) -> Finding:
    values = {sketch.info.name: sketch.min for sketch in checkpoint.sketches if sketch.info.name in gathered}
    rest = {values[name] for name, finding in gathered.items() if finding.rule not in _WHAT and values[name] != 1}
    other = number(next(iter(rest))) if len(rest) == 1 else "other values"
    groups: dict[str, list[str]] = {what: [] for what in ("zeros", "ones", other, "infinities", "no batch counted")}
    for name, finding in gathered.items():
        groups[_WHAT.get(finding.rule) or ("ones" if values[name] == 1 else other)].append(name)
    counted = [
        f"{what} in {len(names):,} (the first is {shown_name(names[0], _SHOWN)})"
        for what, names in groups.items()
        if names
    ]
    share = f"{len(gathered):,} of {plural(len(checkpoint.sketches), 'tensor')}"
    evidence = f"{share} hold one value each, as before training: {', '.join(counted)}"
    return Finding("info", "start-values", None, evidence)


START_RULES: tuple[Rule, ...] = (
    Rule(
        "untrained-zero-init",
        "Untrained zero layer",
        ("warning",),
        "A layer that starts at zero (ControlNet, adaLN-Zero, sampling offsets) and is still zero, unlike the others.",
        "ControlNet (arXiv 2302.05543), DiT (arXiv 2212.09748), Deformable DETR (arXiv 2010.04159)",
        cross_check=find_untrained_zero_init,
    ),
    Rule(
        "start-values",
        "Initial values",
        ("info",),
        "Biases of zeros, gains of ones, a lora_B of zeros: every model starts with them, so many become one remark. A "
        "matrix of zeros is one too, if no norm of the model has been trained, or in a codebook that counted nothing.",
        "torch.nn.init; transformers (Afmoe, xLSTM, NeoMME, Encodec, Mimi), vector-quantize-pytorch; how many are"
        " listed one by one is our choice",
        gather=gather_start_values,
    ),
)
