"""How a process joins its team: as the one that leads, or as a helper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_params.errors import TeamError
from tui_params.ranks.inbox import START_FACTOR, Inbox

if TYPE_CHECKING:
    from tui_params.ranks.helper import Helper
    from tui_params.ranks.job import Job
    from tui_params.ranks.leader import Leader

MOST_SILENT = 60.0
"""Seconds without a sign of life after which a process is given up."""


def lead(job: Job, most_silent: float, version: str) -> Leader:
    """Begin as the process that has the results. Raises TeamError."""
    from tui_params.ranks.leader import Leader

    if job.kind == "torchrun":
        from tui_params.ranks.torch_store import StoreIntake, connect

        store = connect(job, START_FACTOR * most_silent)
        inbox = Inbox(job.ways, StoreIntake(store, job.ways), job.noun, most_silent)
    else:
        from tui_params.ranks.pipes import PipeIntake

        try:
            intake = PipeIntake(job.arguments, job.ways)
        except OSError as error:
            raise TeamError(f"{job.ways - 1} more processes could not be started: {error.strerror}") from None
        inbox = Inbox(job.ways, intake, job.noun, most_silent)
    return Leader(job.ways, inbox, job.noun, job.threads, version)


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
