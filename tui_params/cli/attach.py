"""``tui-params attach``: the models that processes of this user serve, and the explorer on one of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import quote

import click

from tui_params.cli.completion import complete_serving
from tui_params.cli.exit_codes import OK
from tui_params.cli.fields import ATTACH, epilog
from tui_params.cli.output import Output, write_json
from tui_params.cli.served import choose_served, is_to_be_entered, nothing_served
from tui_params.core import text
from tui_params.errors import OpenError
from tui_params.live.attached.finding import Serving, choose, find_serving, jobs_of
from tui_params.live.relay.address import is_far, parse_far
from tui_params.live.relay.places import HERE, all_joined, choose_far, find_places, find_ranks


@click.command(name="attach", short_help="Look at a model that is training.", epilog=epilog(ATTACH))
@click.argument("words", metavar="[PID | NAME | ssh://HOST[/PID|/NAME]]...", nargs=-1, shell_complete=complete_serving)
@click.option("--all", "all_ranks", is_flag=True, help="Open all ranks of a job as one tree.")
@click.option("--list", "only_list", is_flag=True, help="List the models and open none.")
@click.option(
    "--dry-run", is_flag=True, help="Print what would be run in a process that serves nothing, and run nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print the list as one JSON document.")
def command(words: tuple[str, ...], all_ranks: bool, only_list: bool, dry_run: bool, as_json: bool) -> int:
    """Open the explorer on the model of a process while it trains.

    Without PID or NAME the only model that is served (tui_params.serve) is opened; of several, the list is printed. A
    process with that PID that serves nothing is entered: by sys.remote_exec where both Pythons are 3.14 or newer, else
    by gdb. It then serves its models until nobody has looked for a minute. Other commands take a served model as the
    source attach:PID.

    ssh://host, ssh://user@host:port and names of ~/.ssh/config are other machines, on which `ssh` runs `tui-params
    relay`: through that one connection everything is read, and no port is opened. The PID or the name follows, as
    ssh://host/PID. If tui-params is not in the PATH there, TUI_PARAMS_RELAY=/path/to/tui-params says where it is.
    Other commands take attach:ssh://host/PID.

    With --all, PID or NAME mean any rank of a job, and may be left out if there is one job. Below rank0, rank1 and so
    on is the model of each; parameters of ranks that are replicas and differ after the same step are marked. Other
    commands take the source attach:all. Ranks on several machines: --all ssh://one ssh://two, and . is this one
    (attach:all:ssh://one,ssh://two).
    """
    are_places = bool(words) and all(word == HERE or is_far(word) for word in words)
    if len(words) > 1 and not (are_places and (all_ranks or only_list or as_json)):
        raise click.UsageError(
            "one model is opened at a time; with --all and --list, several addresses: ssh://one ssh://two"
        )
    which = words[0] if words else None
    if dry_run:
        if are_places:
            raise click.UsageError(
                "--dry-run is for processes of this machine: ssh HOST tui-params attach --dry-run PID"
            )
        return _dry_run(which)
    if are_places:
        return _attach_at(words, all_ranks=all_ranks, only_list=only_list, as_json=as_json)
    if all_ranks and not as_json:
        ranks = find_ranks(which or "")
        return open_serving("all" if which is None else f"all:{next(iter(ranks.values())).number}")
    return _attach(which, only_list=only_list, as_json=as_json)


def _attach(which: str | None, *, only_list: bool, as_json: bool) -> int:
    found = find_serving()
    if as_json:
        write_json({"serving": [_entry(each) for each in found]})
        return OK
    if which is None and (only_list or len(found) != 1):
        if not found:
            raise nothing_served()
        Output().lines(_lines(found))
        return OK
    chosen = choose_served(found, which)
    # By its name it is found again after a restart.
    return open_serving(which if which is not None and which == chosen.name else chosen.number)


def _attach_at(addresses: tuple[str, ...], *, all_ranks: bool, only_list: bool, as_json: bool) -> int:
    """The explorer on what addresses mean, or the list of what is served on these machines."""
    place = ",".join(word.replace(",", "%2C") for word in addresses)
    which = parse_far(addresses[0])[1] if is_far(addresses[0]) else ""
    with all_joined(place):
        if only_list or as_json or not (all_ranks or which):
            found = find_places(place)
            if as_json:
                write_json({"serving": [_entry(each) for each in found]})
                return OK
            if only_list or len(found) > 1:
                Output().lines(_lines(found))
                return OK
        if all_ranks:
            find_ranks(place)
            return open_serving(f"all:{place}")
        if addresses[0] == HERE:
            return _attach(None, only_list=False, as_json=False)
        host, which = parse_far(addresses[0])
        chosen = choose_far(host, which)
        name = which if which and which == chosen.name else chosen.number
        return open_serving(f"{host.text}/{quote(name, safe=' ')}")


def _dry_run(which: str | None) -> int:
    found = find_serving()
    if which is None and len(found) != 1:
        raise click.UsageError("--dry-run wants the PID of a process, or the name of one that serves a model")
    if which is not None and is_to_be_entered(found, which):
        from tui_params.live.injection.entering import plan

        click.echo(plan(int(which)))
        return OK
    served = found[0] if which is None else choose(found, which)
    if served.reason is not None:
        raise OpenError(f"process {served.pid} does not answer: {served.reason}")
    name = f" ({served.name})" if served.name else ""
    click.echo(f"process {served.pid}{name} serves a model already: nothing would be run in it")
    return OK


def open_serving(number: str) -> int:
    """The explorer on a model that is served, or its list where there is no terminal; the exit code."""
    from tui_params.cli.terminal import open_explorer

    name = f"attach:{number}"
    code = open_explorer(name)
    if code is None:
        from tui_params.cli.ls import list_tensors

        list_tensors(name, as_json=False)
        return OK
    return code


def _entry(each: Serving) -> dict[str, object]:
    return {
        "pid": each.pid,
        "name": each.name,
        "model": each.model,
        "since": each.since,
        "steps": each.steps,
        "age": each.age,
        "held": each.held or None,
        "rank": each.rank,
        "world_size": each.world_size,
        "command": each.command,
        "reason": each.reason,
        "host": each.host or None,
    }


def _lines(found: list[Serving]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("PID", "NAME", "MODEL", "RANK", "STEPS", "LAST STEP", "SINCE", "COMMAND")]
    rows += [_row(each) for each in _by_job(found)]
    hosts = [each.host for each in _by_job(found)]
    if len({*hosts}) > 1:
        rows = [(where, *row) for where, row in zip(["HOST", *hosts], rows, strict=True)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _by_job(found: list[Serving]) -> list[Serving]:
    """The latest first, but the ranks of a job together and in their order."""
    job_of = {each.path: number for number, job in enumerate(jobs_of(found)) for each in job.values()}
    places: dict[object, int] = {}
    for place, each in enumerate(found):
        places.setdefault(job_of.get(each.path, each.path), place)
    return sorted(found, key=lambda each: (places[job_of.get(each.path, each.path)], each.rank or 0))


def _last_step(each: Serving) -> str:
    if each.age is None:
        return "not counted now" if each.steps else "none yet"
    return f"{text.duration(each.age)} ago{', held' if each.held else ''}"


def _row(each: Serving) -> tuple[str, ...]:
    if each.reason is not None:
        return each.number, "?", "", "", "", "", "", each.reason
    rank = "" if each.rank is None else f"{each.rank} of {each.world_size}"
    since = time.strftime("%H:%M:%S", time.localtime(each.since))
    return (
        each.number,
        each.name,
        each.model,
        rank,
        f"{each.steps:,}",
        _last_step(each),
        since,
        each.command,
    )
