"""``tui-params check``: whether every tensor of a source is healthy."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from tui_params.cli.completion import complete_path, complete_threshold
from tui_params.cli.exit_codes import FAILED, FOUND, OK
from tui_params.cli.fetched import say_fetched
from tui_params.cli.fields import CHECK, RULES, epilog
from tui_params.cli.output import Output, complain, finding_entry, write_json
from tui_params.cli.reader_option import Reader, open_chosen, reader_option
from tui_params.cli.team_option import team_option
from tui_params.core.text import plural
from tui_params.sources.given import shown

if TYPE_CHECKING:
    from tui_params.core.health.checker import Report
    from tui_params.core.health.thresholds import Thresholds
    from tui_params.core.reading.sweep import ScanProgress
    from tui_params.core.team import Team


@click.command(name="check", short_help="Look for what is wrong.", epilog=epilog(CHECK, f"With --rules:\n{RULES}"))
@click.argument("source", required=False, shell_complete=complete_path)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning"]),
    default="error",
    show_default=True,
    help="Exit with 1 from this severity on.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table.")
@click.option(
    "--threshold",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a threshold; --rules lists them.",
    shell_complete=complete_threshold,
)
@click.option("--verify", is_flag=True, help="Compare each file with the digest that the Hugging Face Hub gave for it.")
@click.option("--rules", "list_rules", is_flag=True, help="List the rules, their thresholds and sources; read nothing.")
@team_option
@reader_option
def command(
    source: str | None,
    fail_on: str,
    as_json: bool,
    as_markdown: bool,
    changes: tuple[str, ...],
    verify: bool,
    list_rules: bool,
    reader: Reader,
    team: Team | None,
) -> int:
    """Read every tensor of SOURCE and apply every health rule.

    Exit code 0: everything was read, and nothing is wrong at the level of --fail-on. 1: something is wrong. 3: nothing
    wrong was found, but not everything could be read, or there was nothing to check. 2: wrong usage.

    Of a training run, the optimizer and the other states are checked with the model. Files and folders beside it that
    are not opened (args.pkl, other steps) are listed as not read and do not change the exit code. Check them by their
    paths.

    --verify needs no network: the digest is the name of a blob in the cache of the hub, or stands in
    .cache/huggingface/ of a download to a folder. A file of which none is known is not verified: exit code 3.

    A threshold is taken from --threshold, else from "thresholds" in config.json, else from the defaults.
    """
    thresholds = thresholds_of(changes)
    if as_json and as_markdown:
        raise click.UsageError("--json and --markdown exclude each other.")
    if list_rules:
        from tui_params.cli.rules import print_rules

        print_rules(thresholds, as_json=as_json, as_markdown=as_markdown)
        return OK
    if source is None:
        raise click.UsageError("Missing argument 'SOURCE'.")
    form = "json" if as_json else "markdown" if as_markdown else "text"
    return _check(source, fail_on, thresholds, form, verify=verify, reader=reader, team=team)


def thresholds_of(changes: Sequence[str]) -> Thresholds:
    """The thresholds of config.json, with changes such as ``abs_max_warning=2e4``. Raises BadParameter."""
    from tui_params.core.health.thresholds import with_threshold
    from tui_params.settings import load_limits

    thresholds, complaint = load_limits()
    if complaint is not None:
        complain(complaint)
    for change in changes:
        name, equals, value = change.partition("=")
        try:
            if not equals:
                raise ValueError(f"{change!r} is not NAME=VALUE")
            thresholds = with_threshold(thresholds, name, float(value))
        except ValueError as error:
            sentence = f"{value!r} is not a number" if "could not convert" in str(error) else str(error)
            raise click.BadParameter(sentence, param_hint="--threshold") from None
    return thresholds


def _check(
    path: str, fail_on: str, thresholds: Thresholds, form: str, *, verify: bool, reader: Reader, team: Team | None
) -> int:
    from tui_params.core.health.checker import check

    with open_chosen(path, reader, team) as opened:
        show = CheckProgress() if sys.stderr.isatty() else None
        try:
            report = check(opened, thresholds=thresholds, progress=show, verify=verify, team=team)
        finally:
            if show is not None:
                show.clear()
        if form == "json":
            write_json(document(path, report))
        elif form == "markdown":
            from tui_params.cli.check_text import markdown

            Output().lines(markdown(opened, report))
        else:
            from tui_params.cli.check_text import lines

            output = Output()
            output.lines(lines(opened, report, output))
        say_fetched(opened)
    code = exit_code(report, fail_on)
    if code == FAILED and form != "text":
        from tui_params.core.health.report_text import unchecked_words

        if report.has_nothing:
            complain(f"{shown(path)}: nothing was checked")
        elif report.unchecked:
            complain(f"{shown(path)}: {unchecked_words(report)} could not be checked")
        if report.unverified:
            complain(f"{shown(path)}: {plural(report.unverified, 'file')} could not be verified")
    return code


def exit_code(report: Report, fail_on: str) -> int:
    """1 if there is a finding at the level or above it; else 3 if not everything was read or verified; else 0."""
    levels = ("error",) if fail_on == "error" else ("error", "warning")
    if any(finding.severity in levels for finding in report.findings):
        return FOUND
    return FAILED if report.unchecked or report.unverified else OK


def document(path: str, report: Report) -> dict[str, Any]:
    """The document of ``--json``."""
    return {
        "source": shown(path),
        "status": report.status,
        "checked": report.checked,
        "findings": [finding_entry(finding) for finding in report.findings],
        "unchecked": [
            {"tensor": entry.tensor, "file": entry.file, "reason": entry.reason} for entry in report.unchecked
        ],
        "tensors": len(report.names),
        "empty": report.empty,
        "gradients": report.gradients,
        "as_codes": report.as_codes,
        "not_opened": report.not_opened,
        "files": [
            {
                "file": file.file,
                "state": file.state,
                "algorithm": file.algorithm,
                "expected": file.expected,
                "actual": file.actual,
                "reason": file.reason,
            }
            for file in report.files
        ],
    }


class CheckProgress:
    """The progress of a scan, as one line of a terminal."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def __call__(self, progress: ScanProgress) -> None:
        print(f"\r\x1b[K{''.join(self._parts(progress))}", end="", file=sys.stderr, flush=True)

    def _parts(self, progress: ScanProgress) -> Iterator[str]:
        from tui_params.core.text import duration, percent, size

        # The rate counts from the first bytes, without the start before them.
        began, before = self._first = self._first or (monotonic(), progress.done_bytes)
        taken, read = monotonic() - began, progress.done_bytes - before
        yield f"{percent(progress.done_bytes, progress.total_bytes)}"
        yield f"  {size(progress.done_bytes)} of {size(progress.total_bytes)}"
        if taken > 0.3 and read > 0:
            left = (progress.total_bytes - progress.done_bytes) * taken / read
            yield f"  {size(int(read / taken))}/s  {duration(left)} left"

    def clear(self) -> None:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
