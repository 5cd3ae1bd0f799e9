"""``tui_params.timeline``: how each tensor of a run moves from checkpoint to checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tui_params.api.opening import open_source, piece_cache
from tui_params.core.compare.tracks import Step, Timeline
from tui_params.core.compare.verdict import Progress
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.source import Source
from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.sources.bytes import far
from tui_params.sources.given import find_path, is_address, shown

if TYPE_CHECKING:
    from tui_params.api.opening import Target

FEWEST = 2


@with_subnormals
def timeline(
    run: Target | Sequence[Target],
    *,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[Progress], None] | None = None,
    threads: int | None = None,
    format: str | None = None,  # noqa: A002
) -> Timeline:
    """The norm, the largest magnitude, NaN and the change since the step before, of each tensor at each step.

    ``run`` is the folder of a run (``checkpoint-500/``, ``checkpoint-1000/``, ... in the order of their numbers), or
    paths, modules, state dicts and sources in the order in which they are given. Every element is read once; what
    was read of large files is kept in the user's cache, and not read again. A step that cannot be opened stays, with
    its reason. ``format`` is as in ``open_source``, for all of them.
    Raises OpenError if fewer than two steps can be opened, TypeError, StoppedError.
    """
    targets, numbers = steps_of(run)
    with ExitStack() as stack:
        opened = [open_step(target, number, stack, format) for target, number in zip(targets, numbers, strict=True)]
        steps, sources = [step for step, _ in opened], [source for _, source in opened]
        if sum(source is not None for source in sources) < FEWEST:
            reasons = [step.reason for step in steps if step.reason is not None]
            raise OpenError(reasons[0] if reasons else "a timeline needs at least two checkpoints")
        from tui_params.cache.figures import FigureCache
        from tui_params.cache.moments import RunMoments
        from tui_params.core.compare.timeline import read_timeline

        store = FigureCache().store
        kept = RunMoments(store, sources) if store is not None else None
        is_whole = False
        try:
            read = read_timeline(
                steps,
                sources,
                should_stop=should_stop,
                progress=progress,
                found=kept.put if kept is not None else None,
                known=kept.known if kept is not None else None,
                threads=threads,
            )
            is_whole = True
        finally:
            if kept is not None:
                kept.flush(is_whole=is_whole)
        return read


def open_step(
    target: Target, number: int | None, stack: ExitStack, reader: str | None = None
) -> tuple[Step, Source | None]:
    """One checkpoint of a run, and its source, which the stack closes; without one, the step says why.

    ``reader`` is the name of the format to read it as.
    """
    label = target.label if isinstance(target, Source) else _shown(target) if is_path(target) else "in memory"
    try:
        source = open_source(target, format=reader)
    except OpenError as error:
        return Step(clean(label, 200), number, str(error)), None
    if source is not target:
        stack.enter_context(source)
    return Step(clean(source.label, 200), number), source


def steps_of(run: Target | Sequence[Target]) -> tuple[list[Target], list[int | None]]:
    """The checkpoints of a run in their order, and the number of each, if it has one. Raises OpenError."""
    from tui_params.sources.folder.run.steps import number_of, steps_in_order

    if isinstance(run, (list, tuple)):
        targets = list(run)
        if len(targets) == 1:
            return steps_of(targets[0])
        return targets, [number_of(Path(_shown(target)).name) if is_path(target) else None for target in targets]
    if not isinstance(run, (str, os.PathLike)):
        raise TypeError("expected the folder of a run, or a list of checkpoints")
    from tui_params.sources.bytes.files import is_folder
    from tui_params.sources.detect import formats

    folder = find_path(os.fspath(run), piece_cache) if is_address(os.fspath(run)) else Path(os.fspath(run))
    found = steps_in_order(folder, formats()) if is_folder(folder) else []
    if len(found) < FEWEST:
        raise OpenError(
            f"{clean(_shown(run), 200)} is no folder with two steps or more, "
            "such as checkpoint-500/ and checkpoint-1000/"
        )
    return [str(folder / name) for name, _ in found], [number for _, number in found]


def _shown(target: object) -> str:
    """A path or an address as it may be shown."""
    return far.shown(shown(str(target)))


def is_path(target: object) -> bool:
    return isinstance(target, (str, os.PathLike))
