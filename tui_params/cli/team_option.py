"""``--jobs N``, and the ranks of a torchrun job: several processes that read for one command."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import wraps
from typing import TYPE_CHECKING

import click
import msgspec

from tui_params import __version__
from tui_params.cli.exit_codes import OK
from tui_params.errors import ShareReadError, TuiParamsError

if TYPE_CHECKING:
    from tui_params.ranks.job import Job
    from tui_params.ranks.leader import Leader

_SOURCES = ("source", "a", "b")


class CommandLine(msgspec.Struct):
    """The arguments of a command; ``is_of_ranks``: it runs in rank 0 of several, whose exit code nobody sees."""

    arguments: tuple[str, ...]
    is_of_ranks: bool = False


def team_option(command: Callable[..., int]) -> Callable[..., int]:
    """The options of the commands that several processes can run together; they get these as ``team``."""

    @click.option(
        "--jobs",
        type=click.IntRange(1, 256),
        metavar="N",
        help="Read with N processes, to the same output; 1: alone. On many machines: torchrun ... -m tui_params.",
    )
    @click.option(
        "--rank-timeout",
        type=click.FloatRange(0.1),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="Do not wait for a process that gives no sign of life for so long; five times that until its first.",
    )
    @wraps(command)
    def call(jobs: int | None, rank_timeout: float, **options: object) -> int:
        if jobs is None and "WORLD_SIZE" not in os.environ:
            return command(**options, team=None)
        from tui_params.ranks.job import job_of

        line = click.get_current_context().find_root().obj
        job = job_of(jobs, line.arguments if isinstance(line, CommandLine) else sys.argv[1:])
        sources = [str(options[name]) for name in _SOURCES if options.get(name) is not None]
        if job is None or not sources:
            return command(**options, team=None)
        if any(source.startswith("attach:") for source in sources):
            raise click.UsageError("A model of another process is read by one process: --jobs 1.")
        if job.rank:
            return _help(job, rank_timeout, command, options)
        if isinstance(line, CommandLine):
            line.is_of_ranks = job.kind == "torchrun"
        return _lead(job, rank_timeout, command, options)

    return call


class _Stopping:
    """What SIGTERM does to the process that leads: it tells what is known, and says of the rest that it was not read.

    torchrun asks the other ranks to stop as soon as one has failed, and kills them 30 seconds later.
    """

    def __init__(self) -> None:
        self.leader: Leader | None = None
        self._is_asked = False

    def __call__(self, number: int, frame: object) -> None:
        self._is_asked = True
        if self.leader is not None:
            self.leader.stop()

    def lead(self, leader: Leader) -> None:
        """Stop that leader, at once if the signal has come already."""
        self.leader = leader
        if self._is_asked:
            leader.stop()


def _lead(job: Job, rank_timeout: float, command: Callable[..., int], options: dict[str, object]) -> int:
    from tui_params.ranks.joining import lead

    stopping = _Stopping()
    # Before torch is imported, which takes seconds.
    before = signal.signal(signal.SIGTERM, stopping) if job.kind == "torchrun" else None
    leader = None
    try:
        leader = lead(job, rank_timeout, __version__)
        stopping.lead(leader)
        return command(**options, team=leader)
    finally:
        if leader is not None:
            leader.close()
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _help(job: Job, rank_timeout: float, command: Callable[..., int], options: dict[str, object]) -> int:
    """Read the share of this process; what there is to say, process 0 says."""
    from tui_params.ranks.joining import help_out

    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            helper = help_out(job, rank_timeout, __version__)
        except TuiParamsError:
            return OK  # process 0 does not find the others either

        def stop(number: int, frame: object) -> None:
            helper.is_asked_to_stop = True

        if job.kind == "torchrun":
            signal.signal(signal.SIGTERM, stop)
        try:
            command(**options, team=helper)
        except ShareReadError:
            pass
        except (TuiParamsError, click.ClickException) as error:
            helper.refuse(str(error))
    return OK
