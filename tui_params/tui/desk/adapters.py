"""The adapters of a source, read on the thread that calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_params.core.source import Source

if TYPE_CHECKING:
    from tui_params.core.health.adapters import Adapter


def read_adapters(source: Source) -> tuple[Adapter, ...]:
    """Every adapter with its rank, alpha and scale. The rules are imported only now: the first screen is painted."""
    from tui_params.core.health.adapters import adapters_of

    return adapters_of(source)
