"""``tui_params.check``: the check of anything that can be opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_params.core.check import Report
from tui_params.core.check import check as check_source
from tui_params.core.source import Source
from tui_params.core.thresholds import DEFAULT, Thresholds
from tui_params.opening import open_source

if TYPE_CHECKING:
    from tui_params.opening import Target


def check(target: Target, *, thresholds: Thresholds = DEFAULT, should_stop: Callable[[], bool] | None = None) -> Report:
    """Read every tensor of a path, a module, a mapping of tensors or a source, and apply every health rule.

    Raises OpenError for paths, TypeError, and StoppedError where ``should_stop`` says so. A source that was given
    stays open.
    """
    source = open_source(target)
    try:
        return check_source(source, thresholds=thresholds, should_stop=should_stop)
    finally:
        if not isinstance(target, Source):
            source.close()
