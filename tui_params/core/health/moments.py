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
from tui_params.core.text import are, number, plural

_SECOND_MOMENTS = frozenset({"exp_avg_sq", "square_avg", "exp_inf", "exp_avg_sq_row", "row_var"})
"""What torch.optim and transformers' Adafactor call them; of a pair of factors, the first. Adamax has a norm there."""

_ROOT = "none can be negative, and its root is NaN"
_NEVER_NEGATIVE = {
    "exp_avg_sq": ("second moment", _ROOT),
    "square_avg": ("second moment", _ROOT),
    "variance": ("second moment", _ROOT),
    "state2": ("second moment", _ROOT),
    "qmap2": ("second moment that a code stands for", _ROOT),
    "max_exp_avg_sq": ("of the largest second moments", _ROOT),
    "sum": ("sum of squares", _ROOT),
    "acc_delta": ("mean square of the steps", _ROOT),
    "exp_avg_sq_row": ("mean of squares", "none can be negative, and a root is taken of it"),
    "exp_avg_sq_col": ("mean of squares", _ROOT),
    "row_var": ("mean of squares", "none can be negative"),
    "col_var": ("mean of squares", "none can be negative"),
    "exp_inf": ("infinity norm", "it is the size of a gradient, which is never negative"),
    "step_size": ("step size", "none can be negative"),
    "absmax1": ("of the largest magnitudes of blocks", "none can be negative"),
    "absmax2": ("of the largest magnitudes of blocks", _ROOT),
}
"""What is never negative: what it is, and why that matters, by its name in the state of a parameter.

torch.optim: adam.py, rmsprop.py, adagrad.py and adadelta.py take the root, adamax.py divides by the largest size of the
decayed gradients, _adafactor.py clamps before it takes the root; transformers' Adafactor does not. bitsandbytes has no
signed codes in ``state2``: a byte is an index into ``qmap2``, times ``absmax2``.
"""

_NOUNS = {"exp_inf": "infinity norms", "exp_avg_sq_row": "means of squares", "row_var": "means of squares"}

_FIRST_MOMENTS = ("exp_avg", "grad_avg", "momentum_buffer")
"""What is not zero, in the state of the same parameter, after a gradient that was not."""

_SMALL = 1e-15
"""Gradients below about 1e-21 have squares that are zero in float32 too; with moments up to this, that is normal."""


def check_negative_moments(subject: Subject) -> Sequence[Finding]:
    low = subject.figures.min
    if subject.role != "optimizer" or low is None or low >= 0 or subject.info.dtype.kind != "float":
        return ()
    said = _NEVER_NEGATIVE.get(subject.info.name.rpartition(".")[2])
    if said is None:
        return ()
    evidence = f"the smallest {said[0]} is {number(low)}: {said[1]}"
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
            evidence = f"{_all_are(sketch)} zero after {plural(int(step), 'step')}"
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
            evidence = f"{_all_are(sketch)} zero, although the first moments reach "
            evidence += number(first.abs_max)
        elif is_narrow and sketch.is_exact and sketch.info.shape == first.info.shape:
            zeros = sketch.zeros - first.zeros
            # More of them are zero than of the first moments: at least so many places have only one of both.
            if zeros <= 0:
                continue
            evidence = f"at least {zeros:,} of {sketch.count:,} {_noun(sketch)} {are(zeros)} zero"
            evidence += " where the first moments are not"
        else:
            continue
        evidence += f": they underflowed in {dtype.short}" if is_narrow else ": they were lost"
        if not sketch.info.name.endswith(".exp_inf"):
            # Adamax takes the size of the next gradient if it is larger.
            evidence += ", and the next step divides by eps"
        yield sketch.finding("warning", "moments-underflowed", evidence)


def _noun(sketch: Sketch) -> str:
    """What a tensor that stands for the second moments of a parameter holds."""
    return _NOUNS.get(sketch.info.name.rpartition(".")[2], "second moments")


def _all_are(sketch: Sketch) -> str:
    noun = _noun(sketch)
    return f"the one of its {noun} is" if sketch.count == 1 else f"all {sketch.count:,} {noun} are"


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
        "Averages of squares, and sizes of gradients, are never negative. Most optimizers take the root, which is NaN, "
        "and the weight is lost.",
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
