"""Facts: everything that a document says, gathered by one check of each source and one comparison."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from tui_params.api.comparing import compare
from tui_params.api.opening import open_source
from tui_params.api.timelines import is_path, steps_of, timeline
from tui_params.core.compare.comparer import Comparison
from tui_params.core.compare.tracks import Timeline
from tui_params.core.compare.verdict import Progress
from tui_params.core.figures import Figures
from tui_params.core.health.adapters import adapters_of, summarize_adapters
from tui_params.core.health.checker import Report, check
from tui_params.core.health.thresholds import DEFAULT, Thresholds
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.reading.sweep import ScanProgress
from tui_params.core.source import Listing, Source
from tui_params.core.stored_codes import some_are_codes
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.totals import Totals
from tui_params.core.tree.tree import Tree
from tui_params.errors import OpenError

if TYPE_CHECKING:
    from tui_params.api.opening import Target

    Tell: TypeAlias = Callable[[ScanProgress | Progress], None]

MOST_COMPARED = 2
"""Sources that are compared by themselves; more are the steps of a run."""


class Checked(msgspec.Struct, frozen=True):
    """One source, and what its check found. ``tensors`` are in the order of the tree, ``figures`` of those read."""

    label: str
    listing: Listing
    totals: Totals
    tensors: tuple[TensorInfo, ...]
    figures: Mapping[str, Figures]
    report: Report
    adapters: tuple[str, ...]

    @property
    def files(self) -> int:
        """How many files hold its tensors; 0 for a model in memory."""
        return len({info.file for info in self.tensors if info.file is not None})

    @property
    def counted(self) -> str:
        """What its elements are called: those of packed weights are no parameters."""
        has_codes = some_are_codes(self.listing.tensors, self.listing.dequantized)
        return "stored elements" if has_codes else "parameters"


class Facts(msgspec.Struct, frozen=True):
    """What a document is about: one source, two and what lies between them, or the steps of a run.

    ``checked`` are the sources whose tensors were checked: of a run, the last step that can be opened.
    """

    checked: tuple[Checked, ...]
    comparison: Comparison | None = None
    timeline: Timeline | None = None

    @property
    def newest(self) -> Checked:
        """The source whose kinds, layers and tensors are shown: the last one."""
        return self.checked[-1]


def run_of(targets: Sequence[Target]) -> Target | Sequence[Target] | None:
    """The run that these are the steps of, or that the only one is the folder of; None if they are no run."""
    if len(targets) > MOST_COMPARED:
        return list(targets)
    if len(targets) == 1 and is_path(targets[0]):
        try:
            steps_of(targets[0])
        except OpenError:
            return None
        return targets[0]
    return None


@with_subnormals
def gather(
    targets: Sequence[Target],
    *,
    thresholds: Thresholds = DEFAULT,
    should_stop: Callable[[], bool] | None = None,
    progress: Tell | None = None,
) -> Facts:
    """Read one source or more, and find everything that a document says. Raises OpenError, TypeError, StoppedError.

    Sources that are passed in stay open. Every element of a source is read once for the check, and again for a
    comparison or a timeline. ``progress`` gets how far each of them is.
    """
    run = run_of(targets)

    def checked(source: Source) -> Checked:
        return _checked(source, thresholds, should_stop, progress)

    if run is not None:
        moved = timeline(run, should_stop=should_stop, progress=progress)
        with ExitStack() as stack:
            last = _last_of(targets, moved, stack)
            return Facts((checked(last),), timeline=moved)
    with ExitStack() as stack:
        sources = [_opened(target, stack) for target in targets]
        found = tuple(map(checked, sources))
        if len(sources) < MOST_COMPARED:
            return Facts(found)
        return Facts(found, compare(*sources, should_stop=should_stop, progress=progress))


def _opened(target: Target, stack: ExitStack) -> Source:
    source = open_source(target)
    if source is not target:
        stack.enter_context(source)
    return source


def _last_of(targets: Sequence[Target], moved: Timeline, stack: ExitStack) -> Source:
    """The source of a run's last step that could be opened; of a folder, what opens it as a whole."""
    steps = targets
    if len(targets) == 1:
        try:
            return _opened(targets[0], stack)
        except OpenError:
            steps, _ = steps_of(targets[0])
    opened = [target for target, step in zip(steps, moved.steps, strict=True) if step.reason is None]
    return _opened(opened[-1], stack)


def _checked(
    source: Source, thresholds: Thresholds, should_stop: Callable[[], bool] | None, progress: Tell | None
) -> Checked:
    figures: dict[str, Figures] = {}
    tree = Tree(source.listing)
    report = check(
        source,
        thresholds=thresholds,
        should_stop=should_stop,
        progress=progress,
        listen=lambda outcome: _keep(outcome.name, outcome.figures, figures),
    )
    return Checked(
        os.fspath(source.label),
        source.listing,
        tree.totals(),
        tuple(tree.tensors_below(None)),
        figures,
        report,
        tuple(summarize_adapters(adapters_of(source))),
    )


def _keep(name: str, figures: Figures | None, found: dict[str, Figures]) -> None:
    """Keep the figures of a tensor that was read whole."""
    if figures is not None and figures.is_exact:
        found[name] = figures
