"""``tui-params ls``: the tensors of a source, one line for each tensor or for each kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from tui_params.cli.adapters import adapter_entries, adapter_lines
from tui_params.cli.completion import complete_path
from tui_params.cli.exit_codes import OK
from tui_params.cli.fetched import say_fetched
from tui_params.cli.fields import LS, epilog
from tui_params.cli.kept_figures import kept_of
from tui_params.cli.output import STYLE_OF_SEVERITY, Output, finding_entry, write_json
from tui_params.cli.reader_option import AS_STORED, Reader, open_chosen, reader_option
from tui_params.core import text
from tui_params.core.compare.packed import Packed, PackedWeights
from tui_params.core.findings import SEVERITY_WORDS
from tui_params.core.kinds import group_by_kind
from tui_params.core.source import Listing, Source
from tui_params.core.stored_codes import some_are_codes
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.totals import Totals
from tui_params.core.tree.tree import Tree
from tui_params.sources.given import shown

_LONGEST_NAME = 500
_WIDEST_NAME = 100
_NARROWEST_NAME = 16
_WIDEST_LINE = 160
_MOST_METADATA = 8
_MOST_FINDINGS = 20


@click.command(name="ls", short_help="List the tensors.", epilog=epilog(LS))
@click.argument("source", shell_complete=complete_path)
@click.option("--kinds", is_flag=True, help="One line for all names that differ only in their numbers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@reader_option
def command(source: str, kinds: bool, as_json: bool, reader: Reader) -> int:
    """List the tensors of SOURCE: name, shape, element type and size.

    Marks: = is tied to another tensor, so both have the same elements; ! cannot be read.

    With --kinds, names that differ only in their numbers share a line, with # in place of each number. It shows how
    many tensors they are, which numbers they have, and in what else they differ. Tied elements are counted once. Where
    the explorer has read values of a file before, their statistics are shown, too; ls reads none.
    """
    list_tensors(source, as_json, kinds=kinds, reader=reader)
    return OK


def list_tensors(path: str, as_json: bool, *, kinds: bool = False, reader: Reader = AS_STORED) -> None:
    """Print the listing of a source, read as ``reader`` says. Raises OpenError."""

    with open_chosen(path, reader) as source:
        tree = Tree(source.listing)
        if as_json:
            write_json(document(path, source, tree, kinds=kinds))
            say_fetched(source)
            return
        output = Output()
        tensors = list(tree.tensors_below(None))
        if kinds:
            from tui_params.cli import ls_kinds

            groups = group_by_kind(tensors)
            output.lines(header(source, tree.totals(), output, len(groups), is_logical=reader.is_logical))
            output.lines(ls_kinds.rows(groups, tensors, output, PackedWeights(source), kept_of(source)))
        else:
            output.lines(header(source, tree.totals(), output, is_logical=reader.is_logical))
            output.lines(rows(tensors, output, PackedWeights(source)))
        say_fetched(source)


def document(path: str, source: Source, tree: Tree, *, kinds: bool = False) -> dict[str, Any]:
    """The document of ``--json``, with every tensor or with every kind of tensors."""
    tensors = list(tree.tensors_below(None))
    listed: dict[str, Any]
    if kinds:
        from tui_params.cli import ls_kinds

        kept = kept_of(source)
        listed = {"kinds": [ls_kinds.entry(group, tensors, kept) for group in group_by_kind(tensors)]}
    else:
        packed = PackedWeights(source)
        listed = {"tensors": [_entry(info, packed.of(info.name)) for info in tensors]}
    listing = source.listing
    return {
        "source": shown(path),
        "format": listing.format,
        "metadata": dict(listing.metadata),
        "totals": {**_totals(tree.totals()), "gradients": len(listing.gradients)},
        "models": [
            {"name": name, "files": listing.models[name], "totals": _totals(totals)}
            for name, totals in _totals_by_model(listing)
        ],
        "findings": [finding_entry(finding) for finding in listing.findings],
        "adapters": adapter_entries(source),
        **listed,
    }


def _totals(totals: Totals) -> dict[str, Any]:
    return {
        "tensors": totals.tensors,
        "numel": totals.numel,
        "nbytes": totals.nbytes,
        "dtypes": dict(totals.nbytes_by_dtype),
    }


def _totals_by_model(listing: Listing) -> Iterator[tuple[str, Totals]]:
    """The totals of each model, if there are several."""
    for name, files in listing.models.items():
        tensors = tuple(info for info in listing.tensors if info.file in files)
        yield name, Tree(Listing(listing.format, tensors)).totals()


def _totals_by_state(listing: Listing) -> Iterator[tuple[str, Totals]]:
    """The totals of the states of a training run and, if there are such, of the model beside them."""
    tensors: dict[str, list[TensorInfo]] = {"model": [], **{state: [] for state in listing.states}}
    for info in listing.tensors:
        top = info.name.partition(".")[0]
        tensors[top if top in listing.states else "model"].append(info)
    if listing.models or not listing.states:
        del tensors["model"]
    for name, found in tensors.items():
        if found:
            yield name, Tree(Listing(listing.format, tuple(found))).totals()


def _entry(info: TensorInfo, packed: Packed | None) -> dict[str, Any]:
    return {
        "name": info.name,
        "shape": info.shape,
        "dtype": info.dtype.short,
        "numel": info.numel,
        "nbytes": info.nbytes,
        "kind": info.kind,
        "tied_to": info.tied_to,
        "location": info.location,
        "unreadable": info.unreadable,
        "storage_shape": info.storage_shape,
        "packed": None if packed is None else msgspec.structs.asdict(packed),
        "notes": info.notes,
    }


def header(
    source: Source, totals: Totals, output: Output, kinds: int | None = None, *, is_logical: bool = False
) -> Iterator[str]:
    """The lines about the source as a whole: what is wrong with it, its format, totals and metadata."""
    listing = source.listing
    yield from _wrong(source, output)
    yield f"{output.style(text.clean(source.label), 'bold')}  {text.clean(listing.format)}"
    counted = text.plural(totals.tensors, "tensor") + ("" if kinds is None else f" of {text.plural(kinds, 'kind')}")
    if listing.models:
        # What several models hold together says nothing of any.
        beside = " and the states of a run" if listing.states else ""
        yield f"{counted} in {text.plural(len(listing.models), 'model')}{beside}"
    else:
        yield _totals_line(counted, totals, output)
    if not is_logical and some_are_codes(listing.tensors, listing.dequantized):
        yield output.style("  packed weights, listed as they are stored: --logical shows what they stand for", "dim")
    for name, part in (*_totals_by_model(listing), *_totals_by_state(listing)):
        yield _totals_line(f"  {text.clean(name, _WIDEST_NAME)}: {text.plural(part.tensors, 'tensor')}", part, output)
    if listing.gradients:
        of = Tree(Listing(listing.format, tuple(listing.gradients.values()))).totals()
        yield _totals_line(f"  beside them {text.plural(of.tensors, 'gradient')}", of, output)
    width = output.width or _WIDEST_LINE
    for number, (name, value) in enumerate(listing.metadata.items()):
        if number == _MOST_METADATA:
            more = len(listing.metadata) - _MOST_METADATA
            yield output.style(f"  and {text.plural(more, 'more entry', 'more entries')} (--json has all)", "dim")
            break
        yield output.style(text.shorten(f"  {text.clean(name, 60)}: {text.clean(value, width)}", width), "dim")
    yield from adapter_lines(source, output)
    yield ""


def _wrong(source: Source, output: Output) -> Iterator[str]:
    """What is wrong with the files, the worst first."""
    found = source.listing.findings
    if not found:
        return
    from tui_params.core.health.finding_text import folded

    entries = [
        (severity, about, sentence)
        for severity in SEVERITY_WORDS
        for about, sentence in folded(
            [finding for finding in found if finding.severity == severity], source.label, with_rule=False
        )
    ]
    whole = text.clean(source.label)
    for severity, about, sentence in entries[:_MOST_FINDINGS]:
        line = f"! {SEVERITY_WORDS[severity]}: {'' if about == whole else f'{about}: '}{text.clean(sentence, 500)}"
        yield output.style(line, STYLE_OF_SEVERITY[severity])
    if len(entries) > _MOST_FINDINGS:
        yield f"! and {text.plural(len(entries) - _MOST_FINDINGS, 'more finding')} (--json has all)"


def _totals_line(counted: str, totals: Totals, output: Output) -> str:
    mix = sorted(totals.nbytes_by_dtype.items(), key=lambda share: (-share[1], share[0]))
    sizes = ", ".join(f"{text.clean(short)} {text.size(nbytes)}" for short, nbytes in mix)
    elements = text.short_plural(totals.numel, "element")
    line = f"{counted}, {elements}, {text.size(totals.nbytes)}"
    return line + output.note(sizes and f"({sizes})", "dim", len(line))


def rows(tensors: list[TensorInfo], output: Output, packed: PackedWeights) -> Iterator[str]:
    """A title line and a line for each tensor.

    One that is tied, that cannot be read or that is packed in bytes has a note behind it.
    """
    if not tensors:
        return
    names = [text.name(info.name, _LONGEST_NAME) for info in tensors]
    shapes = [text.shape(info.shape) for info in tensors]
    shape_width = min(max(map(len, [*shapes, "shape"])), 24)
    name_width = min(max(map(len, [*names, "name"])), _WIDEST_NAME)
    fixed = 2 + 2 + shape_width + 2 + 8 + 2 + 9
    if output.width is not None:
        name_width = max(min(name_width, output.width - fixed), _NARROWEST_NAME)
    title = f"  {'name':<{name_width}}  {'shape':<{shape_width}}  {'dtype':<8}  {'size':>9}"
    yield output.style(title, "bold")
    for info, name, shape in zip(tensors, names, shapes, strict=True):
        if output.width is not None:
            name = text.shorten_name(name, name_width)
        mark = "!" if info.unreadable else "=" if info.tied_to is not None else " "
        size = text.size(info.nbytes)
        dtype = text.clean(info.dtype.short)
        line = f"{mark} {name:<{name_width}}  {shape:<{shape_width}}  {dtype:<8}  {size:>9}"
        if mark != " ":
            line += output.note(*_why(info), len(line))
        within = None if info.unreadable else packed.of(info.name)
        yield line if within is None else line + output.note(f"holds {within}", "dim", len(line))


def _why(info: TensorInfo) -> tuple[str, str]:
    """The note that explains the mark of a line, and its style."""
    if info.unreadable:
        return f"! {text.clean(info.unreadable, 300)}", "bold red"
    return f"= {text.name(info.tied_to or '', _LONGEST_NAME)}", "dim"
