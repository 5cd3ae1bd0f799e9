"""Rules about the values of one tensor: what can be seen from its statistics alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tui_params.core.figures import Figures
from tui_params.core.findings import Finding, Severity
from tui_params.core.health.roles import PARAMETERS, adapter_part, is_measure
from tui_params.core.health.rule import Rule
from tui_params.core.health.sought import NAN, NEG_INF, POS_INF, Sought
from tui_params.core.health.subjects import Subject
from tui_params.core.health.thresholds import Thresholds
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import all_are, are, number, percent, plural

_NONE: tuple[Finding, ...] = ()

_LARGEST = {
    "float16": 65504.0,
    "float8_e4m3fn": 448.0,
    "float8_e5m2": 57344.0,
    "float8_e4m3fnuz": 240.0,
    "float8_e5m2fnuz": 57344.0,
}
"""The largest finite value of the types that weights are cast down to."""

_BLOCK = 128
"""The block size of DeepSeek-V3's scales, the smallest in use apart from the MX formats."""

_ROUNDED = 0.002
"""The most that rounding to bfloat16 moves a power of ten, in decades."""

_EXTREMES = frozenset(
    {
        "min_val", "max_val", "min_value", "max_value", "kth_value", "best_score", "best_model_score", "eps",
        "input_min", "input_max", "output_min", "output_max",
    }
)  # fmt: skip


def _of(count: int, total: int) -> str:
    return "the one value is" if total == 1 else f"{count:,} of {total:,} values {are(count)}"


def check_nan(subject: Subject) -> Sequence[Finding]:
    nan = subject.figures.nan
    return (subject.finding("error", "nan", f"{_of(nan, subject.total)} NaN"),) if nan else _NONE


def seek_nan(finding: Finding, info: TensorInfo, thresholds: Thresholds) -> Sought:
    return NAN


def check_inf(subject: Subject) -> Sequence[Finding]:
    figures = subject.figures
    if not figures.pos_inf and not figures.neg_inf:
        return _NONE
    # Attention masks are made of -Inf; observers, callbacks and the best score so far start at an infinity.
    last = subject.info.name.rpartition(".")[2]
    is_normal = subject.role == "mask" or last in _EXTREMES or subject.info.name.startswith("callbacks.")
    is_normal = is_normal or is_measure(subject.info)
    severity: Severity = "info" if is_normal else "error"
    return tuple(
        subject.finding(severity, "inf", f"{_of(count, subject.total)} {what}")
        for count, what in ((figures.pos_inf, "+Inf"), (figures.neg_inf, "-Inf"))
        if count
    )


def seek_inf(finding: Finding, info: TensorInfo, thresholds: Thresholds) -> Sought:
    return NEG_INF if finding.evidence.endswith("-Inf") else POS_INF


def check_all_zero(subject: Subject) -> Sequence[Finding]:
    figures = subject.figures
    if not figures.is_exact or not figures.count or figures.zeros != figures.count or subject.role == "statistic":
        return _NONE
    severity: Severity = "info"
    if subject.is_matrix:
        # Half of an adapter starts at zero; whether training missed it, the other adapters tell.
        if subject.role in ("weight", "embedding"):
            severity = "info" if adapter_part(subject.info.name) else "error"
        elif subject.role == "norm" or (subject.role == "other" and "weight" in subject.info.name):
            severity = "warning"
    elif subject.role not in PARAMETERS | {"gradient"}:
        return _NONE
    return (subject.finding(severity, "all-zero", f"{all_are(subject.total, 'value')} zero"),)


def check_constant(subject: Subject) -> Sequence[Finding]:
    figures = subject.figures
    if not figures.is_exact or figures.count < 2 or figures.min is None or figures.min != figures.max:
        return _NONE
    if figures.non_finite or figures.zeros:
        return _NONE
    if subject.role not in PARAMETERS or not (subject.is_matrix or subject.role == "norm"):
        return _NONE
    is_wrong = subject.is_matrix and subject.role not in ("norm", "zero_init")
    severity: Severity = "warning" if is_wrong else "info"
    return (subject.finding(severity, "constant", f"all {subject.total:,} values are {number(figures.min)}"),)


