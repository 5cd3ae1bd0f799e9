"""How a process joins its team: as the one that leads, or as a helper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_params.core.text import plural
from tui_params.errors import TeamError
from tui_params.ranks.channel import START_FACTOR

if TYPE_CHECKING:
    from tui_params.ranks.channel import Intake
    from tui_params.ranks.helper import Helper
    from tui_params.ranks.job import Job
    from tui_params.ranks.leader import Leader

MOST_SILENT = 60.0
"""Seconds without a sign of life after which a process is given up."""


def lead(job: Job, most_silent: float, version: str) -> Leader:
    """Begin as the process that has the results. Raises TeamError."""
    intake = _intake(job, most_silent)
    # numpy is imported while the others start.
    from tui_params.ranks.inbox import Inbox
    from tui_params.ranks.leader import Leader

    return Leader(job.ways, Inbox(job.ways, intake, job.noun, most_silent), job.noun, job.threads, version)


def _intake(job: Job, most_silent: float) -> Intake:
    if job.kind == "torchrun":
        from tui_params.ranks.torch_store import StoreIntake, connect

        return StoreIntake(connect(job, START_FACTOR * most_silent), job.ways)
    from tui_params.ranks.pipes import PipeIntake

    try:
        return PipeIntake(job.arguments, job.ways)
    except OSError as error:
        others = plural(job.ways - 1, "more process", "more processes")
        raise TeamError(f"{others} could not be started: {error.strerror}") from None


def help_out(job: Job, most_silent: float, version: str) -> Helper:
    """Begin as a process that reads a share. Raises TeamError."""
    from tui_params.ranks.helper import Helper

    if job.kind == "torchrun":
        from tui_params.ranks.torch_store import StorePost, connect

        post = StorePost(connect(job, START_FACTOR * most_silent), job.rank, most_silent)
        return Helper(job.rank, job.ways, post, job.threads, version)
    from tui_params.ranks.pipes import PipePost

    assert job.descriptor is not None
    return Helper(job.rank, job.ways, PipePost(job.descriptor), job.threads, version)
