"""Opens checkpoints with packed weights as what they mean."""

from __future__ import annotations

from pathlib import Path

from tui_params import check, open_source
from tui_params.core.packed.logical import LogicalSource


def complaints(path: Path) -> list[str]:
    """What a check says above a remark, of the stored tensors and of what they mean."""
    found = []
    for is_logical in (False, True):
        with open_source(path, logical=is_logical) as source:
            report = check(source)
        found += [f"unchecked: {item.reason}" for item in report.unchecked]
        found += [f"{item.rule}: {item.evidence}" for item in report.findings if item.severity != "info"]
    return found


def logical(path: Path) -> LogicalSource:
    return LogicalSource(open_source(path))
