"""``tui-params values``: the values of a tensor, or of a slice of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tui_params.cli.completion import complete_name, complete_path
from tui_params.cli.exit_codes import OK
from tui_params.cli.fields import VALUES, epilog
from tui_params.cli.output import PLAIN_WIDTH, Output, encode_json
from tui_params.cli.reader_option import Reader, open_chosen, reader_option
from tui_params.cli.selection import find
from tui_params.core import text
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Axis, make_window, parse_window

if TYPE_CHECKING:
    from tui_params.core.reading.grid import Grid

_PLAIN_ROWS = 40
_AT_ONCE = 1 << 16
"""How many elements are read and turned into Python numbers at a time."""

_STYLES = {"nan": "bold red", "inf": "bold red", "zero": "dim", "": ""}


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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document with every value of the slice.")
@reader_option
def command(source: str, name: str, slice_: tuple[str, ...], as_json: bool, reader: Reader) -> int:
    """Print values of the tensor NAME in SOURCE, as many as fit.

    SLICE is written as in numpy: '0, :3' or '[..., -5:]'. Only what is shown is read.
    """

    expression = " ".join(slice_)
    with open_chosen(source, reader) as opened:
        info = find(opened, name)
        if as_json:
            for piece in document(opened, info, expression):
                sys.stdout.write(piece)
        else:
            _print_grid(opened, info, expression, Output())
    return OK


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
