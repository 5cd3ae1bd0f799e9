"""``tui-params stats``: statistics over every element of one tensor, of several, or of all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tui_params.cli.adapters import change_entry, change_lines, changes_in
from tui_params.cli.completion import complete_name, complete_path
from tui_params.cli.exit_codes import FAILED, OK
from tui_params.cli.fetched import say_fetched
from tui_params.cli.fields import STATS, epilog
from tui_params.cli.output import Output, complain, write_json
from tui_params.cli.reader_option import Reader, open_chosen, reader_option
from tui_params.cli.selection import select
from tui_params.cli.team_option import team_option
from tui_params.core import text
from tui_params.core.figures import QUANTILES, Figures
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.tree import Tree
from tui_params.errors import ReadError
from tui_params.sources.given import shown

if TYPE_CHECKING:
    from tui_params.core.team import Team

_LONGEST_NAME = 500
_WIDEST_NAME = 100
_MOST_METADATA = 8
_NARROWEST_NAME = 16
_NUMBER = 9
_COLUMNS = ("min", "max", "mean", "std")
_WIDE_TERMINAL = 110


class Result(msgspec.Struct, frozen=True):
    """A tensor with its figures, or with the reason why it has none."""

    info: TensorInfo
    figures: Figures | None
    unchecked: str | None = None


@click.command(name="stats", short_help="Print statistics over every element.", epilog=epilog(STATS))
@click.argument("source", shell_complete=complete_path)
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@team_option
@reader_option
def command(source: str, name: str | None, as_json: bool, reader: Reader, team: Team | None) -> int:
    """Print statistics over the finite elements of the tensors in SOURCE; NaN and infinities are counted apart.

    NAME is the full name of a tensor or of a module (all tensors below it), or a pattern such as '*.mlp.*'. Without it,
    every tensor is read. std is the population standard deviation.

    In --json, at_max counts the elements whose magnitude is the largest finite value of their floating type (65504 for
    float16, 448 for float8_e4m3fn): a cast that saturates leaves them there. For integers it is null.

    Of adapters (LoRA and others) rank, alpha and scale follow, and how far each moves its weight: the Frobenius norm of
    what is added, and its share of the norm of the weight where that is in SOURCE.
    """

    with open_chosen(source, reader, team) as opened:
        tensors = list(Tree(opened.listing).tensors_below(None)) if name is None else select(opened, name)
        results = read(opened, tensors, team)
        is_single = len(tensors) == 1 and tensors[0].name == name
        adapters = changes_in(opened, () if is_single else [info.name for info in tensors])
        if as_json:
            kept = list(_watched(results, len(tensors)))
            changes = [change_entry(*found) for found in adapters]
            write_json({"source": shown(source), "tensors": [entry(result) for result in kept], "adapters": changes})
            unchecked = sum(result.unchecked is not None for result in kept)
        else:
            output = Output()
            if not tensors:
                output.lines(_nothing(opened, output))
                return OK
            unchecked = _print_one(next(results), output) if is_single else _print_table(tensors, results, output)
            output.lines(change_lines(adapters, output))
        say_fetched(opened)
    if unchecked:
        complain(f"{unchecked} of {text.plural(len(tensors), 'tensor')} could not be read")
    return FAILED if unchecked else OK


def _nothing(source: Source, output: Output) -> Iterator[str]:
    """What there is in a source without tensors, so that nothing can be computed."""
    yield f"{text.clean(source.label)} has no tensors: there is nothing to compute"
    listing = source.listing
    for name, value in list(listing.metadata.items())[:_MOST_METADATA]:
        yield output.style(f"  {text.clean(name, _WIDEST_NAME)}: {text.clean(value, _WIDEST_NAME)}", "dim")
    if len(listing.metadata) > _MOST_METADATA:
        more = text.plural(len(listing.metadata) - _MOST_METADATA, "more entry", "more entries")
        yield output.style(f"  and {more} (ls --json has all)", "dim")


def read(source: Source, tensors: Sequence[TensorInfo], team: Team | None = None) -> Iterator[Result]:
    """The figures of each tensor, one after another; tied elements are read once. Raises what the team does."""
    if team is None:
        return _read_alone(source, tensors)
    first = {info.first_name: info for info in reversed(tensors)}
    shared = [info for info in tensors if first[info.first_name] is info and info.unreadable is None]
    measuring = team.measure(source, shared, has_channels=False)
    return _results(source, tensors, lambda source, info: measuring(source, info).figures)


def _read_alone(source: Source, tensors: Sequence[TensorInfo]) -> Iterator[Result]:
    with source.expecting(lambda: tensors):
        yield from _results(source, tensors, _figures)


def _figures(source: Source, info: TensorInfo) -> Figures:
    from tui_params.core.reading.tensor_reading import figures_of

    return figures_of(source, info)


def _results(
    source: Source, tensors: Iterable[TensorInfo], figures: Callable[[Source, TensorInfo], Figures]
) -> Iterator[Result]:
    of_tied: dict[str, Result] = {}
    for info in tensors:
        first = of_tied.get(info.first_name)
        if first is not None and first.info.dtype == info.dtype:
            yield msgspec.structs.replace(first, info=info)
            continue
        try:
            if info.unreadable is not None:
                raise ReadError(info.unreadable)
            result = Result(info, figures(source, info))
        except ReadError as error:
            result = Result(info, None, str(error))
        of_tied[info.first_name] = result
        yield result


def _watched(results: Iterator[Result], total: int) -> Iterator[Result]:
    """The same results, counted on stderr while they arrive if it is a terminal."""
    if not sys.stderr.isatty():
        yield from results
        return
    shown = 0.0
    for done, result in enumerate(results, start=1):
        if monotonic() - shown > 0.1:
            shown = monotonic()
            print(f"\r{done:,} of {total:,}", end="", file=sys.stderr, flush=True)
        yield result
    print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def entry(result: Result) -> dict[str, Any]:
    """One tensor in the document of ``--json``."""
    info = result.info
    return {
        "name": info.name,
        "shape": info.shape,
        "dtype": info.dtype.short,
        "numel": info.numel,
        "nbytes": info.nbytes,
        "summary": None if result.figures is None else _summary(result.figures),
        "unchecked": result.unchecked,
    }


def _summary(figures: Figures) -> dict[str, Any]:
    names = ("count", "finite", "nan", "pos_inf", "neg_inf", "zeros", "subnormals", "at_max")
    statistics = ("min", "max", "mean", "std", "abs_max", "l2_norm", "rms")
    return {
        **{name: getattr(figures, name) for name in (*names, *statistics)},
        "quantiles": {str(q): value for q, value in zip(QUANTILES, figures.quantiles, strict=False)},
        "exact": figures.is_exact,
        "quantiles_exact": figures.quantiles_exact,
        "quantile_error": figures.quantile_error,
        "sampled": figures.is_sampled,
        "parts": figures.parts,
    }


def _print_table(tensors: list[TensorInfo], results: Iterator[Result], output: Output) -> int:
    """Print a line for each tensor as soon as it is read; return how many could not be read."""
    with_shape = output.width is None or output.width >= _WIDE_TERMINAL
    shape_width = min(max(len("shape"), *(len(text.shape(info.shape)) for info in tensors)), 24)
    fixed = 2 + len(_COLUMNS) * (_NUMBER + 2) + (shape_width + 2 + 8 + 2 if with_shape else 0)
    name_width = min(max(len(text.clean(info.name, _LONGEST_NAME)) for info in tensors), _WIDEST_NAME)
    if output.width is not None:
        name_width = max(min(name_width, output.width - fixed), _NARROWEST_NAME)
    name_width = max(name_width, len("name"))
    title = f"  {'name':<{name_width}}"
    if with_shape:
        title += f"  {'shape':<{shape_width}}  {'dtype':<8}"
    output.line(output.style(title + "".join(f"  {column:>{_NUMBER}}" for column in _COLUMNS), "bold"))
    unchecked = 0
    for result in results:
        info, figures = result.info, result.figures
        name = text.clean(info.name, _LONGEST_NAME)
        if output.width is not None:
            name = text.shorten_name(name, name_width)
        mark = "!" if figures is None or figures.non_finite else "=" if info.tied_to else " "
        line = f"{mark} {name:<{name_width}}"
        if with_shape:
            line += f"  {text.shape(info.shape):<{shape_width}}  {text.clean(info.dtype.short):<8}"
        if figures is None:
            unchecked += 1
            note, style = f"unchecked: {text.clean(result.unchecked or '', 300)}", "bold red"
        else:
            line += "".join(f"  {text.number(getattr(figures, column)):>{_NUMBER}}" for column in _COLUMNS)
            note, style = ", ".join(_notes(result)), "bold red" if figures.non_finite else "dim"
        output.line(line + output.note(note, style, len(line)))
    return unchecked


def _notes(result: Result) -> Iterator[str]:
    """The note behind a line: values that are not finite, zeros, and what is tied."""
    figures, info = result.figures, result.info
    if figures is None:
        return
    if figures.nan:
        yield f"{figures.nan:,} NaN"
    if figures.pos_inf:
        yield f"{figures.pos_inf:,} +Inf"
    if figures.neg_inf:
        yield f"{figures.neg_inf:,} -Inf"
    if not figures.count:
        yield "no elements"
    elif figures.zeros == figures.count:
        yield "all zero"
    elif figures.zeros * 100 >= figures.count:
        yield f"{text.percent(figures.zeros, figures.count)} zeros"
    if figures.is_sampled:
        yield f"of {text.percent(figures.count, figures.numel * figures.parts)} of the elements"
    if info.tied_to:
        yield f"= {text.clean(info.tied_to, _LONGEST_NAME)}"


def _print_one(result: Result, output: Output) -> int:
    """Print everything about one tensor; return 1 if it could not be read, else 0."""
    info = result.info
    output.line(output.style(text.clean(info.name, _LONGEST_NAME), "bold"))
    for title, value, style in _facts(result):
        output.line(f"  {output.style(f'{title:<10}', 'dim')}  {output.style(value, style) if style else value}")
    return int(result.unchecked is not None)


def _facts(result: Result) -> Iterator[tuple[str, str, str]]:
    """Title, value and style of every line about one tensor."""
    info, figures = result.info, result.figures
    yield "shape", text.shape(info.shape), ""
    yield "dtype", f"{text.clean(info.dtype.name)}, {text.size(info.nbytes)}", ""
    if info.location:
        yield "location", text.clean(info.location), ""
    if info.tied_to:
        yield "tied to", text.clean(info.tied_to, _LONGEST_NAME), ""
    for note in info.notes:
        yield "note", text.clean(note), ""
    if figures is None:
        yield "unchecked", text.clean(result.unchecked or "", 300), "bold red"
        return
    unit = "element" if figures.parts == 1 else "real and imaginary part"
    yield "count", text.plural(figures.count, unit), ""
    for title, count in (("NaN", figures.nan), ("+Inf", figures.pos_inf), ("-Inf", figures.neg_inf)):
        yield title, _share(count, figures.count), "bold red" if count else ""
    yield "zeros", _share(figures.zeros, figures.count), ""
    yield "subnormal", _share(figures.subnormals, figures.count), ""
    if figures.at_max:
        yield f"at ±{text.number(figures.abs_max)}", _share(figures.at_max, figures.count), ""
    for title, number in (
        ("min", figures.min),
        ("max", figures.max),
        ("mean", figures.mean),
        ("std", figures.std),
        ("abs max", figures.abs_max),
        ("L2 norm", figures.l2_norm),
        ("rms", figures.rms),
    ):
        yield title, text.number(number, 6), ""
    rounding = "" if figures.quantiles_exact else f"  (within {text.number(100 * figures.quantile_error, 2)} %)"
    for q, value in zip(QUANTILES, figures.quantiles, strict=False):
        yield f"q {100 * q:g} %", f"{text.number(value, 6)}{rounding}", ""
    if figures.spark:
        low, high = text.number(figures.spark_low, 3), text.number(figures.spark_high, 3)
        yield "spread", f"{low} {text.spark(figures.spark, len(figures.spark))} {high}", ""
    if figures.is_sampled:
        yield "sampled", f"{text.percent(figures.count, figures.numel * figures.parts)} of the elements", ""


def _share(count: int, whole: int) -> str:
    return f"{count:,} ({text.percent(count, whole)})" if count else "0"
