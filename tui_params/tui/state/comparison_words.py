"""The comparison of two sources as a whole, in sentences: the structure, the renames, the result, what is in doubt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tui_params.core import text
from tui_params.core.compare.across import is_of_adapter
from tui_params.core.compare.same_files import SAME_FILES
from tui_params.core.compare.unmatched import why_nothing
from tui_params.core.health.adapters import has_adapters
from tui_params.tui.state.changes import Changes

if TYPE_CHECKING:
    from tui_params.core.compare.both import BothSources
    from tui_params.core.compare.comparer import Comparison
    from tui_params.core.compare.renames import Rename
    from tui_params.core.compare.structure import Structure
    from tui_params.core.source import Source

_MOST_RENAMES = 4
_MOST_REASONS = 3


def report(both: BothSources, comparison: Comparison | None, changes: Changes, key: str) -> Sequence[str]:
    """The two sides, the structure, then the rest; ``key`` applies or drops the suggested renames."""
    laid = both.comparer.structure
    lines = [_side("A", both.a), _side("B", both.b), _structure(both, laid)]
    if both.are_same_files:
        lines.append(SAME_FILES)
    if both.beat() is not None or both.b.beat() is not None:
        lines.append("One side trains meanwhile: its tensors are compared at different steps.")
    lines += _renames(both, laid, key)
    if changes.is_stopped:
        lines.append(f"Stopped before the end: {changes.summary()}.")
    elif comparison is None:
        lines.append(f"Comparing: {changes.summary()} so far.")
    else:
        lines += _result(comparison, changes)
    return lines


def at_once(both: BothSources, key: str) -> str:
    """What is to be said first, in one sentence: what can be done about the names, or what the structure is."""
    laid = both.comparer.structure
    if both.are_same_files:
        return SAME_FILES
    return next(_renames(both, laid, key), "") or _structure(both, laid)


def _side(name: str, source: Source) -> str:
    tensors = text.plural(len(source.listing.tensors), "tensor")
    return f"{name}  {text.clean(source.label, 200)}: {text.clean(source.listing.format, 80)}, {tensors}"


def _structure(both: BothSources, laid: Structure) -> str:
    if is_of_adapter(both) and not laid.pairs:
        side, other = ("A", "B") if has_adapters(both.a.listing) else ("B", "A")
        return f"{side} is an adapter: what is shown is the change that it makes to the weights in {other}."
    nothing = why_nothing(laid, both.a.listing.tensors, both.b.listing.tensors)
    if nothing is not None:
        words = nothing.partition("; with the renames below")[0]
        return f"Nothing to compare: {words}."
    # The shape of a tensor that is missing or damaged may be unknown: that is no other shape.
    told = [pair for pair in laid.pairs if not (pair.a.has_unknown_size or pair.b.has_unknown_size)]
    shapes = sum(not pair.has_same_shape for pair in told)
    dtypes = sum(pair.has_same_shape and not pair.has_same_dtype for pair in told)
    parts = [f"{text.plural(len(laid.pairs), 'tensor')} in both"]
    parts += [f"{len(laid.only_in_a):,} only in A"] if laid.only_in_a else []
    parts += [f"{len(laid.only_in_b):,} only in B"] if laid.only_in_b else []
    parts += [f"{shapes:,} of another shape"] if shapes else []
    parts += [f"{dtypes:,} of another type"] if dtypes else []
    parts += [f"{len(laid.unread):,} perhaps on one side only"] if laid.unread else []
    parts += [f"{len(laid.implied):,} on one side only, which is no difference"] if laid.implied else []
    return f"{', '.join(parts)}."


def _renames(both: BothSources, laid: Structure, key: str) -> Iterator[str]:
    if laid.applied:
        yield f"Renamed: {_listed(laid.applied)}; {key} drops that."
    if laid.suggested:
        first = laid.suggested[0]
        names = text.plural(first.matches, "more name")
        verb = f"{key} applies it" if not both.is_auto_renamed else "it was not applied"
        yield f"Renaming {_listed(first.renames)} would match {names}; {verb}."
    elif both.is_auto_renamed and not laid.applied:
        yield "No rename matches more names."
    if laid.collisions:
        lost = laid.collisions[0]
        yield (
            f"{text.plural(len(laid.collisions), 'tensor')} lost the name to another, as {text.clean(lost.name, 80)} "
            f"to {text.clean(lost.taken_by, 80)}."
        )


def _listed(renames: Sequence[Rename]) -> str:
    shown = ", ".join(text.clean(str(rename), 80) for rename in renames[:_MOST_RENAMES])
    left = len(renames) - _MOST_RENAMES
    return f"{shown} and {left:,} more" if left > 0 else shown


def _result(comparison: Comparison, changes: Changes) -> Iterator[str]:
    if comparison.state == "same":
        yield "No difference: every tensor that both have is the same."
    elif comparison.state == "uncompared" and comparison.reason is not None:
        yield f"Nothing was compared: {comparison.reason}."
    else:
        yield f"{changes.summary()[:1].upper()}{changes.summary()[1:]}."
    if comparison.equal:
        count = len(comparison.equal)
        yield f"{text.plural(count, 'tensor')} {text.are(count, 'has', 'have')} equal values in other bits."
    if comparison.uncompared:
        yield f"{text.plural(len(comparison.uncompared), 'tensor')} could not be compared, and may differ:"
        for item in comparison.uncompared[:_MOST_REASONS]:
            yield f"  {text.clean(item.name, 80)}: {text.clean(item.reason, 200)}"
        if len(comparison.uncompared) > _MOST_REASONS:
            yield f"  and {len(comparison.uncompared) - _MOST_REASONS:,} more"
    if comparison.elsewhere.relations:
        count = len(comparison.elsewhere.relations)
        pages = text.are(count, "its page says where", "their pages say where")
        yield f"{text.plural(count, 'tensor')}: the values are on the other side in another place or form; {pages}."
    if comparison.doubt is not None:
        yield f"In doubt: {comparison.doubt}."
    for side, findings in (("A", comparison.findings_a), ("B", comparison.findings_b)):
        for finding in findings[:_MOST_REASONS]:
            if finding.severity != "info":
                yield f"  {side}: {text.clean(finding.evidence, 300)}"
