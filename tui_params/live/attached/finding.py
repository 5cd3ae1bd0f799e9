"""The models of this user that can be attached to: those that a process serves at a socket."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from tui_params.core.text import clean
from tui_params.errors import OpenError, TuiParamsError
from tui_params.live.attached.connection import Connection
from tui_params.live.attached.replies import Hello, shared
from tui_params.live.attached.shared import StepPage
from tui_params.live.attached.stale import remove_stale
from tui_params.live.inside.runtime_folder import SUFFIX, folder_path, why_unsafe

_NUMBER_AT_END = re.compile(r"(.*?)([0-9]{1,9})", re.DOTALL)

HELLO_SECONDS = 2.0
"""How long one process may take to say who it is, while a list is made."""


class Serving(msgspec.Struct, frozen=True):
    """A process that serves a model. ``since`` is in seconds since 1970; ``age`` as in ``core.source.Beat``.

    ``held`` is the step at whose end a viewer holds it, 0 if none does.
    ``reason`` is set instead if it does not answer: all else is unknown then but ``path`` and ``pid``. ``host`` is the
    address of another machine; then ``path`` is only a name.
    """

    path: Path
    pid: int
    name: str = ""
    model: str = ""
    since: float = 0.0
    steps: int = 0
    age: float | None = None
    rank: int | None = None
    world_size: int | None = None
    command: str = ""
    reason: str | None = None
    held: int = 0
    host: str = ""

    @property
    def number(self) -> str:
        """What names it alone: the PID, and for a second model of one process ``PID-2``."""
        return self.path.name.removesuffix(SUFFIX)


def find_serving(uid: int = -1) -> list[Serving]:
    """The processes of a user, by default this one, that serve a model, the latest first.

    Raises OpenError if the folder is not safe.
    """
    folder = Path(folder_path(uid))
    if not os.path.lexists(folder):
        return []
    reason = why_unsafe(str(folder), uid)
    if reason is not None:
        raise OpenError(f"{folder} {reason}: nothing in it is trusted")
    found = [describe(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    return sorted((each for each in found if each is not None), key=lambda each: -each.since)


def describe(path: Path) -> Serving | None:
    """Who serves at a socket; None if nobody does any more."""
    pid = int(path.name.partition(".")[0].partition("-")[0]) if path.name[:1].isdigit() else 0
    try:
        connection = Connection(path, HELLO_SECONDS)
    except OpenError as error:
        if remove_stale(path):
            return None  # killed, and its socket was left behind
        return Serving(path, pid, reason=_stopped(pid) or str(error))
    try:
        hello, descriptor = shared(connection.ask_shared({"ask": "hello"}), Hello, "the page of its steps")
        page = StepPage(descriptor)
        steps, age, held = page.steps, page.age, page.held
        page.close()
    except TuiParamsError as error:
        return Serving(path, pid, reason=_stopped(pid) or str(error))
    finally:
        connection.close()
    return Serving(
        path,
        hello.pid,
        clean(hello.name, 80),
        clean(hello.model, 80),
        hello.since,
        steps,
        age,
        hello.rank,
        hello.world_size,
        " ".join(clean(word, 200) for word in hello.command[:20]),
        held=held,
    )


def _stopped(pid: int, proc: Path = Path("/proc")) -> str | None:
    """That a process does not run because it was stopped, if the kernel says so (proc_pid_stat(5)); else None."""
    try:
        # Behind the name of the program, in which there may be parentheses too.
        state = (proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return None
    if state == b"t":
        return "it is stopped by a debugger"
    return f"it is stopped (ctrl+z, SIGSTOP): kill -CONT {pid} lets it go on" if state == b"T" else None


def jobs_of(found: list[Serving]) -> list[dict[int, Serving]]:
    """The jobs of which ranks are served, each as its ranks by their number, the latest first.

    Ranks with the same name, size and command are one job. So are those whose commands differ by the rank alone
    (``--local-rank=0``, ``--local-rank=1``), as long as they lack each other: two whole jobs are never mixed. Nor are
    those of two machines that have the same rank.
    """
    same: dict[tuple[object, ...], dict[int, Serving]] = {}
    alike: dict[tuple[object, ...], list[Serving]] = {}
    for each in found:
        if each.rank is not None and each.reason is None:
            alike.setdefault((each.name, each.world_size, each.command), []).append(each)
    for key, group in alike.items():
        places = {(each.rank, each.host) for each in group}
        is_one = len(places) == len({rank for rank, _ in places})
        for each in group:
            ranks = same.setdefault((*key, "" if is_one else each.host), {})
            ranks.setdefault(each.rank or 0, each)  # the latest comes first
    jobs: list[dict[int, Serving]] = []
    for ranks in same.values():
        fitting = next((job for job in jobs if _are_parts(job, ranks)), None)
        if fitting is None:
            jobs.append(ranks)
        else:
            fitting |= ranks
    return [dict(sorted(job.items())) for job in jobs]


def _are_parts(job: dict[int, Serving], other: dict[int, Serving]) -> bool:
    """Whether two groups of ranks are parts of one job, in whose commands each rank has its own number."""
    a, b = next(iter(job.values())), next(iter(other.values()))
    if job.keys() & other.keys() or (a.name, a.world_size) != (b.name, b.world_size):
        return False
    if len(job) + len(other) > (a.world_size or 0):
        return False
    words = a.command.split(), b.command.split()
    ranks = a.rank or 0, b.rank or 0
    return len(words[0]) == len(words[1]) and all(_is_rank(ranks, *pair) for pair in zip(*words, strict=True))


def _is_rank(ranks: tuple[int, int], word: str, other: str) -> bool:
    """Whether two words are the same, or end with the numbers of their ranks (those on a machine, if they say so)."""
    if word == other:
        return True
    parts = _NUMBER_AT_END.fullmatch(word), _NUMBER_AT_END.fullmatch(other)
    if parts[0] is None or parts[1] is None or parts[0][1] != parts[1][1]:
        return False
    numbers = int(parts[0][2]), int(parts[1][2])
    return numbers == ranks or ("rank" in word and numbers[0] - numbers[1] == ranks[0] - ranks[1])


def ranks_of(found: list[Serving], wanted: str | None, place: str = "here") -> dict[int, Serving]:
    """The ranks of one job by their number: of the only one, or of the one that a PID or a name means.

    ``place`` is where they were looked for. Raises OpenError.
    """
    jobs = jobs_of(found)
    if wanted is not None:
        matching = [ranks for ranks in jobs if any(wanted in (each.number, each.name) for each in ranks.values())]
        if not matching:
            choose(found, wanted)  # says so if there is none at all
            raise OpenError(f"{clean(wanted, 80)!r} is no rank of a job: RANK and WORLD_SIZE are not set there")
    else:
        matching = jobs
    if not matching:
        raise OpenError(
            f"no rank of a job is served {place}: torchrun sets RANK and WORLD_SIZE, by which ranks are known"
        )
    if len(matching) > 1:
        firsts = [ranks[min(ranks)] for ranks in matching]
        names = ", ".join(sorted(f"{each.host}/{each.number}" if each.host else each.number for each in firsts)[:8])
        raise OpenError(f"{len(matching)} jobs are served: choose by the number of one of their ranks ({names})")
    return matching[0]


def choose(found: list[Serving], wanted: str) -> Serving:
    """The one that a PID or a name means. Raises OpenError, which says what there is."""
    matching = [each for each in found if wanted == each.number]
    matching = matching or [each for each in found if wanted == each.name]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        known = ", ".join(f"{each.number} ({each.name or 'it does not answer'})" for each in found[:8]) or "none"
        if wanted.isdecimal():
            raise OpenError(f"process {clean(wanted, 20)} serves no model; serving: {known}")
        raise OpenError(
            f"no process with the number or the name {clean(wanted, 80)!r} serves a model; serving: {known}"
        )
    numbers = ", ".join(each.number for each in matching[:8])
    raise OpenError(f"{len(matching)} models are named {clean(wanted, 80)!r}: choose by the number ({numbers})")
