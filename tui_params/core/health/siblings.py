"""Rules that compare the tensors of one kind with each other: ``layers.#.mlp.up_proj.weight``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence

import msgspec

from tui_params.core.findings import Finding, Severity
from tui_params.core.health.roles import PARAMETERS, is_matrix, role_of
from tui_params.core.health.rule import Rule, Sketch
from tui_params.core.health.thresholds import Thresholds
from tui_params.core.kinds import kind_of
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import number, shape

_NORMAL_MAD = 0.6745
"""The median absolute deviation of a standard normal distribution: MAD / 0.6745 estimates its standard deviation."""

_LEAST_MAD = 0.02
"""In decades: siblings that are all but equal must not make a difference of 10 % an outlier."""

_DECADE = math.log10(math.e)
"""What a relative error of 1 is in decades, to first order."""

_FEWEST = 3
"""Siblings without which no median says anything, whatever the threshold."""


class Spread(msgspec.Struct, frozen=True, gc=False):
    """The median of some numbers and their median absolute deviation from it."""

    median: float
    mad: float

    def z(self, value: float, noise: float = 0.0) -> float:
        """The robust z-score (Iglewicz and Hoaglin 1993) of a value whose own standard error is ``noise``."""
        return _NORMAL_MAD * (value - self.median) / max(self.mad, _LEAST_MAD, _NORMAL_MAD * noise)


def spread_of(values: Sequence[float]) -> Spread:
    """Of at least one number."""
    median = _median(values)
    return Spread(median, _median([abs(value - median) for value in values]))


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def find_unlike_siblings(sketches: Sequence[Sketch], thresholds: Thresholds) -> Iterator[Finding]:
    """Tensors whose largest magnitude or standard deviation is far from those of the same kind and type."""
    # Layers of other shapes, as in a row of convolutions, are initialised with other spreads.
    groups: dict[tuple[str, str, tuple[int, ...]], list[Sketch]] = {}
    for sketch in sketches:
        if sketch.role in PARAMETERS and sketch.info.dtype.kind in ("float", "complex") and sketch.is_exact:
            groups.setdefault((kind_of(sketch.info.name), sketch.info.dtype.name, sketch.info.shape), []).append(sketch)
    for (kind, _, _), members in groups.items():
        yield from _far_off("abs-max-of-kind", "info", "largest magnitude", kind, members, thresholds)
        yield from _far_off("std-of-kind", "warning", "standard deviation", kind, members, thresholds)


def _far_off(
    rule: str, worst: Severity, what: str, kind: str, members: list[Sketch], thresholds: Thresholds
) -> Iterator[Finding]:
    is_one_sided = rule == "abs-max-of-kind"
    measured = []
    for sketch in members:
        value = sketch.abs_max if is_one_sided else sketch.std
        if value:
            measured.append((sketch, float(value), math.log10(value)))
    if len(measured) < max(thresholds.siblings, _FEWEST):
        return
    spread = spread_of([decade for _, _, decade in measured])
    for sketch, value, decade in measured:
        # The standard deviation of n normal numbers is off by 1 / sqrt(2n) of itself: a vector of 4 says little.
        z = spread.z(decade, 0.0 if is_one_sided else _DECADE / math.sqrt(2 * sketch.count))
        if abs(z) <= thresholds.sibling_z or (is_one_sided and z < 0):
            continue
        ratio = 10 ** abs(decade - spread.median)
        if ratio < thresholds.sibling_ratio:
            continue
        evidence = (
            f"the {what} is {number(value)}, {number(ratio, 3)} times {'above' if z > 0 else 'below'} the median "
            f"of {len(measured):,} {kind} ({number(10**spread.median)}; robust z {z:+.1f})"
        )
        # Biases and gains differ between layers as they like; of them it is a remark.
        yield sketch.finding(worst if is_matrix(sketch.info) else "info", rule, evidence)


def find_odd_ones(infos: Sequence[TensorInfo], thresholds: Thresholds) -> Iterator[Finding]:
    """Tensors whose type or shape breaks the pattern of their kind; needs no value."""
    groups: dict[str, list[TensorInfo]] = {}
    for info in infos:
        # The states of an optimizer are numbered in the order of the parameters, whatever these are.
        if role_of(info) != "optimizer":
            groups.setdefault(kind_of(info.name), []).append(info)
    for kind, members in groups.items():
        if len(members) < max(thresholds.siblings, _FEWEST):
            continue
        yield from _odd("dtype-of-kind", "dtype", kind, members, lambda info: info.dtype.short, thresholds)
        # The first and the last layer of a row often have a shape of their own.
        inner = {info.shape for info in members[1:-1]}
        if len(inner) > 1:
            yield from _odd("shape-of-kind", "shape", kind, members, lambda info: shape(info.shape), thresholds)


def _odd(
    rule: str, what: str, kind: str, members: list[TensorInfo], get: Callable[[TensorInfo], Hashable],
    thresholds: Thresholds,
) -> Iterator[Finding]:  # fmt: skip
    values = [get(info) for info in members]
    counts = Counter(values)
    if len(counts) == 1:
        return
    usual, count = counts.most_common(1)[0]
    if count < thresholds.pattern_share * len(members):
        return
    for info, value in zip(members, values, strict=True):
        if value != usual:
            evidence = f"the {what} is {value}, but {usual} in {count:,} of {len(members):,} {kind}"
            yield Finding("info", rule, info.name, evidence)


SIBLING_RULES: tuple[Rule, ...] = (
    Rule(
        "abs-max-of-kind",
        "Largest magnitude unlike its kind",
        ("info",),
        "Its largest magnitude is far beyond that of the same weight in the other layers.",
        "super weights (arXiv 2411.07191); robust z of log10 (Iglewicz and Hoaglin 1993), the limit is our choice",
        ("siblings", "sibling_z", "sibling_ratio"),
    ),
    Rule(
        "std-of-kind",
        "Standard deviation unlike its kind",
        ("warning", "info"),
        "Spread far wider, or narrower, than the same weight in the other layers: it explodes, or is dead.",
        "robust z of log10 (Iglewicz and Hoaglin 1993), the limit is our choice",
        ("siblings", "sibling_z", "sibling_ratio"),
    ),
    Rule(
        "dtype-of-kind",
        "Type breaks the pattern",
        ("info",),
        "Nearly all tensors of this kind have another element type: a cast or a quantisation left it out.",
        "bitsandbytes and torchao leave layers out on purpose; the share is our choice",
        ("siblings", "pattern_share"),
    ),
    Rule(
        "shape-of-kind",
        "Shape breaks the pattern",
        ("info",),
        "Nearly all tensors of this kind have another shape.",
        "the share is our choice",
        ("siblings", "pattern_share"),
    ),
    Rule(
        "identical-bytes",
        "Identical bytes",
        ("info",),
        "Two tensors that are not tied have the same bytes: a copy that costs space, or a layer loaded twice.",
        "safetensors: torch shared tensors",
        ("duplicate_nbytes",),
    ),
)
