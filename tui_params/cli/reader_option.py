"""``--format NAME``: the format that SOURCE is read as, before the command or behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from tui_params.errors import UnknownFormatError

if TYPE_CHECKING:
    from tui_params.core.source import Source


def _or_that_of_the_group(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    found: str | None = context.find_root().params.get("reader") if value is None else value
    if value is not None:
        from tui_params.sources.detect import READERS
        from tui_params.sources.plugins import reader_named
        from tui_params.sources.row import Reader

        try:
            reader_named(value, [row for row in READERS if isinstance(row, Reader)])
        except UnknownFormatError as error:
            raise click.BadParameter(str(error), context, parameter) from None
    return found


def complete_format(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of the formats that can be opened."""
    from tui_params.sources.detect import describe_formats

    return [CompletionItem(name) for name, _ in describe_formats() if name.startswith(incomplete)]


reader_option = click.option(
    "--format",
    "reader",
    metavar="NAME",
    callback=_or_that_of_the_group,
    shell_complete=complete_format,
    help="Read it as this format, whatever it looks like; tui-params --help lists them.",
)
"""The option of every command that opens something."""


def open_chosen(path: str, reader: str | None) -> Source:
    """The source at a path, read as the format that was chosen, if one was. Raises OpenError."""
    from tui_params.api.opening import open_source

    return open_source(path) if reader is None else open_source(path, format=reader)