def check_mostly_zero(subject: Subject) -> Sequence[Finding]:
    figures = subject.figures
    if not figures.zeros or not subject.is_matrix or not figures.is_exact or figures.zeros == figures.count:
        return _NONE
    if subject.role not in ("weight", "embedding"):
        return _NONE
    limits = subject.thresholds
    limit = limits.mostly_zero_embedding if subject.role == "embedding" else limits.mostly_zero
    if figures.zeros <= limit * figures.count:
        return _NONE
    evidence = f"{percent(figures.zeros, figures.count)} of {subject.total:,} values are zero"
    return (subject.finding("warning", "mostly-zero", evidence),)


def check_abs_max(subject: Subject) -> Sequence[Finding]:
    figures, limits = subject.figures, subject.thresholds
    largest = figures.abs_max
    if largest is None or largest <= min(limits.abs_max_warning, limits.abs_max_error):
        return _NONE
    # Elements of eight bits or less are codes: what they mean depends on their scale.
    if subject.info.dtype.bits <= 8 or subject.role not in PARAMETERS | {"gradient"}:
        return _NONE
    is_error = largest > limits.abs_max_error and subject.is_matrix and subject.role in PARAMETERS
    is_error = is_error and not _forbids(figures, limits.abs_max_warning)
    limit = limits.abs_max_error if is_error else limits.abs_max_warning
    if largest <= limit:
        return _NONE
    evidence = f"the largest magnitude is {number(largest)}, beyond {number(limit)}"
    return (subject.finding("error" if is_error else "warning", "abs-max", evidence),)


def seek_abs_max(finding: Finding, info: TensorInfo, thresholds: Thresholds) -> Sought:
    return Sought("beyond", thresholds.abs_max_error if finding.severity == "error" else thresholds.abs_max_warning)


def _forbids(figures: Figures, limit: float) -> bool:
    """Whether the largest magnitude is a -1e9 that means "never" in a table of scores, as in the transitions of a CRF.

    It is a negative power of ten, or the lowest value of the type.
    """
    if figures.min is None or figures.max is None or figures.min != -(figures.abs_max or 0) or figures.max > limit:
        return False
    decade = math.log10(-figures.min)
    return bool(figures.at_max) or abs(decade - round(decade)) < _ROUNDED


def check_saturation(subject: Subject) -> Sequence[Finding]:
    """More elements at the largest value of their type than the distribution and scaling explain.

    The tail of a distribution puts no more elements on the last value than on the one below it. Scaling puts the
    largest element of each row, column or block there.
    """
    figures, dtype = subject.figures, subject.info.dtype
    largest = _LARGEST.get(dtype.name)
    if largest is None or not figures.at_max or subject.role not in PARAMETERS | {"gradient", "optimizer"}:
        return _NONE
    scaled = _scaled(subject.info.shape, figures.count) if dtype.bits == 8 else 0
    pile = figures.at_max - (figures.below_max or 0) - scaled
    if pile <= subject.thresholds.saturated_share * figures.count:
        return _NONE
    rule = "fp16-saturation" if dtype.bits == 16 else "fp8-saturation"
    share = percent(figures.at_max, figures.count)
    evidence = (
        f"{figures.at_max:,} of {figures.count:,} values ({share}) {are(figures.at_max)} at "
        f"±{number(largest)}, the largest of {dtype}, and {figures.below_max or 0:,} just below"
    )
    return (subject.finding("warning", rule, evidence),)


def _scaled(shape: tuple[int, ...], count: int) -> int:
    """How many elements at most are the largest of their row, of their column, or of a block of 128."""
    shortest = min([*shape[-2:], _BLOCK])
    return count // shortest if len(shape) > 1 and shortest else 1


def check_fp16_saturation(subject: Subject) -> Sequence[Finding]:
    return check_saturation(subject) if subject.info.dtype.bits == 16 else _NONE


def check_fp8_saturation(subject: Subject) -> Sequence[Finding]:
    return check_saturation(subject) if subject.info.dtype.bits == 8 else _NONE


def seek_saturation(finding: Finding, info: TensorInfo, thresholds: Thresholds) -> Sought:
    return Sought("at", _LARGEST[info.dtype.name])


