"""Opens checkpoints with packed weights as what they mean."""

from __future__ import annotations

from pathlib import Path

from tui_params import open_source
from tui_params.core.packed.logical import LogicalSource


def logical(path: Path) -> LogicalSource:
    return LogicalSource(open_source(path))
