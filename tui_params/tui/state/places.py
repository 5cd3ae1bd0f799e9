"""Where in a tensor a finding was made, in words."""

from __future__ import annotations

from tui_params.core import text
from tui_params.core.findings import MAX_INDICES, Finding

KEPT_BLANK = "\u00a0"
"""A blank at which no line breaks, as within an index."""


def places_of(finding: Finding, most: int = MAX_INDICES) -> str:
    """The first indices of a finding, for the end of its sentence; nothing for a tensor of 0 dimensions."""
    shown = [text.shape(index).replace(" ", KEPT_BLANK) for index in finding.indices[:most] if index]
    if not shown:
        return ""
    is_all = len(finding.indices) < min(MAX_INDICES, most + 1)
    return f", {'' if is_all else 'first '}at {', '.join(shown)}"
