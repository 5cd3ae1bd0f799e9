"""What could not be compared, as entries for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.core import text
from tui_params.core.compare.verdict import Uncompared
from tui_params.core.health.alike import MOST_ALONE, group_reasons


def uncompared_entries(found: Sequence[Uncompared], *, names: bool) -> Iterator[tuple[str, str, str]]:
    """Mark, name and reason of each tensor; many with one reason share a line unless ``names`` are asked for."""
    if names:
        yield from (_entry(item) for item in found)
        return
    for group in group_reasons([(item.name, item.reason) for item in found]):
        members = [found[place] for place in group.members]
        first, count = members[0], len(members)
        if count <= MOST_ALONE:
            yield from map(_entry, members)
            continue
        name = first.name if group.kind is None else group.kind
        more = f" and {text.plural(count - 1, 'more tensor')}" if group.kind is None else f" x {count:,}"
        yield "! ", name + more, ("" if group.is_same else "the first: ") + first.reason


def _entry(item: Uncompared) -> tuple[str, str, str]:
    return "! ", item.name, item.reason
