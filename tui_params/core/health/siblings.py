"""Rules that cross-check the tensors of one kind: ``layers.#.mlp.up_proj.weight``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.health.roles import PARAMETERS, is_matrix, role_of
from tui_params.core.health.rule import Rule
from tui_params.core.health.subjects import Checkpoint, Sketch
from tui_params.core.health.thresholds import Thresholds
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import number, shape

_NORMAL_MAD = 0.6745
"""The median absolute deviation of a standard normal distribution: MAD / 0.6745 estimates its standard deviation."""

_LEAST_MAD = 0.02
"""In decades. Without it a difference of 10 % would be an outlier among siblings that are nearly equal."""

_DECADE = math.log10(math.e)
"""A relative error of 1 in decades, to first order."""

_FEWEST = 3
"""With fewer siblings a median means nothing, whatever the threshold."""


class Spread(msgspec.Struct, frozen=True, gc=False):
    """The median of some numbers, and their median absolute deviation (MAD) from it."""

    median: float
    mad: float

    def z(self, value: float, noise: float = 0.0) -> float:
        """The robust z-score (Iglewicz and Hoaglin 1993) of a value whose own standard error is ``noise``."""
        return _NORMAL_MAD * (value - self.median) / max(self.mad, _LEAST_MAD, _NORMAL_MAD * noise)


def spread_of(values: Sequence[float]) -> Spread:
    """The spread of at least one number."""
    median = _median(values)
    return Spread(median, _median([abs(value - median) for value in values]))


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def find_unlike_abs_max(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Tensors whose largest magnitude is far beyond that of the others of their kind, type and shape."""
    for kind, members in _siblings(checkpoint):
        measured = [(sketch, float(sketch.abs_max)) for sketch in members if sketch.abs_max]
        for sketch, z, evidence in _far_off("largest magnitude", kind, measured, checkpoint.thresholds):
            if z > 0:
                yield sketch.finding("info", "abs-max-of-kind", evidence)


def find_unlike_std(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Tensors whose standard deviation is far from that of the others of their kind, type and shape."""
    for kind, members in _siblings(checkpoint):
        measured = [(sketch, sketch.std) for sketch in members if sketch.std]
        for sketch, _, evidence in _far_off("standard deviation", kind, measured, checkpoint.thresholds, is_noisy=True):
            # Biases and gains may differ between layers as they like: a remark.
            yield sketch.finding("warning" if is_matrix(sketch.info) else "info", "std-of-kind", evidence)


def _siblings(checkpoint: Checkpoint) -> Iterator[tuple[str, list[Sketch]]]:
    """The parameters of each kind that have one type and one shape."""
    for kind, members in checkpoint.sketches_by_kind.items():
        # Layers of other shapes, as in a row of convolutions, are initialised with other spreads.
        groups: dict[tuple[str, tuple[int, ...]], list[Sketch]] = {}
        for sketch in members:
            if sketch.role in PARAMETERS and sketch.info.dtype.kind in ("float", "complex") and sketch.is_exact:
                groups.setdefault((sketch.info.dtype.name, sketch.info.shape), []).append(sketch)
        for group in groups.values():
            yield kind, group


def _far_off(
    what: str, kind: str, measured: list[tuple[Sketch, float]], thresholds: Thresholds, *, is_noisy: bool = False
) -> Iterator[tuple[Sketch, float, str]]:
    """The tensors of a kind with a value far from the median, its robust z-score and a sentence.

    ``is_noisy``: the values are standard deviations, each with a standard error of its own.
    """
    if len(measured) < max(thresholds.siblings, _FEWEST):
        return
    decades = [math.log10(value) for _, value in measured]
    spread = spread_of(decades)
    for (sketch, value), decade in zip(measured, decades, strict=True):
        # The standard deviation of n normal numbers is off by 1 / sqrt(2n) of itself: a vector of 4 says little.
        z = spread.z(decade, _DECADE / math.sqrt(2 * sketch.count) if is_noisy else 0.0)
        ratio = 10 ** abs(decade - spread.median)
        if abs(z) <= thresholds.sibling_z or ratio < thresholds.sibling_ratio:
            continue
        evidence = (
            f"the {what} is {number(value)}, {number(ratio, 3)} times {'above' if z > 0 else 'below'} the median "
            f"of {len(measured):,} {kind} ({number(10**spread.median)}; robust z {z:+.1f})"
        )
        yield sketch, z, evidence


def find_odd_dtypes(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Tensors whose element type breaks the pattern of their kind; no value is needed."""
    for kind, infos in checkpoint.infos_by_kind.items():
        if any(info.dtype.stored or info.dtype.block for info in infos):
            # llama.cpp chooses the type of blocks for each layer apart.
            continue
        if len({info.dtype.name for info in infos}) > 1:
            members = _without_optimizer(infos)
            yield from _odd("dtype-of-kind", "dtype", kind, members, _dtype_text, checkpoint.thresholds)


def find_odd_shapes(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Tensors whose shape breaks the pattern of their kind; no value is needed."""
    for kind, infos in checkpoint.infos_by_kind.items():
        if len({info.shape for info in infos}) > 1:
            members = _without_optimizer(infos)
            # The first and the last layer of a row often have a shape of their own.
            if len({info.shape for info in members[1:-1]}) > 1:
                yield from _odd("shape-of-kind", "shape", kind, members, _shape_text, checkpoint.thresholds)


def _without_optimizer(infos: Sequence[TensorInfo]) -> list[TensorInfo]:
    """All but the states of an optimizer, which are numbered in the order of the parameters, whatever these are."""
    return [info for info in infos if role_of(info) != "optimizer"]


def _dtype_text(info: TensorInfo) -> str:
    return info.dtype.short


def _shape_text(info: TensorInfo) -> str:
    return shape(info.shape)


def _odd(
    rule: str, what: str, kind: str, members: list[TensorInfo], get: Callable[[TensorInfo], str],
    thresholds: Thresholds,
) -> Iterator[Finding]:  # fmt: skip
    """The few tensors of a kind that differ from nearly all others."""
    if len(members) < max(thresholds.siblings, _FEWEST):
        return
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
        cross_check=find_unlike_abs_max,
    ),
    Rule(
        "std-of-kind",
        "Standard deviation unlike its kind",
        ("warning", "info"),
        "It spreads far wider or narrower than the same weight in the other layers: it explodes, or is dead.",
        "robust z of log10 (Iglewicz and Hoaglin 1993), the limit is our choice",
        ("siblings", "sibling_z", "sibling_ratio"),
        cross_check=find_unlike_std,
    ),
    Rule(
        "dtype-of-kind",
        "Type breaks the pattern",
        ("info",),
        "Nearly all tensors of this kind have another element type: a cast or a quantisation left it out.",
        "bitsandbytes and torchao leave layers out on purpose; the share is our choice",
        ("siblings", "pattern_share"),
        cross_check=find_odd_dtypes,
    ),
    Rule(
        "shape-of-kind",
        "Shape breaks the pattern",
        ("info",),
        "Nearly all tensors of this kind have another shape.",
        "the share is our choice",
        ("siblings", "pattern_share"),
        cross_check=find_odd_shapes,
    ),
)
