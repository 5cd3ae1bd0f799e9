"""``tui-params values``: the values of a tensor, or of a slice of it."""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from tui_params.cli.completion import complete_name, complete_path
from tui_params.cli.exit_codes import OK
from tui_params.cli.fetched import say_fetched
from tui_params.cli.fields import VALUES, epilog
from tui_params.cli.new_file import write_new
from tui_params.cli.output import PLAIN_WIDTH, Output, encode_json
from tui_params.cli.reader_option import Reader, checked, chosen_reader, complete_format, logical_option, open_chosen
from tui_params.cli.selection import find
from tui_params.core import text
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis, make_window, parse_window
from tui_params.errors import WriteError

if TYPE_CHECKING:
    from tui_params.core.export.contents import Contents
    from tui_params.core.reading.grid import Grid

FORMS = ("table", "json", "csv", "npy", "md")

_PLAIN_ROWS = 40
_AT_ONCE = 1 << 16
"""How many elements are read and turned into Python numbers at a time."""

_STYLES = {"nan": "bold red", "inf": "bold red", "zero": "dim", "": ""}


def complete_form(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The formats that are printed, and those that are read."""
    printed = [CompletionItem(form) for form in FORMS if form.startswith(incomplete)]
    read = complete_format(context, parameter, incomplete)
    return [*printed, *(item for item in read if item.value not in FORMS)]


# A slice may begin with a dash (-5:), which is no option.
@click.command(
    name="values",
    short_help="Print the values of a tensor.",
    context_settings={"ignore_unknown_options": True},
    epilog=epilog(VALUES),
)
@click.argument("source", shell_complete=complete_path)
@click.argument("name", shell_complete=complete_name)
@click.argument("slice_", metavar="[SLICE]", nargs=-1, type=click.UNPROCESSED)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--format",
    "form",
    metavar="table|json|csv|npy|md",
    shell_complete=complete_form,
    help="Print a table (as many values as fit), or every value as json, csv, npy or md. Before the command"
    " it is the format that SOURCE is read as; so it is here with any other name.",
)
@click.option("-o", "--output", "path", metavar="FILE", help="Write to FILE; its suffix chooses the format.")
@click.option("--force", is_flag=True, help="Write over FILE if it is there.")
@logical_option
@click.pass_context
def command(
    context: click.Context,
    source: str,
    name: str,
    slice_: tuple[str, ...],
    as_json: bool,
    form: str | None,
    path: str | None,
    force: bool,
    is_logical: bool,
) -> int:
    """Print values of the tensor NAME in SOURCE, as many as fit.

    SLICE is written as in numpy: '0, :3' or '[..., -5:]'. Only what is shown is read.
    """

    expression = " ".join(slice_)
    reader = chosen_reader(context)
    if form is not None and form not in FORMS:
        reader = Reader(checked(context, None, form), is_logical or reader.is_logical)
    form = form if form in FORMS else "json" if as_json else _form_of(path)
    with open_chosen(source, reader) as opened:
        info = find(opened, name)
        if path is not None:
            stamped = opened.data_file(info)
            files = [] if stamped is None else [stamped[0]]
            write_new(path, lambda: contents_of(opened, info, expression, form), files, may_replace=force)
        elif form == "table":
            _print_grid(opened, info, expression, Output())
        else:
            _print_contents(contents_of(opened, info, expression, form), form)
        say_fetched(opened)
    return OK


def _form_of(path: str | None) -> str:
    """The format that the suffix of a file chooses; otherwise a table."""
    suffix = os.path.splitext(path or "")[1][1:].lower()
    return suffix if suffix in FORMS else "table"


def contents_of(source: Source, info: TensorInfo, expression: str, form: str) -> Contents:
    """The values of a slice in a format. Raises SliceError, ReadError, WriteError."""
    from tui_params.core.export.contents import Contents
    from tui_params.core.export.npy import npy_of
    from tui_params.core.export.values_csv import csv_of
    from tui_params.core.export.values_md import md_of

    if form == "json":
        return Contents(piece.encode() for piece in document(source, info, expression))
    if form == "table":
        page = io.StringIO()
        _print_grid(source, info, expression, Output(page))
        return Contents(iter([page.getvalue().encode()]))
    window = parse_window(expression, info.shape)
    return {"csv": csv_of, "npy": npy_of, "md": md_of}[form](source, info, window)


def _print_contents(contents: Contents, form: str) -> None:
    """Print the pieces; those of ``npy`` are bytes, which no terminal takes."""
    if form != "npy":
        for piece in contents.pieces:
            sys.stdout.write(bytes(piece).decode())
        return
    if sys.stdout.isatty():
        raise WriteError("npy is for a program, not for a terminal: add -o FILE, or send it into a pipe")
    sys.stdout.flush()
    for piece in contents.pieces:
        sys.stdout.buffer.write(piece)


def document(source: Source, info: TensorInfo, expression: str) -> Iterator[str]:
    """The document of ``--json``, in pieces, so that a large tensor needs little memory."""
    window = parse_window(expression, info.shape)
    head = {"name": info.name, "slice": window.expression, "dtype": info.dtype.short, "shape": window.shape}
    pieces = _nested(source, info, list(window.axes))
    # The first values are read before anything is printed, so a tensor that cannot be read prints no half document.
    first = next(pieces)
    yield f'{encode_json(head)[:-1]},"values":{first}'
    yield from pieces
    yield "}\n"


def _nested(source: Source, info: TensorInfo, axes: list[Axis]) -> Iterator[str]:
    """The values at ``axes`` as nested JSON arrays, in pieces of at most ``_AT_ONCE`` elements."""
    outer = next((number for number, axis in enumerate(axes) if not axis.is_index), None)
    numel = math.prod(axis.length for axis in axes)
    if outer is None or numel <= _AT_ONCE:
        yield encode_json(_plain(source.read_window(info, make_window(tuple(axes))).tolist(), info))
        return
    length = axes[outer].length
    step = max(1, _AT_ONCE // (numel // length))
    start = "["
    for first in range(0, length, step):
        part = list(axes)
        if step > 1 or numel == length:
            part[outer] = axes[outer].part(first, step)
            (piece,) = _nested(source, info, part)
            yield start + piece[1:-1]
        else:
            part[outer] = axes[outer].fixed(first)
            pieces = _nested(source, info, part)
            yield start + next(pieces)
            yield from pieces
        start = ","
    yield "]"


def _plain(value: Any, info: TensorInfo) -> Any:
    """Nested lists of numbers for strict JSON: NaN and infinities become strings, complex numbers pairs."""
    if isinstance(value, list):
        return [_plain(item, info) for item in value]
    if info.dtype.kind == "float":
        value = float(value)
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, complex):
        return [part if math.isfinite(part) else repr(part) for part in (value.real, value.imag)]
    return value


def _print_grid(source: Source, info: TensorInfo, expression: str, output: Output) -> None:
    from tui_params.core.reading.grid import fit_grid

    rows = _PLAIN_ROWS if output.height is None else output.height - 4
    grid = fit_grid(source, info, expression, rows, output.width or PLAIN_WIDTH)
    output.line(f"{output.style(text.name(info.name, 500), 'bold')}  {text.clean(info.dtype.short)}  {grid.caption}")
    output.lines(_lines(grid, output))
    hidden = grid.plane.window.numel - grid.window.numel
    if hidden:
        output.line(output.style(f"{text.plural(hidden, 'more value')} in {grid.plane.window.expression}", "dim"))


def _lines(grid: Grid, output: Output) -> Iterator[str]:
    if not grid.cells:
        return
    if any(grid.column_labels):
        labels = "".join(f"  {label:>{grid.cell_width}}" for label in grid.column_labels)
        yield output.style(" " * grid.label_width + labels, "dim")
    for label, cells, flags in zip(grid.row_labels, grid.cells, grid.flags, strict=True):
        marked = (output.style(cell, _STYLES[flag]) for cell, flag in zip(cells, flags, strict=True))
        yield output.style(label, "dim") + "".join(f"  {cell}" for cell in marked)
