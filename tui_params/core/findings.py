"""Findings: what is wrong with a tensor, a file or a source, as data. The rules are in ``core.health``."""

from __future__ import annotations

from typing import Literal

import msgspec

from tui_params.core import text

Severity = Literal["error", "warning", "info"]

SEVERITY_WORDS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "remark"}
"""What a person reads; each plural ends in s."""


Index = tuple[int, ...]

MAX_INDICES = 5
"""Places that a finding names at most."""


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One thing that a rule says.

    ``error`` is kept for what is certainly wrong. ``tensor`` is the full name, or None if it is not about one tensor.
    ``evidence`` is one sentence with numbers. ``indices`` are the first places (MAX_INDICES at most), in the tensor's
    shape. ``file`` is the file that it is about, if it is about a file as a whole; it is relative to what was opened.
    Without a tensor and a file it is about the whole source.
    """

    severity: Severity
    rule: str
    tensor: str | None
    evidence: str
    indices: tuple[Index, ...] = ()
    file: str | None = None


def subject(finding: Finding, label: str, limit: int | None = None) -> str:
    """What a finding is about, cleaned: the tensor or the file; else the whole source, which has that label."""
    if finding.tensor is not None:
        return text.name(finding.tensor, limit)
    return text.clean(finding.file or label, limit)
