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
    from tui_params.api.opening import Optimizer, Target


@with_subnormals
def check(
    target: Target,
    *,
    optimizer: Optimizer | None = None,
    thresholds: Thresholds | Mapping[str, float] = DEFAULT,
    should_stop: Callable[[], bool] | None = None,
    verify: bool = False,
) -> Report:
    """Read every tensor of a path, a module, a mapping of tensors or a source, and apply every health rule.

    ``optimizer`` is the optimizer of a module, as in ``open_source``: its states are checked too, and trainable
    parameters that it does not hold are named. ``thresholds`` may be a mapping of those that differ from the default:
    ``{"abs_max_warning": 2e4}``.
    ``verify`` also compares each file with the digest that the Hugging Face Hub gave for it, offline: ``Report.files``
    has what came of each. A file of which no digest is known is not verified, and the status is not ok.
    ``should_stop`` is called about every MB; if it returns True, StoppedError is raised. A Source that is passed in
    stays open. Raises OpenError for a path that cannot be opened, TypeError for anything else that cannot be and for an
    optimizer beside anything but a module, and ValueError for an unknown threshold or one that is negative or not
    finite.
    """
    if not isinstance(thresholds, Thresholds):
        changes, thresholds = thresholds, DEFAULT
        for name, value in changes.items():
            thresholds = with_threshold(thresholds, name, value)
    source = open_source(target, optimizer=optimizer)
    try:
        return check_source(source, thresholds=thresholds, should_stop=should_stop, verify=verify)
    finally:
        if not isinstance(target, Source):
            source.close()
