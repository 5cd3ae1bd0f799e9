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

    ``error`` is kept for what is certainly wrong. ``evidence`` is one sentence with numbers. ``indices`` are the first
    places (MAX_INDICES at most), in the tensor's shape. It is about the ``tensor`` of that full name; or about the
    ``module`` at that path, such as a layer that lacks a tensor; or about that ``file`` as a whole, relative to what
    was opened; or, if all of them are None, about the whole source.
    """

    severity: Severity
    rule: str
    tensor: str | None
    evidence: str
    indices: tuple[Index, ...] = ()
    module: str | None = None
    file: str | None = None


def subject(finding: Finding, label: str, limit: int | None = None) -> str:
    """What a finding is about, cleaned: the tensor, module or file; else the whole source, which has that label."""
    name = finding.module if finding.tensor is None else finding.tensor
    if name is not None:
        return text.name(name, limit)
    return text.clean(finding.file or label, limit)
