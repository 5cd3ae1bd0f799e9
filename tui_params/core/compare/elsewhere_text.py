"""Values that are elsewhere on the other side, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tui_params.core import text
from tui_params.core.compare.elsewhere import Elsewhere, Relation
from tui_params.core.kinds import kind_of, name_of_kind

_LONGEST_NAME = 500
_NOTES = {
    "same": "",
    "reshaped": ", reshaped",
    "transposed": ", transposed",
    "rows": ", in another order (dimension 0)",
    "columns": ", in another order (dimension 1)",
    "part": "",
}


def relation_entries(elsewhere: Elsewhere, *, names: bool) -> Iterator[tuple[str, str, str, str]]:
    """The name in A and what follows it, the same of B: for each relation or, without ``names``, for each kind of them.

    A kind of them shows the first of its slices.
    """
    groups: dict[object, list[Relation]] = {}
    for relation in elsewhere.relations:
        key: object = relation
        if not names:
            kinds = kind_of(relation.a), kind_of(relation.b)
            key = (*kinds, relation.how, relation.slice_a is None, relation.is_transposed)
        groups.setdefault(key, []).append(relation)
    yield from map(_entry, groups.values())


def _entry(members: Sequence[Relation]) -> tuple[str, str, str, str]:
    first = members[0]
    note = _NOTES[first.how] + (", transposed" if first.is_transposed else "")
    slice_a, slice_b = _slice([item.slice_a for item in members]), _slice([item.slice_b for item in members])
    tail = f"{slice_b}{note}" + (f"  x {len(members):,}" if len(members) > 1 else "")
    a, b = (
        text.name(name_of_kind(list(dict.fromkeys(side))), _LONGEST_NAME)
        for side in ([item.a for item in members], [item.b for item in members])
    )
    return a, slice_a, b, tail


def _slice(slices: Sequence[str | None]) -> str:
    distinct = list(dict.fromkeys(part for part in slices if part is not None))
    return "" if not distinct else distinct[0] if len(distinct) == 1 else f"{distinct[0]}, …"


def tried_sentences(elsewhere: Elsewhere) -> list[str]:
    """What was read to find such values, and what was not."""
    found = "" if elsewhere.relations else "; nothing was found"
    said = []
    if elsewhere.tried:
        said.append(
            f"{text.plural(elsewhere.tried, 'tensor')} looked for under another name, reshaped, transposed, "
            f"with rows or columns in another order, and as a part of another tensor{found}"
        )
    return said + [f"{text.plural(item.count, 'tensor')} not looked for: {item.reason}" for item in elsewhere.untried]
