"""A comparison as lines for a person: what differs first, and what does not as plainly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tui_params.cli.output import Output
from tui_params.core import text
from tui_params.core.compare import Change, Comparison, KindChange, group_changes, severity
from tui_params.core.kinds import kind_of
from tui_params.core.renames import Suggestion

_LONGEST_NAME = 500
_WIDEST_NAME = 60
_NARROWEST_NAME = 16
_MOST = 20
_MOST_CHANGES = 10
_TITLES = (("max |b-a|", 10), ("rel. L2", 9), ("cosine", 9), ("elements", 9))
_ALL = "(--names has all)"


def lines(
    comparison: Comparison, paths: tuple[str, str], formats: tuple[str, str], output: Output, *, names: bool
) -> Iterator[str]:
    """Every line of the report; ``names`` lists tensors where else their kinds are."""
    compared = _compared(comparison)
    totals = [compared + sum(item.side == side for item in comparison.implied) for side in ("a", "b")]
    onlys = (comparison.only_in_a, comparison.only_in_b)
    for side, path, form, total, only in zip("AB", paths, formats, totals, onlys, strict=True):
        count = text.plural(total + len(only), "tensor")
        yield f"{side}  {output.style(text.clean(path, 200), 'bold')}  {text.clean(form)}  {count}"
    yield from _verdict(comparison, output)
    for side, only in zip("AB", onlys, strict=True):
        if only:
            yield from _section(f"Only in {side}", len(only), output)
            yield from _names(only, names)
    yield from _renames(comparison, output)
    groups = group_changes(comparison)
    yield from _changed(comparison, groups, output, names)
    yield from _same(comparison, groups, output, names)
    if comparison.uncompared:
        yield from _section("Not compared", len(comparison.uncompared), output)
        most = None if names else _MOST
        for item in comparison.uncompared[:most]:
            line = f"! {text.clean(item.name, _LONGEST_NAME)}"
            yield line + output.note(text.clean(item.reason, 300), "bold red", len(line))
        yield from _rest(len(comparison.uncompared), most)
    if comparison.implied:
        yield from _section("On one side only, without making a difference", len(comparison.implied), output)
        most = None if names else _MOST
        for implied in comparison.implied[:most]:
            line = f"  {implied.side.upper()}  {text.clean(implied.name, _LONGEST_NAME)}"
            yield line + output.note(text.clean(implied.reason, _LONGEST_NAME), "dim", len(line))
        yield from _rest(len(comparison.implied), most)


def _compared(comparison: Comparison) -> int:
    return sum(map(len, (comparison.identical, comparison.equal, comparison.changed, comparison.uncompared)))


def _verdict(comparison: Comparison, output: Output) -> Iterator[str]:
    total = _compared(comparison)
    parts = [f"{len(comparison.changed):,} of {text.plural(total, 'common tensor')} changed"]
    parts.append(f"{len(comparison.identical):,} bit-identical")
    if comparison.equal:
        parts.append(f"{len(comparison.equal):,} equal in value but not in bits")
    if comparison.uncompared:
        parts.append(f"{len(comparison.uncompared):,} not compared")
    word, style = {
        "same": ("same", "bold green"),
        "different": ("different", "bold yellow"),
        "uncompared": ("could not compare everything", "bold red"),
    }[comparison.state]
    yield f"{output.style(word, style)}: {', '.join(parts)}"
    if comparison.rtol or comparison.atol:
        yield f"an element changed if |b-a| > {comparison.atol:g} + {comparison.rtol:g} |a|"


def _section(title: str, count: int, output: Output) -> Iterator[str]:
    yield ""
    yield f"{output.style(title, 'bold')} ({count:,})"


def _rest(count: int, most: int | None) -> Iterator[str]:
    if most is not None and count > most:
        yield f"  and {count - most:,} more {_ALL}"


def _names(found: Sequence[str], names: bool) -> Iterator[str]:
    """The names, or their kinds with how many there are of each."""
    if names:
        yield from (f"  {text.clean(name, _LONGEST_NAME)}" for name in found)
        return
    kinds = Counter(map(kind_of, found))
    for kind, count in list(kinds.items())[:_MOST]:
        yield f"  {text.clean(kind, _LONGEST_NAME)}{f'  x {count:,}' if count > 1 else ''}"
    yield from _rest(len(kinds), _MOST)


def _renames(comparison: Comparison, output: Output) -> Iterator[str]:
    if comparison.applied:
        yield ""
        yield f"Renamed first: {_expressions(Suggestion(comparison.applied, 0))}"
    if comparison.suggested:
        yield ""
        yield output.style("Renames that match more names", "bold")
        for suggestion in comparison.suggested:
            yield f"  {_expressions(suggestion)}  matches {text.plural(suggestion.matches, 'more name')}"


def _expressions(suggestion: Suggestion) -> str:
    return " ".join(f"--rename {_quoted(text.clean(str(rename), 200))}" for rename in suggestion.renames)


def _quoted(expression: str) -> str:
    """As a shell takes it: a ``*`` would be expanded."""
    return f"'{expression}'" if "*" in expression or " " in expression else expression


def _changed(comparison: Comparison, groups: Sequence[KindChange], output: Output, names: bool) -> Iterator[str]:
    found = [group for group in groups if group.changed]
    if not found:
        return
    yield from _section("Changed, by kind", len(comparison.changed), output)
    shares = [f"{group.changed:,} of {group.count:,}" for group in found]
    share_width = max(map(len, shares))
    width = _name_width([group.kind for group in found], share_width + 2, output)
    yield _title("kind", width, f"{'':>{share_width}}", output)
    for group, share in list(zip(found, shares, strict=True))[:_MOST]:
        assert group.worst is not None
        kind = _fitted(group.kind, width, output)
        yield f"  {kind:<{width}}  {share:>{share_width}}{_figures(group.worst)}"
    yield from _rest(len(found), _MOST)
    ranked = list(comparison.changed) if names else sorted(comparison.changed, key=severity, reverse=True)
    most = None if names else _MOST_CHANGES
    yield ""
    yield output.style("Changed tensors" if names or len(ranked) <= _MOST_CHANGES else "The largest changes", "bold")
    shown = ranked[:most]
    width = _name_width([change.name for change in shown], 0, output)
    yield _title("tensor", width, None, output)
    for change in shown:
        line = f"  {_fitted(change.name, width, output):<{width}}{_figures(change)}"
        yield line + output.note(", ".join(_notes(change)), "dim", len(line))
    yield from _rest(len(ranked), most)


def _title(first: str, width: int, second: str | None, output: Output) -> str:
    line = f"  {first:<{width}}" + ("" if second is None else f"  {second}")
    return output.style(line + "".join(f"  {title:>{size}}" for title, size in _TITLES), "bold")


def _figures(change: Change) -> str:
    difference = change.difference
    if difference is None:
        what = (
            f"{text.shape(change.shape_a)} became {text.shape(change.shape_b)}"
            if change.change == "shape"
            else (f"{change.dtype_a} became {change.dtype_b}, not compared")
        )
        return f"  {what}"
    share = text.percent(difference.changed, difference.count)
    values = (
        text.number(difference.max_abs, 3),
        text.number(difference.relative_l2, 3),
        text.number(difference.cosine, 6),
        share,
    )
    return "".join(f"  {value:>{size}}" for value, (_, size) in zip(values, _TITLES, strict=True))


def _notes(change: Change) -> Iterator[str]:
    """What the numbers of a line do not say."""
    if change.name_in_b != change.name:
        yield f"B: {text.clean(change.name_in_b, _LONGEST_NAME)}"
    if change.reason is not None:
        yield text.clean(change.reason, 300)
    difference = change.difference
    if difference is None:
        return
    if change.dtype_a != change.dtype_b:
        yield f"{change.dtype_a} became {change.dtype_b}" + ("" if difference.changed else ", every value equal")
    for count, what in (
        (difference.became_nan, "became NaN"),
        (difference.became_inf, "became infinite"),
        (difference.was_nan, "no longer NaN"),
        (difference.was_inf, "no longer infinite"),
    ):
        if count:
            yield f"{count:,} {what}"
    if change.first_index is not None:
        yield f"first at {text.shape(change.first_index)}"


def _same(comparison: Comparison, groups: Sequence[KindChange], output: Output, names: bool) -> Iterator[str]:
    count = len(comparison.identical)
    if count:
        title = "Unchanged" if names else "Unchanged, by kind"
        yield from _section(title, count, output)
        if names:
            yield from (f"  {text.clean(name, _LONGEST_NAME)}" for name in comparison.identical)
        else:
            found = [group for group in groups if group.identical]
            for group in found[:_MOST]:
                yield f"  {text.clean(group.kind, _LONGEST_NAME)}  {group.identical:,} of {group.count:,}"
            yield from _rest(len(found), _MOST)
    if comparison.equal:
        yield from _section("Equal in value, not in bits", len(comparison.equal), output)
        most = None if names else _MOST
        for change in comparison.equal[:most]:
            line = f"  {text.clean(change.name, _LONGEST_NAME)}"
            note = f"max |b-a| {text.number(change.max_abs, 3)}"
            yield line + output.note(note, "dim", len(line))
        yield from _rest(len(comparison.equal), most)


def _name_width(found: Sequence[str], beside: int, output: Output) -> int:
    width = min(max(len(text.clean(name, _LONGEST_NAME)) for name in found), _WIDEST_NAME)
    if output.width is not None:
        fixed = 2 + beside + sum(size + 2 for _, size in _TITLES)
        width = max(min(width, output.width - fixed), _NARROWEST_NAME)
    return max(width, len("tensor"))


def _fitted(name: str, width: int, output: Output) -> str:
    cleaned = text.clean(name, _LONGEST_NAME)
    return cleaned if output.width is None else text.shorten_name(cleaned, width)