def check_subnormals(subject: Subject) -> Sequence[Finding]:
    figures = subject.figures
    # Types below 8 bits have a handful of values, and it is normal that the subnormal ones occur.
    if not figures.subnormals or subject.info.dtype.bits < 8 or not figures.is_exact:
        return _NONE
    if subject.role not in PARAMETERS | {"gradient"}:
        return _NONE
    if figures.subnormals <= subject.thresholds.subnormal_share * figures.count:
        return _NONE
    severity: Severity = "info" if subject.role == "gradient" else "warning"
    share = percent(figures.subnormals, figures.count)
    evidence = f"{share} of {subject.total:,} values are subnormal in {subject.info.dtype}: they lose precision"
    return (subject.finding(severity, "many-subnormals", evidence),)


def check_view(subject: Subject) -> Sequence[Finding]:
    info, limits = subject.info, subject.thresholds
    storage = info.storage_nbytes
    if storage is None or storage - info.nbytes < limits.storage_nbytes or storage < limits.storage_ratio * info.nbytes:
        return _NONE
    evidence = f"a view of {plural(info.nbytes, 'byte')} keeps a storage of {storage:,}"
    return (subject.finding("info", "view-of-large-storage", evidence),)


VALUE_RULES: tuple[Rule, ...] = (
    Rule(
        "nan",
        "NaN",
        ("error",),
        "A value that is not a number spreads to everything that is computed from it.",
        "vLLM PR 53537 (--verify-weights), diffusers PR 5316, ultralytics PR 24307",
        check=check_nan,
        seek=seek_nan,
    ),
    Rule(
        "inf",
        "Infinity",
        ("error", "info"),
        "An infinite value. Masks, bounds that clip nothing and extremes that saw no value have it on purpose (info).",
        "vLLM PR 53537, transformers DebugUnderflowOverflow",
        check=check_inf,
        seek=seek_inf,
    ),
    Rule(
        "all-zero",
        "All zero",
        ("error", "warning", "info"),
        "A weight matrix of zeros passes nothing on. Biases, masks, gradients and layers that start so may be zero.",
        "aprender F-DATA-QUALITY-001",
        check=check_all_zero,
    ),
    Rule(
        "constant",
        "Constant",
        ("warning", "info"),
        "Every value of a matrix is the same, so all its outputs are equal. Gains of 1 are how training starts (info).",
        "aprender F-DATA-QUALITY-003",
        check=check_constant,
    ),
    Rule(
        "mostly-zero",
        "Mostly zero",
        ("warning",),
        "Most of a weight is zero: a part of it was pruned, lost, or never written.",
        "aprender F-DATA-QUALITY-001",
        ("mostly_zero", "mostly_zero_embedding"),
        check_mostly_zero,
    ),
    Rule(
        "abs-max",
        "Absurd magnitude",
        ("error", "warning"),
        "Good weights stay below about 1,000. Far beyond, bits were flipped or a scale is missing. A -1e9 is no error.",
        "aprender PR 2039, sglang issue 26745",
        ("abs_max_warning", "abs_max_error"),
        check_abs_max,
        seek=seek_abs_max,
    ),
    Rule(
        "fp16-saturation",
        "Saturated float16",
        ("warning",),
        "A pile of values at ±65504: they were larger before the cast.",
        "transformers guide to fp16 overflow (T5)",
        ("saturated_share",),
        check_fp16_saturation,
        seek=seek_saturation,
    ),
    Rule(
        "fp8-saturation",
        "Saturated float8",
        ("warning",),
        "A pile of values at the largest value of the type: casts to it saturate, so an overflow does not become NaN.",
        "torch 2.13 (casts to float8_e4m3fn saturate); scaling by row or block puts one value of each there",
        ("saturated_share",),
        check_fp8_saturation,
        seek=seek_saturation,
    ),
    Rule(
        "many-subnormals",
        "Many subnormals",
        ("warning", "info"),
        "Values below the smallest normal number of their type have lost precision, and smaller ones became zero.",
        "transformers DebugUnderflowOverflow",
        ("subnormal_share",),
        check_subnormals,
    ),
    Rule(
        "view-of-large-storage",
        "View of a large storage",
        ("info",),
        "A slice was saved together with the whole storage that it was cut from.",
        "torch.save saves storages, not views",
        ("storage_ratio", "storage_nbytes"),
        check_view,
    ),
)
