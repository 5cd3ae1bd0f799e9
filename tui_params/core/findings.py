"""Findings: what is wrong with a tensor or a container, as data. The rules that make them are in ``core.health``."""

from __future__ import annotations

from typing import Literal

import msgspec

Severity = Literal["error", "warning", "info"]

SEVERITY_WORDS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "remark"}
"""What a person reads; each plural ends in s."""


Index = tuple[int, ...]

MAX_INDICES = 5
"""Places that a finding names at most."""


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One thing that a rule says.

    ``error`` is kept for what is certainly wrong. ``tensor`` is the full name, or None for the container as a
    whole. ``evidence`` is one sentence with numbers. ``indices`` are the first places (MAX_INDICES at most), in the
    tensor's shape.
    """

    severity: Severity
    rule: str
    tensor: str | None
    evidence: str
    indices: tuple[Index, ...] = ()
