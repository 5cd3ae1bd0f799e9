"""The registry of the health rules: every rule in one list, and how they are applied.

*Error* is kept for what is certainly wrong: values that are not finite, a weight matrix of zeros, scales that restore
nothing. Outliers are normal in good models, so they are never more than a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tui_params.core.channels import Channels
from tui_params.core.figures import Figures
from tui_params.core.findings import Finding, Severity
from tui_params.core.health.adapter_scale import SCALE_RULES
from tui_params.core.health.batchnorm import BATCHNORM_RULES
from tui_params.core.health.channels import CHANNEL_RULES
from tui_params.core.health.companions import COMPANION_RULES
from tui_params.core.health.container import CONTAINER_RULES
from tui_params.core.health.conversion import CONVERSION_RULES
from tui_params.core.health.duplicates import DUPLICATE_RULES
from tui_params.core.health.empty import EMPTY_RULES
from tui_params.core.health.gaps import GAP_RULES
from tui_params.core.health.half_adapters import HALF_RULES
from tui_params.core.health.indexes import INDEX_RULES
from tui_params.core.health.live import LIVE_RULES
from tui_params.core.health.moments import MOMENT_RULES
from tui_params.core.health.optimizers import OPTIMIZER_RULES
from tui_params.core.health.packed_values import PACKED_VALUE_RULES
from tui_params.core.health.repeats import REPEAT_RULES
from tui_params.core.health.roles import is_matrix, role_of
from tui_params.core.health.rule import ByTensor, Rule
from tui_params.core.health.siblings import SIBLING_RULES
from tui_params.core.health.sought import Sought
from tui_params.core.health.start import START_RULES
from tui_params.core.health.stated import STATED_RULES
from tui_params.core.health.subjects import Checkpoint, Subject
from tui_params.core.health.thresholds import DEFAULT, MEANINGS, Thresholds
from tui_params.core.health.training import TRAINING_RULES
from tui_params.core.health.values import VALUE_RULES
from tui_params.core.health.zero_points import ZERO_POINT_RULES
from tui_params.core.tensor import TensorInfo

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The worst first."""


def collect(families: Iterable[Sequence[Rule]], of_readers: Sequence[Rule] = ()) -> tuple[Rule, ...]:
    """The rules of all families in one list; those ``of_readers``, which no check applies, come last.

    Raises ValueError, one sentence, for an id that is used twice and for a rule that is not fully documented.
    """
    known: dict[str, Rule] = {}
    for rule in (*(rule for family in families for rule in family), *of_readers):
        fault = _fault(rule, rule in of_readers)
        if fault is not None:
            raise ValueError(f"the rule {rule.id!r} {fault}")
        if rule.id in known:
            raise ValueError(f"there are two rules {rule.id!r}: {known[rule.id].title!r} and {rule.title!r}")
        known[rule.id] = rule
    return tuple(known.values())


def _fault(rule: Rule, is_of_reader: bool) -> str | None:
    """What a rule lacks, as the end of a sentence."""
    if not rule.id or not all(part.isalnum() and part == part.lower() for part in rule.id.split("-")):
        return "must have an id of small letters and digits with dashes between"
    for field in ("title", "meaning", "source"):
        if not getattr(rule, field).strip():
            return f"has no {field}"
    if not rule.meaning.endswith("."):
        return "must explain its meaning in a whole sentence, with a full stop"
    if not rule.severities or list(rule.severities) != sorted(set(rule.severities), key=SEVERITIES.index):
        return "must list each severity that it can say once, the worst first"
    for name in rule.thresholds:
        if not MEANINGS.get(name):
            return f"compares with {name!r}, which is no threshold that MEANINGS explains"
    functions = sum(function is not None for function in (rule.check, rule.cross_check, rule.gather))
    if functions != (0 if is_of_reader else 1):
        return f"has {functions} of check, cross_check and gather; it needs {'none' if is_of_reader else 'one'}"
    return "has seek without check" if rule.seek is not None and rule.check is None else None


RULES: tuple[Rule, ...] = collect(
    (
        VALUE_RULES,
        EMPTY_RULES,
        CHANNEL_RULES,
        TRAINING_RULES,
        BATCHNORM_RULES,
        INDEX_RULES,
        PACKED_VALUE_RULES,
        ZERO_POINT_RULES,
        MOMENT_RULES,
        START_RULES,
        SIBLING_RULES,
        CONVERSION_RULES,
        DUPLICATE_RULES,
        REPEAT_RULES,
        COMPANION_RULES,
        GAP_RULES,
        HALF_RULES,
        STATED_RULES,
        OPTIMIZER_RULES,
        SCALE_RULES,
    ),
    of_readers=(*CONTAINER_RULES, *LIVE_RULES),
)
"""Every rule, in the order in which they are applied and in which findings about one tensor are shown.

A new family of rules is a file in this folder and a row here.
"""

_CHECKS = tuple([rule.check for rule in RULES if rule.check is not None])
_CROSS_CHECKS = tuple([rule.cross_check for rule in RULES if rule.cross_check is not None])
_GATHERERS = tuple([rule.gather for rule in RULES if rule.gather is not None])
_SEEKERS = {rule.id: rule.seek for rule in RULES if rule.seek is not None}


def apply_rules(
    info: TensorInfo, figures: Figures, channels: Channels | None = None, thresholds: Thresholds = DEFAULT
) -> tuple[Finding, ...]:
    """The findings about one tensor; of one that was sampled, only those that are certain of the whole."""
    return check_tensor(subject_of(info, figures, channels, thresholds))


def subject_of(
    info: TensorInfo, figures: Figures, channels: Channels | None = None, thresholds: Thresholds = DEFAULT
) -> Subject:
    """A tensor as the rules see it."""
    return Subject(info, figures, channels, thresholds, role_of(info), is_matrix(info))


def check_tensor(subject: Subject) -> tuple[Finding, ...]:
    """The findings of the rules that look at one tensor."""
    found: list[Finding] = []
    for check in _CHECKS:
        found += check(subject)
    return tuple(found)


def cross_check(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The findings of the rules that look at all tensors. Raises StoppedError."""
    for rule in _CROSS_CHECKS:
        yield from rule(checkpoint)


def gather(findings: ByTensor, checkpoint: Checkpoint) -> tuple[ByTensor, tuple[Finding, ...]]:
    """The findings that remain of all, and those that replace the others."""
    gathered: list[Finding] = []
    for rule in _GATHERERS:
        findings, found = rule(findings, checkpoint)
        gathered += found
    return findings, tuple(gathered)


def sought_by(finding: Finding, info: TensorInfo, thresholds: Thresholds = DEFAULT) -> Sought | None:
    """Which values a finding is about, if it is about single ones."""
    seek = _SEEKERS.get(finding.rule)
    return None if seek is None else seek(finding, info, thresholds)
