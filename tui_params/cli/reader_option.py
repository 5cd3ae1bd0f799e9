"""``--format NAME`` and ``--logical``: how SOURCE is read, before the command or behind it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING

import click
import msgspec
from click.shell_completion import CompletionItem

from tui_params.errors import UnknownFormatError

if TYPE_CHECKING:
    from tui_params.core.source import Source
    from tui_params.core.team import Team


class Reader(msgspec.Struct, frozen=True):
    """How a source is read: as the format of that name, if one is given; with packed weights as what they mean."""

    format: str | None = None
    is_logical: bool = False


AS_STORED = Reader()


def checked(context: click.Context, parameter: click.Parameter | None, value: str | None) -> str | None:
    """The name of a format that there is. Raises BadParameter for any other."""
    if value is not None:
        from tui_params.sources.detect import READERS
        from tui_params.sources.plugins import reader_named
        from tui_params.sources.row import Reader as Row

        try:
            reader_named(value, [row for row in READERS if isinstance(row, Row)])
        except UnknownFormatError as error:
            raise click.BadParameter(str(error), context, parameter) from None
    return value


def complete_format(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of the formats that can be opened."""
    from tui_params.sources.detect import describe_formats

    return [CompletionItem(name) for name, _ in describe_formats() if name.startswith(incomplete)]


logical_option = click.option(
    "--logical",
    "is_logical",
    is_flag=True,
    help="Show packed (quantised) weights as the values that they mean.",
)


def reader_option(command: Callable[..., int]) -> Callable[..., int]:
    """The options of every command that opens something, which gets them as ``reader``."""

    @click.option(
        "--format",
        "reader_format",
        metavar="NAME",
        callback=checked,
        shell_complete=complete_format,
        help="Read it as this format, whatever it looks like; tui-params --help lists them.",
    )
    @logical_option
    @wraps(command)
    def call(reader_format: str | None, is_logical: bool, **options: object) -> int:
        return command(**options, reader=chosen_reader(click.get_current_context()))

    return call


def chosen_reader(context: click.Context) -> Reader:
    """What was chosen behind a command, else before it."""
    form, is_logical = None, False
    for at in (context, context.find_root()):
        form = form or at.params.get("reader_format")
        is_logical = is_logical or bool(at.params.get("is_logical"))
    return Reader(form, is_logical)


def open_chosen(path: str, reader: Reader, team: Team | None = None) -> Source:
    """The source at a path, read as was chosen, perhaps by a team. Raises OpenError."""
    from tui_params.api.opening import open_source

    source = open_source(path) if reader.format is None else open_source(path, format=reader.format)
    if reader.is_logical:
        from tui_params.core.packed.logical import LogicalSource

        source = LogicalSource(source)
    return source if team is None else team.guard(source)
