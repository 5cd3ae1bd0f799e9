"""``tui-params timeline``: how each tensor of a run moves from checkpoint to checkpoint, and since when it is wrong."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

from tui_params.cli.compare_progress import CompareProgress
from tui_params.cli.completion import complete_path
from tui_params.cli.exit_codes import FAILED, FOUND, OK
from tui_params.cli.fields import TIMELINE, epilog
from tui_params.cli.output import Output, write_json

if TYPE_CHECKING:
    from tui_params.core.compare.tracks import Timeline


@click.command(name="timeline", short_help="Show how a run moved, step by step.", epilog=epilog(TIMELINE))
@click.argument("run", nargs=-1, required=True, shell_complete=complete_path)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--names", is_flag=True, help="List every tensor, not the largest changes.")
def command(run: tuple[str, ...], as_json: bool, names: bool) -> int:
    """Compare the checkpoints of RUN, step by step: norms, changes, NaN, and since when.

    RUN is the folder of a run (checkpoint-500/ checkpoint-1000/ ... or epoch=1-step=500.ckpt ..., in the order of their
    numbers), or several checkpoints in the order in which they are given. Every element of every step is read once;
    what was found in large files is kept in the cache, as the explorer does, and not read again.

    The change of a tensor is ||b - a|| / ||a|| since the step before that has it in the same shape. A jump is a change
    of 8 times the median of the tensor's others, from 4 changes on. Frozen is a tensor of which not a bit has changed
    since a step.

    Exit code 0: no NaN and no infinity anywhere. 1: there are some. 3: there are none in what could be read, and not
    everything could be.
    """
    return print_timeline(run, as_json=as_json, names=names)


def print_timeline(run: Sequence[str], *, as_json: bool = False, names: bool = False, reader: str | None = None) -> int:
    """Print the timeline of a run, as the command does; returns its exit code."""
    from tui_params.api.timelines import timeline

    show = CompareProgress() if sys.stderr.isatty() else None
    try:
        found = timeline(list(run), progress=show, format=reader)
    finally:
        if show is not None:
            show.clear()
    if as_json:
        write_json(document(found))
    else:
        from tui_params.cli.timeline_text import lines

        output = Output()
        output.lines(lines(found, output, names=names))
    if found.first_broken is not None:
        return FOUND
    return FAILED if found.unread else OK


def document(found: Timeline) -> dict[str, Any]:
    """The document of ``--json``."""
    first = found.first_broken
    return {
        "steps": [{"label": step.label, "number": step.number, "reason": step.reason} for step in found.steps],
        "first_broken": None if first is None else {"step": first[0], "tensors": [track.name for track in first[1]]},
        "tensors": [
            {
                "name": track.name,
                "shape": track.shape,
                "first_broken": track.first_broken,
                "jump": track.jump,
                "frozen_since": track.frozen_since,
                "moments": [None if moment is None else asdict(moment) for moment in track.moments],
            }
            for track in found.tracks
        ],
        "unread": [{"what": what, "reason": reason} for what, reason in found.unread],
    }
