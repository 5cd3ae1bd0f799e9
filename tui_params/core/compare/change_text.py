"""Changes in words: what the figures of a tensor, or of a kind, do not show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tui_params.core import text
from tui_params.core.compare.changes_by_kind import KindChange
from tui_params.core.compare.comparer import Comparison
from tui_params.core.compare.verdict import Change
from tui_params.core.kinds import kind_of

_LONGEST_NAME = 500


def count_changes(comparison: Comparison) -> dict[str, dict[str, Counter[str]]]:
    """By kind, the different sentences about changed shapes and types, and how often each is said."""
    found: dict[str, dict[str, Counter[str]]] = {}
    for change in comparison.changed:
        said = found.setdefault(kind_of(change.name), {"shape": Counter(), "dtype": Counter(), "values": Counter()})
        said[change.change][became(change)] += 1
    return found


def sorts(group: KindChange, counted: dict[str, Counter[str]]) -> Iterator[str]:
    """How the tensors of a kind changed, apart from the figures: counted, unless all changed in the same way."""
    for what, sentences in (("shape", counted["shape"]), ("type", counted["dtype"])):
        count = sentences.total()
        if count:
            is_one = count == group.changed and len(sentences) == 1
            yield next(iter(sentences)) if is_one else f"{count:,} of another {what}"
    for elements, tensors, what in (
        (group.became_nan, group.new_nan, "became NaN"),
        (group.became_inf, group.new_inf, "became infinite"),
    ):
        if elements:
            where = f" in {text.plural(tensors, 'tensor')}" if group.changed > 1 else ""
            yield f"{elements:,} {what}{where}"
    if group.became_zero:
        yield f"{group.became_zero:,} became 0"
    if group.unread:
        yield f"{group.unread:,} not compared"


def became(change: Change) -> str:
    """The change of the shape or of the element type, if one changed."""
    if change.change == "shape":
        shapes = text.shape(change.shape_a), text.shape(change.shape_b)
        types = (change.dtype_a, change.dtype_b) if change.dtype_a != change.dtype_b else ("", "")
        packed = (change.packed_a, change.packed_b)
        before, after = (
            f"{dtype} {shape}".lstrip() + (f" ({what})" if what is not None else "")
            for dtype, shape, what in zip(types, shapes, packed, strict=True)
        )
        return f"{before} became {after}"
    return f"{change.dtype_a} became {change.dtype_b}" if change.change == "dtype" else ""


def notes(change: Change) -> Iterator[str]:
    """The note behind a line: what its numbers do not show."""
    if change.change != "values":
        yield became(change)
    if change.reason is not None:
        yield f"not compared: {text.clean(change.reason, 300)}"
    if change.name_in_b != change.name:
        yield f"B: {text.clean(change.name_in_b, _LONGEST_NAME)}"
    difference = change.difference
    if difference is None:
        return
    if not difference.changed:
        yield "every value within the tolerance" if difference.max_abs else "every value equal"
    # The only place in a tensor of 0 dimensions says nothing.
    if change.first_index and difference.changed < difference.count:
        yield f"first at {text.shape(change.first_index)}"
    broken = [
        f"{count:,} {what}"
        for count, what in ((difference.became_nan, "became NaN"), (difference.became_inf, "became infinite"))
        if count
    ]
    if broken:
        place = f" (first at {text.shape(change.first_broken_index)})" if change.first_broken_index else ""
        yield ", ".join(broken) + place
    for count, what in (
        (difference.became_zero, "became 0"),
        (difference.was_nan, "no longer NaN"),
        (difference.was_inf, "no longer infinite"),
    ):
        if count:
            yield f"{count:,} {what}"
