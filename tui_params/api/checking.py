"""``tui_params.check``: the check of anything that can be opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tui_params.api.opening import open_source
from tui_params.core.health.checker import Report
from tui_params.core.health.checker import check as check_source
from tui_params.core.health.thresholds import DEFAULT, Thresholds, with_threshold
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.source import Source

if TYPE_CHECKING:
    from tui_params.api.opening import Target


@with_subnormals
def check(
    target: Target,
    *,
    thresholds: Thresholds | Mapping[str, float] = DEFAULT,
    should_stop: Callable[[], bool] | None = None,
) -> Report:
    """Read every tensor of a path, a module, a mapping of tensors or a source, and apply every health rule.

    ``thresholds`` may be those that differ from the default, by name: ``{"abs_max_warning": 2e4}``. Raises ValueError
    for one that there is not, OpenError for paths, TypeError, and StoppedError where ``should_stop`` says so. A source
    that was given stays open.
    """
    if not isinstance(thresholds, Thresholds):
        changes, thresholds = thresholds, DEFAULT
        for name, value in changes.items():
            thresholds = with_threshold(thresholds, name, value)
    source = open_source(target)
    try:
        return check_source(source, thresholds=thresholds, should_stop=should_stop)
    finally:
        if not isinstance(target, Source):
            source.close()
