"""Values that are elsewhere on the other side, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from tui_params.cli.output import Output
from tui_params.core import text
from tui_params.core.compare.elsewhere import Elsewhere, Relation
from tui_params.core.kinds import kind_of, name_of_kind

_LONGEST_NAME = 500
_NARROWEST_NAME = 8
_NOTES = {
    "same": "",
    "reshaped": ", reshaped",
    "transposed": ", transposed",
    "rows": ", in another order (dimension 0)",
    "columns": ", in another order (dimension 1)",
    "part": "",
}


def relation_lines(elsewhere: Elsewhere, output: Output, *, names: bool) -> Iterator[str]:
    """A line for each relation or, without ``names``, for each kind of them with the first of its slices."""
    groups: dict[object, list[Relation]] = {}
    for relation in elsewhere.relations:
        key: object = relation
        if not names:
            kinds = kind_of(relation.a), kind_of(relation.b)
            key = (*kinds, relation.how, relation.slice_a is None, relation.is_transposed)
        groups.setdefault(key, []).append(relation)
    for members in groups.values():
        yield "\n".join(_lines(members, output))


def _lines(members: Sequence[Relation], output: Output) -> Iterator[str]:
    """One line, or two where a terminal is too narrow for both names."""
    first = members[0]
    note = _NOTES[first.how] + (", transposed" if first.is_transposed else "")
    slice_a, slice_b = _slice([item.slice_a for item in members]), _slice([item.slice_b for item in members])
    tail = f"{slice_b}{note}" + (f"  x {len(members):,}" if len(members) > 1 else "")
    a, b = (
        text.name(name_of_kind(list(dict.fromkeys(side))), _LONGEST_NAME)
        for side in ([item.a for item in members], [item.b for item in members])
    )
    line = f"  A {a}{slice_a} = B {b}{tail}"
    if output.width is None or len(line) <= output.width:
        yield line
        return
    yield f"  A {text.shorten(a, max(output.width - len(slice_a) - 4, _NARROWEST_NAME))}{slice_a}"
    yield f"    = B {text.shorten(b, max(output.width - len(tail) - 8, _NARROWEST_NAME))}{tail}"


def _slice(slices: Sequence[str | None]) -> str:
    distinct = list(dict.fromkeys(part for part in slices if part is not None))
    return "" if not distinct else distinct[0] if len(distinct) == 1 else f"{distinct[0]}, …"


def tried_lines(elsewhere: Elsewhere, output: Output) -> Iterator[str]:
    """What was read to find such values, and what was not."""
    if not elsewhere.tried and not elsewhere.untried:
        return
    found = "" if elsewhere.relations else "; nothing was found"
    said = []
    if elsewhere.tried:
        said.append(
            f"{text.plural(elsewhere.tried, 'tensor')} looked for under another name, reshaped, transposed, "
            f"with rows or columns in another order, and as a part of another tensor{found}"
        )
    said += [f"{text.plural(item.count, 'tensor')} not looked for: {item.reason}" for item in elsewhere.untried]
    yield ""
    for sentence in said:
        yield from (output.style(line, "dim") for line in wrap(text.clean(sentence, 500), output.width or 10_000))
