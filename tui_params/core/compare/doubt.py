"""Doubt: why two sources whose tensors are equal may not be the same, as far as their readers know."""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core.findings import Finding

_OF_OBJECTS = frozenset({"pickle-code", "bad-config"})
"""Errors that are not about the tensors: what they name is neither run nor compared."""

_PASSED_OVER = frozenset(
    {"trailing-bytes", "unknown-storage", "walk-limit", "zip-duplicates", "duplicate-name", "not-joined"}
)
"""Warnings that something in a file was not listed, so that it could not be compared, or that readers differ on it."""


def is_doubt(finding: Finding) -> bool:
    """Whether a reader passed over something, or found that a file is not as it was written."""
    if finding.severity == "error":
        return finding.rule not in _OF_OBJECTS
    return finding.severity == "warning" and finding.rule in _PASSED_OVER


def doubt_of(a: Sequence[Finding], b: Sequence[Finding]) -> str | None:
    """One sentence that says which side is damaged or not whole; None if neither is, as far as is known."""
    sides = [side for side, found in (("A", a), ("B", b)) if any(map(is_doubt, found))]
    if not sides:
        return None
    return f"{' and '.join(sides)} {'is' if len(sides) == 1 else 'are'} damaged or not whole"
