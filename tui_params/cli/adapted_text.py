"""How an adapter on one side moves the weights of the other, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.cli.output import Output
from tui_params.core import text
from tui_params.core.compare.adapted import Adapted

_LONGEST_NAME = 500
_MOST = 20


def adapted_lines(adapted: Sequence[Adapted], output: Output, *, names: bool) -> Iterator[str]:
    """A title, then the weights that are moved, those that are moved most first; none without an adapter."""
    if not adapted:
        return
    touched = sorted([item for item in adapted if item.is_touched], key=_most_first)
    yield ""
    moved = f"({len(touched):,} of {len(adapted):,})"
    yield f"{output.style('Weights that the adapter moves', 'bold')} {moved}"
    for item in touched if names else touched[:_MOST]:
        share = "not known" if item.relative is None else f"{text.number(100 * item.relative, 3)} %"
        name = text.name(item.name, _LONGEST_NAME)
        if output.width is not None:
            name = text.shorten(name, max(output.width - 14, 16))
        line = f"  {share:>9}  {name}"
        yield line + output.note(text.clean(item.about, 300), "dim", len(line))
    if not names and len(touched) > _MOST:
        yield f"  and {len(touched) - _MOST:,} more (--names has all)"


def _most_first(item: Adapted) -> tuple[bool, float]:
    return item.relative is not None, -(item.relative or 0.0)
