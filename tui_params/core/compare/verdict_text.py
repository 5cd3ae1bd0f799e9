"""A comparison in words: the verdict, and how its figures are written."""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core import text
from tui_params.core.compare.changes_by_kind import KindChange
from tui_params.core.compare.comparer import Comparison
from tui_params.core.kinds import kind_of

_COSINE_WIDTH = 8


def verdict_words(comparison: Comparison) -> tuple[str, tuple[str, ...]]:
    """The verdict in a word or a few, and the parts of the sentence behind it."""
    parts = [_headline(comparison)]
    if comparison.reason is None:
        parts.append(f"{len(comparison.identical):,} bit-identical")
        if comparison.empty:
            parts.append(f"{len(comparison.empty):,} without elements")
    retyped = sum(change.change == "dtype" for change in comparison.equal)
    if retyped:
        parts.append(f"{retyped:,} of another type, with {equal_values_words(comparison)}")
    if len(comparison.equal) > retyped:
        parts.append(f"{len(comparison.equal) - retyped:,} {equal_words(comparison)}")
    if comparison.uncompared:
        parts.append(f"{len(comparison.uncompared):,} not compared")
    if comparison.doubt is not None:
        parts.append(f"but {comparison.doubt}")
    nothing = "nothing was compared" if comparison.reason is not None else "could not compare everything"
    return {"same": "same", "different": "different", "uncompared": nothing}[comparison.state], tuple(parts)


def _headline(comparison: Comparison) -> str:
    """How many tensors changed, and how many of those that changed type changed in value too."""
    if comparison.reason is not None:
        return comparison.reason
    changed = f"{len(comparison.changed):,} of {text.plural(count_common(comparison), 'common tensor')} changed"
    retyped = [change for change in comparison.changed if change.change == "dtype"]
    if not retyped or comparison.ignore_dtype:
        return changed
    moved = sum(change.difference is not None and change.difference.changed > 0 for change in retyped)
    unread = sum(change.difference is None for change in retyped)
    beyond = " beyond the tolerance" if has_tolerance(comparison) else ""
    rest = f", {unread:,} of them could not be compared" if unread else ""
    if len(retyped) == len(comparison.changed):
        return f"{changed} type, {moved:,} of them changed in value{beyond}{rest}"
    return f"{changed}, {len(retyped):,} in type ({moved:,} of them also in value{beyond}{rest})"


def count_common(comparison: Comparison) -> int:
    uncompared = sum(item.side is None for item in comparison.uncompared)
    return sum(map(len, (comparison.identical, comparison.equal, comparison.changed))) + uncompared


def has_tolerance(comparison: Comparison) -> bool:
    return bool(comparison.rtol or comparison.atol)


def equal_words(comparison: Comparison) -> str:
    """How tensors with other bytes but the same values are described."""
    if has_tolerance(comparison):
        return "within the tolerance but not the same in bits"
    return "equal in value but not in bits"


def equal_values_words(comparison: Comparison) -> str:
    return "every value within the tolerance" if has_tolerance(comparison) else "every value equal"


def cosine_words(cosine: float | None, relative: float | None) -> str:
    """A cosine in six digits or as many as fit, never shown as 1 if anything differs."""
    width = _COSINE_WIDTH
    shown = next(shown for digits in (6, 5, 4, 3, 2, 1) if len(shown := text.number(cosine, digits)) <= width)
    return ">0.99999" if shown == "1" and relative else shown


def kind_names(groups: Sequence[KindChange], members: Sequence[str]) -> list[str]:
    """The kinds as they are shown: the only tensor of a kind is shown by its name."""
    names = {kind_of(name): name for name in members}
    return [names[group.kind] if group.count == 1 else group.kind for group in groups]
