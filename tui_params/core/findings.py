"""Findings: what is wrong with a tensor or a container, as data. The rules themselves stand in ``core.rules``."""

from __future__ import annotations

from typing import Literal

import msgspec

from tui_params.core.channels import Channels
from tui_params.core.figures import Figures
from tui_params.core.tensor import TensorInfo

Severity = Literal["error", "warning", "info"]

SEVERITY_WORDS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "remark"}
"""What a person reads; their plural ends in s."""


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One thing that a rule says.

    ``error`` is kept for what is certainly wrong. ``tensor`` is the full name, or None for the container as a
    whole. ``evidence`` is one sentence with numbers. ``indices`` are the first places, in the tensor's shape.
    """

    severity: Severity
    rule: str
    tensor: str | None
    evidence: str
    indices: tuple[tuple[int, ...], ...] = ()


def findings_of(info: TensorInfo, figures: Figures, channels: Channels | None = None) -> tuple[Finding, ...]:
    """What the rules of single tensors say of one that was read (or sampled), with the thresholds as they are set."""
    from tui_params.core.health.registry import apply_rules

    return apply_rules(info, figures, channels)
