"""``tui-params ls --kinds``: one line for all tensors whose names differ only in their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tui_params.cli import kept_figures
from tui_params.cli.output import Output
from tui_params.core import text
from tui_params.core.compare.packed import PackedWeights
from tui_params.core.kinds import KindGroup
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from tui_params.cache.figures import SourceCache

_LONGEST_NAME = 500
_WIDEST_NAME = 100
_NARROWEST_NAME = 16
_MOST_SHAPES = 4


def entry(group: KindGroup, tensors: Sequence[TensorInfo], kept: SourceCache | None = None) -> dict[str, Any]:
    """One kind in the document of ``--json``."""
    return {
        "kind": group.kind,
        "count": group.count,
        "numbers": group.numbers,
        "shapes": group.shapes,
        "distinct_shapes": group.distinct_shapes,
        "dtypes": [dtype.short for dtype in group.dtypes],
        "numel": group.numel,
        "nbytes": group.nbytes,
        "tied": _tied(group, tensors),
        "unreadable": _unreadable(group, tensors),
        "figures": kept_figures.entry(kept_figures.figures_of(group, tensors, kept)),
    }


def rows(
    groups: Sequence[KindGroup],
    tensors: Sequence[TensorInfo],
    output: Output,
    packed: PackedWeights,
    kept: SourceCache | None = None,
) -> Iterator[str]:
    """A title line and a line for each kind, with a note of its numbers and of what differs within it."""
    if not groups:
        return
    names = [text.name(_name(group, tensors), _LONGEST_NAME) for group in groups]
    counts = [f"x {group.count:,}" if group.count > 1 else "" for group in groups]
    shapes = [group.shape_in(text.shape) for group in groups]
    dtypes = [
        text.clean(group.dtypes[0].short) if len(group.dtypes) == 1 else f"{len(group.dtypes)} types"
        for group in groups
    ]
    count_width = max(map(len, counts))
    shape_width = min(max(map(len, [*shapes, "shape"])), 24)
    name_width = min(max(map(len, [*names, "kind"])), _WIDEST_NAME)
    if output.width is not None:
        fixed = 2 + 2 + count_width + 2 + shape_width + 2 + 8 + 2 + 9
        name_width = max(min(name_width, output.width - fixed), _NARROWEST_NAME)
    title = f"  {'kind':<{name_width}}  {'':<{count_width}}  {'shape':<{shape_width}}  {'dtype':<8}  {'size':>9}"
    yield output.style(title, "bold")
    for group, name, count, shape, dtype in zip(groups, names, counts, shapes, dtypes, strict=True):
        if output.width is not None:
            name = text.shorten_name(name, name_width)
        lost, tied = _unreadable(group, tensors), _tied(group, tensors)
        mark = "!" if lost else "=" if tied == group.count else " "
        size = text.size(group.nbytes)
        line = f"{mark} {name:<{name_width}}  {count:<{count_width}}  {shape:<{shape_width}}  {dtype:<8}  {size:>9}"
        within = None if lost else packed.of(tensors[group.indices[0]].name)
        notes = [*_notes(group, lost, tied)]
        if within is not None:
            notes.append(f"the first holds {within}" if group.count > 1 else f"holds {within}")
        found = kept_figures.figures_of(group, tensors, kept)
        notes += [kept_figures.words(found, group.count)] if found is not None else []
        note = "; ".join(notes)
        yield line + output.note(note, "bold red" if lost else "dim", len(line))


def _notes(group: KindGroup, lost: int, tied: int) -> Iterator[str]:
    """The note behind a line: what cannot be read, which numbers there are, and what differs."""
    if lost:
        yield f"{lost:,} cannot be read" if group.count > 1 else "cannot be read"
    if group.count > 1:
        yield " and ".join(f"# {numbers or '?'}" for numbers in group.numbers)
    if group.distinct_shapes > 1:
        more = group.distinct_shapes - _MOST_SHAPES
        yield ", ".join(map(text.shape, group.shapes[:_MOST_SHAPES])) + (f" and {more:,} more" if more > 0 else "")
    if len(group.dtypes) > 1:
        yield ", ".join(text.clean(dtype.short) for dtype in group.dtypes)
    if tied:
        yield f"{tied:,} tied, counted once" if group.count > 1 else "tied, counted once"


def _name(group: KindGroup, tensors: Sequence[TensorInfo]) -> str:
    """The kind, or the name of a tensor that is the only one of its kind."""
    return group.kind if group.count > 1 else tensors[group.indices[0]].name


def _tied(group: KindGroup, tensors: Sequence[TensorInfo]) -> int:
    return sum(tensors[index].tied_to is not None for index in group.indices)


def _unreadable(group: KindGroup, tensors: Sequence[TensorInfo]) -> int:
    return sum(tensors[index].unreadable is not None for index in group.indices)
