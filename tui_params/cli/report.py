"""``tui-params report``: one file that says what there is, what is wrong, and what changed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from tui_params import __version__
from tui_params.cli.check import CheckProgress, thresholds_of
from tui_params.cli.check import exit_code as code_of_check
from tui_params.cli.compare_progress import CompareProgress
from tui_params.cli.completion import complete_path
from tui_params.cli.exit_codes import FAILED, FOUND, OK
from tui_params.cli.new_file import write_new
from tui_params.cli.reader_option import (
    AS_STORED,
    Reader,
    checked,
    chosen_reader,
    complete_format,
    logical_option,
    open_chosen,
)
from tui_params.errors import WriteError

if TYPE_CHECKING:
    from tui_params.core.compare.verdict import Progress
    from tui_params.core.export.contents import Contents
    from tui_params.core.reading.readable import FileStamp
    from tui_params.core.reading.sweep import ScanProgress
    from tui_params.core.source import Source
    from tui_params.reports.facts import Facts

FORMS = ("html", "md")
_SUFFIXES = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md"}


def complete_form(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The formats that are written, and those that are read."""
    written = [CompletionItem(form) for form in FORMS if form.startswith(incomplete)]
    return [*written, *complete_format(context, parameter, incomplete)]


@click.command(name="report", short_help="Write a report as one HTML page, or as Markdown.")
@click.argument("sources", metavar="SOURCE [OTHER]...", nargs=-1, required=True, shell_complete=complete_path)
@click.option("-o", "--output", "path", metavar="FILE", help="Write to FILE, which ends in .html or .md.")
@click.option(
    "--format",
    "form",
    metavar="html|md",
    shell_complete=complete_form,
    help="A page, or Markdown for a pull request (without it, what FILE ends in; else html). With any other name it is"
    " the format that SOURCE is read as.",
)
@click.option("--force", is_flag=True, help="Write over FILE if it is there.")
@logical_option
@click.pass_context
def command(
    context: click.Context, sources: tuple[str, ...], path: str | None, form: str | None, force: bool, is_logical: bool
) -> int:
    """Write what is in SOURCE, what is wrong with it, and what changed, as one file to keep or to send.

    Of one source: totals, what check finds, its kinds, and its layers as a picture. Of two, also what diff says of
    them. Of three or more, or of the folder of a run, also what timeline says of them; the rest is then about the
    newest step that can be opened. Every element is read, as these commands do, and the figures are the same.

    The page is one file: it loads nothing, has no script, opens without a network, and prints. Markdown has less than
    60 kB. Without -o, it is printed.

    Exit code 0: everything was read, and there is no error, no difference and no NaN. 1: there is one. 3: there is
    none, and not everything could be read or compared; or something could not be opened, and nothing is written.
    2: wrong usage.
    """
    reader = chosen_reader(context)
    if form is not None and form not in FORMS:
        reader = Reader(checked(context, None, form), is_logical or reader.is_logical)
        form = None
    form = _form(path, form)
    if path is None and form == "html" and sys.stdout.isatty():
        raise WriteError("a page is for a browser, not for a terminal: add -o FILE, or --format md")
    from tui_params.reports.facts import run_of

    is_run = run_of(sources) is not None
    if is_run and reader != AS_STORED:
        raise click.UsageError("--logical and a format to read as are for one source or two, not for a run.")
    found: list[Facts] = []
    with ExitStack() as stack:
        opened = [] if is_run else [stack.enter_context(open_chosen(source, reader)) for source in sources]

        def make() -> Contents:
            from tui_params.core.export.contents import Contents

            found.append(_gathered(opened or sources))
            return Contents(piece.encode() for piece in _pieces(found[0], form))

        if path is not None:
            write_new(path, make, _files(opened), may_replace=force)
        else:
            for piece in make().pieces:
                sys.stdout.write(bytes(piece).decode())
    return exit_code(found[0])


def _form(path: str | None, form: str | None) -> str:
    """The format: the one that was asked for, else that of the file's suffix. Raises BadParameter."""
    if path is None:
        return form or "html"
    # Also so that a slip of the hand never writes over a checkpoint.
    of_suffix = _SUFFIXES.get(os.path.splitext(path)[1].lower())
    if of_suffix is None:
        raise click.BadParameter(f"{path!r} ends neither in .html nor in .md", param_hint="-o")
    if form is not None and form != of_suffix:
        raise click.BadParameter(f"{path!r} is no file for {form}", param_hint="-o")
    return of_suffix


def _gathered(targets: Sequence[Source | str]) -> Facts:
    from tui_params.reports.facts import gather

    show = _Progress() if sys.stderr.isatty() else None
    try:
        return gather(targets, thresholds=thresholds_of(()), progress=show)
    finally:
        if show is not None:
            show.clear()


def _pieces(facts: Facts, form: str) -> Iterator[str]:
    if form == "md":
        from tui_params.reports.markdown import markdown

        yield markdown(facts)
        return
    from tui_params.reports.page import page

    yield from page(facts, f"{__version__} on {time.strftime('%Y-%m-%d at %H:%M')}")


def _files(opened: Sequence[Source]) -> Iterator[FileStamp]:
    """The files that the sources are read from."""
    for source in opened:
        for info in source.listing.tensors:
            found = source.data_file(info)
            if found is not None:
                yield found[0]


def exit_code(facts: Facts) -> int:
    """1 if the answer of any part is no; else 3 if not everything could be read or compared; else 0."""
    codes = [code_of_check(one.report, "error") for one in facts.checked]
    if facts.comparison is not None:
        codes.append({"same": OK, "different": FOUND, "uncompared": FAILED}[facts.comparison.state])
    if facts.timeline is not None:
        codes.append(FOUND if facts.timeline.first_broken is not None else FAILED if facts.timeline.unread else OK)
    return FOUND if FOUND in codes else FAILED if FAILED in codes else OK


class _Progress:
    """How far the check, the comparison or the reading of a run is, as one line of a terminal."""

    def __init__(self) -> None:
        self._check = CheckProgress()
        self._compare: CompareProgress | None = None

    def __call__(self, progress: ScanProgress | Progress) -> None:
        from tui_params.core.reading.sweep import ScanProgress

        if isinstance(progress, ScanProgress):
            self._check(progress)
            return
        self._compare = self._compare or CompareProgress()
        self._compare(progress)

    def clear(self) -> None:
        self._check.clear()
