"""The health rules: each is data and a pure function, and RULES is the one list of them.

*Error* is kept for what is certainly wrong: values that are not finite, a weight matrix of zeros, scales that restore
nothing. Outliers are normal in good models, so they are never more than a warning.
"""

from __future__ import annotations

from tui_params.core.channels import Channels
from tui_params.core.figures import Figures
from tui_params.core.findings import Finding, Severity
from tui_params.core.health.channels import CHANNEL_RULES
from tui_params.core.health.roles import is_matrix, role_of
from tui_params.core.health.rule import Rule, Subject
from tui_params.core.health.siblings import SIBLING_RULES
from tui_params.core.health.start import START_RULES
from tui_params.core.health.thresholds import DEFAULT, Thresholds
from tui_params.core.health.training import TRAINING_RULES
from tui_params.core.health.values import VALUE_RULES
from tui_params.core.tensor import TensorInfo

RULES: tuple[Rule, ...] = (*VALUE_RULES, *CHANNEL_RULES, *TRAINING_RULES, *START_RULES, *SIBLING_RULES)
"""Every rule, in the order in which findings of one tensor are told."""

_OF_ONE_TENSOR = tuple([rule.check for rule in RULES if rule.check is not None])

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The worst first."""


def apply_rules(
    info: TensorInfo, figures: Figures, channels: Channels | None = None, thresholds: Thresholds = DEFAULT
) -> tuple[Finding, ...]:
    """What the rules of single tensors say of one. Of a sample only what is certain of the whole is said."""
    return judge(subject_of(info, figures, channels, thresholds))


def subject_of(
    info: TensorInfo, figures: Figures, channels: Channels | None = None, thresholds: Thresholds = DEFAULT
) -> Subject:
    """A tensor as the rules see it."""
    return Subject(info, figures, channels, thresholds, role_of(info), is_matrix(info))


def judge(subject: Subject) -> tuple[Finding, ...]:
    """What the rules of single tensors say."""
    found: list[Finding] = []
    for check in _OF_ONE_TENSOR:
        found += check(subject)
    return tuple(found)
