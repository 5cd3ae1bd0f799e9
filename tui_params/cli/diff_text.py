"""A comparison as lines for a person: what differs first, and what does not as plainly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TypeVar

from tui_params.cli.output import Output
from tui_params.core import text
from tui_params.core.compare import Change, Comparison, KindChange, group_changes, severity
from tui_params.core.difference import Difference
from tui_params.core.kinds import kind_of
from tui_params.core.renames import Suggestion

_LONGEST_NAME = 500
_WIDEST_NAME = 100
_NARROWEST_NAME = 16
_MOST = 20
_MOST_CHANGES = 10
_COLUMNS = (("max |b-a|", 9), ("rel. L2", 9), ("cosine", 8), ("elements", 8))
_NARROW_COLUMNS = (0, 3)
_WIDE_TERMINAL = 72
_ALL = "(--names has all)"

_Cell = TypeVar("_Cell")


def lines(
    comparison: Comparison, paths: tuple[str, str], formats: tuple[str, str], output: Output, *, names: bool
) -> Iterator[str]:
    """Every line of the report; ``names`` lists tensors where else their kinds are."""
    compared = _compared(comparison)
    totals = [compared + sum(item.side == side for item in comparison.implied) for side in ("a", "b")]
    onlys = (comparison.only_in_a, comparison.only_in_b)
    for side, path, form, total, only in zip("AB", paths, formats, totals, onlys, strict=True):
        tail = f"  {text.clean(form, 40)}  {text.plural(total + len(only), 'tensor')}"
        shown = text.clean(path, _LONGEST_NAME)
        if output.width is not None:
            shown = text.shorten_name(shown, max(output.width - len(tail) - 3, _NARROWEST_NAME))
        yield f"{side}  {output.style(shown, 'bold')}{tail}"
    yield from _verdict(comparison, output)
    for side, only in zip("AB", onlys, strict=True):
        if only:
            yield from _section(f"Only in {side}", len(only), output)
            yield from _names(only, names, output)
    yield from _renames(comparison, output)
    groups = group_changes(comparison)
    yield from _changed(comparison, groups, output, names)
    yield from _same(comparison, groups, output, names)
    if comparison.uncompared:
        yield from _section("Not compared", len(comparison.uncompared), output)
        most = None if names else _MOST
        for item in comparison.uncompared[:most]:
            line = _row("! ", item.name, "", output)
            yield line + output.note(text.clean(item.reason, 300), "bold red", len(line))
        yield from _rest(len(comparison.uncompared), most)
    if comparison.implied:
        yield from _section("On one side only, without making a difference", len(comparison.implied), output)
        most = None if names else _MOST
        for implied in comparison.implied[:most]:
            line = _row(f"  {implied.side.upper()}  ", implied.name, "", output)
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
    first, *others = wrap(f"{word}: {', '.join(parts)}", output.width or 10_000, subsequent_indent="  ")
    yield output.style(word, style) + first[len(word) :]
    yield from others
    if comparison.rtol or comparison.atol:
        yield f"an element changed if |b-a| > {comparison.atol:g} + {comparison.rtol:g} |a|"


def _section(title: str, count: int, output: Output) -> Iterator[str]:
    yield ""
    yield f"{output.style(title, 'bold')} ({count:,})"


def _rest(count: int, most: int | None) -> Iterator[str]:
    if most is not None and count > most:
        yield f"  and {count - most:,} more {_ALL}"


def _row(before: str, name: str, after: str, output: Output) -> str:
    """A name between two texts; on a terminal it is shortened so that the line fits."""
    name = text.name(name, _LONGEST_NAME)
    if output.width is not None:
        name = text.shorten(name, max(output.width - len(before) - len(after), _NARROWEST_NAME))
    return before + name + after


def _names(found: Sequence[str], names: bool, output: Output) -> Iterator[str]:
    """The names, or their kinds with how many there are of each."""
    if names:
        yield from (_row("  ", name, "", output) for name in found)
        return
    kinds = Counter(map(kind_of, found))
    for kind, count in list(kinds.items())[:_MOST]:
        yield _row("  ", kind, f"  x {count:,}" if count > 1 else "", output)
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
    most = None if names else _MOST
    for group, share in list(zip(found, shares, strict=True))[:most]:
        assert group.worst is not None
        kind = _fitted(group.kind, width, output)
        line = f"  {kind:<{width}}  {share:>{share_width}}{_figures(group.worst, output)}"
        yield line + output.note(_became(group.worst), "dim", len(line))
    yield from _rest(len(found), most)
    ranked = list(comparison.changed) if names else sorted(comparison.changed, key=severity, reverse=True)
    most = None if names else _MOST_CHANGES
    yield ""
    yield output.style("Changed tensors" if names or len(ranked) <= _MOST_CHANGES else "The largest changes", "bold")
    shown = ranked[:most]
    width = _name_width([change.name for change in shown], 0, output)
    yield _title("tensor", width, None, output)
    for change in shown:
        figures = _figures(change, output)
        name = _fitted(change.name, width, output)
        line = f"  {name:<{width}}{figures}" if figures else f"  {name}"
        yield line + output.note(", ".join(_notes(change)), "dim", len(line))
    yield from _rest(len(ranked), most)


def _columns(output: Output) -> list[tuple[str, int]]:
    return _chosen(_COLUMNS, output)


def _chosen(cells: Sequence[_Cell], output: Output) -> list[_Cell]:
    """Of one cell for each column those that there is room for."""
    is_narrow = output.width is not None and output.width < _WIDE_TERMINAL
    return [cells[place] for place in _NARROW_COLUMNS] if is_narrow else list(cells)


def _title(first: str, width: int, second: str | None, output: Output) -> str:
    line = f"  {first:<{width}}" + ("" if second is None else f"  {second}")
    return output.style(line + "".join(f"  {title:>{size}}" for title, size in _columns(output)), "bold")


def _figures(change: Change, output: Output) -> str:
    difference = change.difference
    if difference is None:
        return ""
    share = text.percent(difference.changed, difference.count)
    values = (
        text.number(difference.max_abs, 3),
        text.number(difference.relative_l2, 3),
        _cosine(difference),
        share,
    )
    cells = zip(_chosen(values, output), _columns(output), strict=True)
    return "".join(f"  {value:>{size}}" for value, (_, size) in cells)


def _cosine(difference: Difference) -> str:
    """Six digits, and never 1 where something differs."""
    shown = text.number(difference.cosine, 6)
    return ">0.99999" if shown == "1" and difference.relative_l2 else shown


def _became(change: Change) -> str:
    """What became of the shape or the element type, if that changed."""
    if change.change == "shape":
        return f"{text.shape(change.shape_a)} became {text.shape(change.shape_b)}"
    return f"{change.dtype_a} became {change.dtype_b}" if change.change == "dtype" else ""


def _notes(change: Change) -> Iterator[str]:
    """What the numbers of a line do not say."""
    if change.change != "values":
        yield _became(change)
    if change.reason is not None:
        yield f"not compared: {text.clean(change.reason, 300)}"
    if change.name_in_b != change.name:
        yield f"B: {text.clean(change.name_in_b, _LONGEST_NAME)}"
    difference = change.difference
    if difference is None:
        return
    if not difference.changed:
        yield "every value equal"
    for count, what in (
        (difference.became_nan, "became NaN"),
        (difference.became_inf, "became infinite"),
        (difference.was_nan, "no longer NaN"),
        (difference.was_inf, "no longer infinite"),
    ):
        if count:
            yield f"{count:,} {what}"
    if change.first_index is not None and difference.changed < difference.count:
        yield f"first at {text.shape(change.first_index)}"


def _same(comparison: Comparison, groups: Sequence[KindChange], output: Output, names: bool) -> Iterator[str]:
    count = len(comparison.identical)
    if count:
        title = "Unchanged" if names else "Unchanged, by kind"
        yield from _section(title, count, output)
        if names:
            yield from (_row("  ", name, "", output) for name in comparison.identical)
        else:
            found = [group for group in groups if group.identical]
            for group in found[:_MOST]:
                yield _row("  ", group.kind, f"  {group.identical:,} of {group.count:,}", output)
            yield from _rest(len(found), _MOST)
    if comparison.equal:
        yield from _section("Equal in value, not in bits", len(comparison.equal), output)
        most = None if names else _MOST
        for change in comparison.equal[:most]:
            line = _row("  ", change.name, "", output)
            note = f"max |b-a| {text.number(change.max_abs, 3)}"
            yield line + output.note(note, "dim", len(line))
        yield from _rest(len(comparison.equal), most)


def _name_width(found: Sequence[str], beside: int, output: Output) -> int:
    width = min(max(len(text.name(name, _LONGEST_NAME)) for name in found), _WIDEST_NAME)
    if output.width is not None:
        fixed = 2 + beside + sum(size + 2 for _, size in _columns(output))
        width = max(min(width, output.width - fixed), _NARROWEST_NAME)
    return max(width, len("tensor"))


def _fitted(name: str, width: int, output: Output) -> str:
    cleaned = text.name(name, _LONGEST_NAME)
    # Both ends tell: the number of the layer in front, the weight behind.
    return cleaned if output.width is None else text.shorten(cleaned, width)
