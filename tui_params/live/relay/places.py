"""Places: this machine and others, where models are served: what is served there, and what opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tui_params.core.text import clean
from tui_params.errors import OpenError, ReadError
from tui_params.live.attached.finding import Serving, choose, find_serving, ranks_of
from tui_params.live.attached.replies import understood
from tui_params.live.attached.trained import TrainedSource
from tui_params.live.inside.runtime_folder import SUFFIX
from tui_params.live.relay import messages as m
from tui_params.live.relay.address import Host, is_far, parse_far
from tui_params.live.relay.source import LIST_SECONDS, RelayedSource
from tui_params.live.relay.stream import join, joined, leave
from tui_params.live.watching.job import JobSource
from tui_params.live.watching.source import WatchedSource

ALL = "all"
"""All ranks of a job, ``all``, or ``all:NAME`` where there are several jobs."""

HERE = "."
"""This machine, among the addresses of others."""


def find_far(host: Host) -> list[Serving]:
    """What is served on a host. Raises OpenError."""
    return _asked(host, m.Find)


def enter_far(host: Host, pid: int) -> Serving:
    """Have a process of a host serve its models; the largest of them. Raises OpenError."""
    return _asked(host, partial(m.Enter, pid=pid))[-1]


def _asked(host: Host, make: Callable[[int], m.Question]) -> list[Serving]:
    with joined(host) as stream:
        try:
            entries = understood(stream.ask_one(make, LIST_SECONDS), m.Entries).serving
        except ReadError as error:
            raise OpenError(f"{clean(host.name, 80)}: {error}") from error
    return [_serving(host, entry) for entry in entries]


def _serving(host: Host, entry: m.Entry) -> Serving:
    number = entry.number.replace("/", "")
    return Serving(
        Path(host.text, f"{number}{SUFFIX}"),
        entry.pid,
        clean(entry.name, 80),
        clean(entry.model, 80),
        entry.since,
        entry.steps,
        entry.age,
        entry.rank,
        entry.world_size,
        clean(entry.command, 4000),
        None if entry.reason is None else clean(entry.reason, 400),
        entry.held,
        host.text,
    )


def open_serving(serving: Serving) -> TrainedSource:
    """The model that is served, wherever it is. Raises OpenError."""
    if serving.host:
        return RelayedSource(parse_far(serving.host)[0], serving.number)
    return WatchedSource(serving.path)


def open_far(address: str) -> TrainedSource:
    """The model that an address means: of a host that serves one alone, without a name. Raises OpenError."""
    host, which = parse_far(address)
    with joined(host):
        return open_serving(choose_far(host, which))


def choose_far(host: Host, which: str) -> Serving:
    """The model of a host that a PID or a name means; a process that serves nothing is entered. Raises OpenError."""
    found = find_far(host)
    if which.isdecimal() and not any(each.pid == int(which) for each in found):
        return enter_far(host, int(which))
    if which:
        return choose(found, which)
    if len(found) == 1:
        return found[0]
    name = clean(host.name, 80)
    if not found:
        raise OpenError(f"no process of yours serves a model on {name}: tui_params.serve(model, optimizer) does")
    raise OpenError(f"{len(found)} models are served on {name}: say which one, as {host.text}/PID")


def find_ranks(words: str) -> dict[int, Serving]:
    """The ranks of one job by number. ``words`` are those after ``attach:all``: a PID or a NAME of this machine, or
    addresses and HERE, separated by commas, each with the PID or the NAME of a rank if it needs one. Raises OpenError.
    """
    places = words.split(",")
    if not all(place == HERE or is_far(place) for place in places):
        return ranks_of(find_serving(), words or None)
    wanted = {parse_far(place)[1] for place in places if is_far(place)} - {""}
    if len(wanted) > 1:
        raise OpenError(f"{len(wanted)} jobs are named ({clean(', '.join(sorted(wanted)), 200)}): name one")
    where = "on any of these machines" if len(places) > 1 else "there"
    return ranks_of(find_places(words), next(iter(wanted), None), where)


def find_places(words: str) -> list[Serving]:
    """What is served at addresses and HERE, separated by commas, the latest first. Raises OpenError.

    A process that is reached by two of them is one.
    """
    hosts = dict.fromkeys(None if place == HERE else parse_far(place)[0] for place in words.split(","))
    with ThreadPoolExecutor(len(hosts)) as pool:
        asked = [pool.submit(find_serving) if host is None else pool.submit(find_far, host) for host in hosts]
        found = [each for one in asked for each in one.result()]
    once: dict[object, Serving] = {}
    for each in found:
        once.setdefault((each.number, each.since, each.command, each.host if each.reason else ""), each)
    return sorted(once.values(), key=lambda each: -each.since)


def open_job(words: str) -> JobSource:
    """All ranks of one job; ``words`` as for ``find_ranks``. Raises OpenError."""
    with all_joined(words):
        return _open_job(find_ranks(words))


@contextmanager
def all_joined(words: str) -> Iterator[None]:
    """Inside a ``with``, what is asked of the machines of these addresses logs in once. Raises OpenError."""
    hosts = dict.fromkeys(parse_far(place)[0] for place in words.split(",") if is_far(place))
    with ExitStack() as stack:
        if hosts:
            with ThreadPoolExecutor(len(hosts)) as pool:
                for stream in [pool.submit(join, host) for host in hosts]:
                    stack.callback(leave, stream.result())
        yield


def _open_job(ranks: dict[int, Serving]) -> JobSource:
    any_rank = next(iter(ranks.values()))
    hosts = dict.fromkeys(each.host for each in ranks.values())
    names = [parse_far(host)[0].name if host else "this machine" for host in hosts]
    openers = {rank: partial(open_serving, each) for rank, each in ranks.items()}
    return JobSource(openers, any_rank.world_size or len(ranks), any_rank.name, f"on {clean(' and '.join(names), 200)}")


def open_attached(words: str) -> TrainedSource | JobSource:
    """What the words after ``attach:`` mean: a PID, a NAME, an address, or ranks. Raises OpenError."""
    if words == ALL or words.startswith(f"{ALL}:"):
        return open_job(words.removeprefix(ALL).removeprefix(":"))
    if is_far(words):
        return open_far(words)
    return open_serving(choose(find_serving(), words))
