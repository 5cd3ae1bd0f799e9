"""Rules about the second moments of an optimizer: averages of squared gradients, or their largest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.core.findings import Finding
from tui_params.core.health.rule import Rule
from tui_params.core.health.sought import NEGATIVE, Sought
from tui_params.core.health.subjects import Checkpoint, Sketch, Subject
from tui_params.core.health.thresholds import Thresholds
from tui_params.core.health.training import whole_number
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import number, plural

_SECOND_MOMENTS = frozenset({"exp_avg_sq", "square_avg", "exp_inf", "exp_avg_sq_row", "row_var"})
"""What torch.optim and transformers' Adafactor call them; of a pair of factors, the first."""

_SQUARES = (*_SECOND_MOMENTS, "max_exp_avg_sq", "exp_avg_sq_col", "col_var", "variance", "sum", "state2")
_NEVER_NEGATIVE = dict.fromkeys(_SQUARES, "second moment") | {
    "acc_delta": "mean square of the steps",
    "step_size": "step size",
    "qmap2": "second moment that a code stands for",
    "absmax1": "largest magnitude of a block",
    "absmax2": "largest magnitude of a block",
}
"""The same with the other factor, AMSGrad's largest and Adagrad's sum of squares; Adadelta's second average, Rprop's
step sizes. bitsandbytes has no signed codes in ``state2``: a byte is an index into ``qmap2``, times ``absmax2``."""

_NO_ROOT = frozenset({"step_size", "absmax1"})

_FIRST_MOMENTS = ("exp_avg", "grad_avg", "momentum_buffer")
"""What is not zero, in the state of the same parameter, after a gradient that was not."""

_SMALL = 1e-15
"""Gradients below about 1e-21 have squares that are zero in float32 too; with moments up to this, that is normal."""


def check_negative_moments(subject: Subject) -> Sequence[Finding]:
    low = subject.figures.min
    if subject.role != "optimizer" or low is None or low >= 0 or subject.info.dtype.kind != "float":
        return ()
    last = subject.info.name.rpartition(".")[2]
    what = _NEVER_NEGATIVE.get(last)
    if what is None:
        return ()
    evidence = f"the smallest {what} is {number(low)}: none can be negative"
    if last not in _NO_ROOT:
        evidence += ", and its root is NaN"
    return (subject.finding("error", "negative-moment", evidence),)


def seek_negative(finding: Finding, info: TensorInfo, thresholds: Thresholds) -> Sought:
    return NEGATIVE


def find_idle_optimizer(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Moments that are all zero although steps were counted: the parameter never had a gradient."""
    steps = {
        sketch.info.name.rpartition(".")[0]: sketch.max
        for sketch in checkpoint.sketches
        if sketch.count == 1 and sketch.info.name.endswith(".step")
    }
    pairs = list(_pairs(checkpoint))
    idle = [sketch for sketch, first in pairs if sketch.is_zero and (first is None or first.is_zero)]
    is_whole = len(idle) == len(pairs) > 1
    for sketch in idle:
        prefix = sketch.info.name.rpartition(".")[0]
        step = steps.get(prefix)
        if step is None:
            step = whole_number(checkpoint.metadata.get(f"{prefix}.step", "")) or 0
        if step > 0:
            evidence = f"all {sketch.count:,} second moments are zero after {plural(int(step), 'step')}"
            if is_whole:
                evidence += f", like those of all {len(pairs):,} parameters: the moments were reset or never loaded"
            else:
                evidence += ": it never had a gradient"
            yield sketch.finding("warning", "optimizer-never-stepped", evidence)


def find_underflowed_moments(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Second moments that are zero where the first are not."""
    for sketch, first in _pairs(checkpoint):
        if first is None or first.is_zero or not first.abs_max or not first.is_exact or not sketch.zeros:
            continue
        dtype, zeros = sketch.info.dtype, 0
        is_narrow = dtype.kind == "float" and (dtype.bits <= 8 or dtype.name == "float16")
        if sketch.is_zero and (is_narrow or first.abs_max > _SMALL):
            evidence = f"all {sketch.count:,} second moments are zero, although the first reach {number(first.abs_max)}"
        elif is_narrow and sketch.is_exact and sketch.info.shape == first.info.shape:
            zeros = sketch.zeros - first.zeros
            # More of them are zero than of the first moments: at least so many places have only one of both.
            if zeros <= 0:
                continue
            evidence = f"at least {zeros:,} of {sketch.count:,} second moments are zero where the first are not"
        else:
            continue
        lost = f"they underflowed in {dtype.short}" if is_narrow else "they were lost"
        evidence += f": {lost}, and the next step divides by eps"
        yield sketch.finding("warning", "moments-underflowed", evidence)


def _pairs(checkpoint: Checkpoint) -> Iterator[tuple[Sketch, Sketch | None]]:
    """The second moments of each parameter that have elements, with its first moments if it has some."""
    firsts: dict[str, dict[str, Sketch]] = {}
    seconds: list[tuple[str, Sketch]] = []
    for sketch in checkpoint.sketches:
        prefix, _, last = sketch.info.name.rpartition(".")
        if last in _FIRST_MOMENTS:
            firsts.setdefault(prefix, {})[last] = sketch
        elif last in _SECOND_MOMENTS and sketch.count:
            seconds.append((prefix, sketch))
    for prefix, sketch in seconds:
        found = firsts.get(prefix, {})
        yield sketch, next((found[last] for last in _FIRST_MOMENTS if last in found), None)


MOMENT_RULES: tuple[Rule, ...] = (
    Rule(
        "negative-moment",
        "Negative second moment",
        ("error",),
        "An average of squares is never negative. The optimizer takes its root, which is NaN, and the weight is lost.",
        "torch.optim (Adam, AdamW, RMSprop, Adamax, Adagrad, Adadelta, Adafactor, Rprop), pytorch issue 108493; "
        "bitsandbytes 0.50 (state2 with qmap2 and absmax2)",
        check=check_negative_moments,
        seek=seek_negative,
    ),
    Rule(
        "optimizer-never-stepped",
        "Optimizer never stepped",
        ("warning",),
        "All moments still zero after some steps: the parameter never had a gradient, or its state was reset.",
        "torch.optim (Adam, AdamW, RMSprop, Adamax, Adafactor)",
        cross_check=find_idle_optimizer,
    ),
    Rule(
        "moments-underflowed",
        "Underflowed second moments",
        ("warning",),
        "Second moments that are zero where the first are not: squares of small gradients are zero in float16.",
        "ultralytics issue 24085 (moments cast to float16); the next update is the first moment divided by eps",
        cross_check=find_underflowed_moments,
    ),
)
