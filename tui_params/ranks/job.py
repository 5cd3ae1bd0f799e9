"""Job: which processes read together, as the command line and the environment say."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Literal

import msgspec

from tui_params.core.reading.cores import cores
from tui_params.errors import TeamError
from tui_params.ranks.pipes import VARIABLE

MOST_JOBS = 256


class Job(msgspec.Struct, frozen=True):
    """Process ``rank`` of ``ways``; ``local_ways`` of them are on this machine.

    ``descriptor`` is the pipe of a process that ``--jobs`` has started. ``arguments`` are the command line.
    """

    kind: Literal["torchrun", "jobs"]
    rank: int
    ways: int
    local_ways: int
    descriptor: int | None = None
    arguments: tuple[str, ...] = ()

    @property
    def threads(self) -> int:
        """How many threads of this process read at the same time."""
        return max(1, cores() // self.local_ways)

    @property
    def noun(self) -> str:
        """What the others are called in sentences."""
        return "rank" if self.kind == "torchrun" else "process"


def job_of(
    jobs: int | None,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    program: str | None = None,
) -> Job | None:
    """The job that this process belongs to; None if it reads alone.

    ``jobs`` is what ``--jobs`` says; the environment is that of a torchrun job if torchrun started this very module:
    a command in a script of a rank inherits the variables, and is none. Raises TeamError for variables that make no
    sense.
    """
    found = os.environ if environment is None else environment
    if VARIABLE in found:
        number, ways, descriptor = (int(part) for part in found[VARIABLE].split("/"))
        return Job("jobs", number, ways, ways, descriptor)
    if jobs is not None:
        return Job("jobs", 0, jobs, jobs, arguments=tuple(arguments)) if jobs > 1 else None
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if PurePath(sys.argv[0] if program is None else program).name != "__main__.py" or any(
        name not in found for name in names
    ):
        return None
    try:
        rank, ways = int(found["RANK"]), int(found["WORLD_SIZE"])
        local = int(found.get("LOCAL_WORLD_SIZE", "1"))
    except ValueError:
        raise TeamError("RANK and WORLD_SIZE in the environment are no numbers: torchrun sets them") from None
    if not 0 <= rank < ways:
        raise TeamError(f"RANK is {rank:,} and WORLD_SIZE {ways:,}: torchrun counts ranks from 0")
    return Job("torchrun", rank, ways, max(1, local)) if ways > 1 else None
