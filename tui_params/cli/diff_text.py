"""A comparison as lines for a person: first what differs, then what does not."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TypeVar

from tui_params.cli.adapted_text import adapted_lines
from tui_params.cli.check_text import not_read, wrapped
from tui_params.cli.elsewhere_text import relation_lines, tried_lines
from tui_params.cli.output import STYLE_OF_SEVERITY, Output
from tui_params.core import text
from tui_params.core.compare.change_text import became, count_changes, notes, sorts
from tui_params.core.compare.changes_by_kind import KindChange, change_rank, group_changes
from tui_params.core.compare.comparer import Comparison
from tui_params.core.compare.implied_text import implied_entries
from tui_params.core.compare.same_files import SAME_FILES
from tui_params.core.compare.suggestions import Suggestion
from tui_params.core.compare.uncompared_text import uncompared_entries
from tui_params.core.compare.verdict import Change
from tui_params.core.compare.verdict_text import (
    cosine_words,
    count_common,
    equal_values_words,
    equal_words,
    has_tolerance,
    kind_names,
    verdict_words,
)
from tui_params.core.findings import SEVERITY_WORDS, Finding
from tui_params.core.health.finding_text import folded
from tui_params.core.kinds import kind_of, name_of_kind
from tui_params.core.packed import UNTOLD, is_restored
from tui_params.core.source import Listing
from tui_params.core.stored_codes import some_are_codes, some_are_scaled

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
    comparison: Comparison, paths: tuple[str, str], listings: tuple[Listing, Listing], output: Output, *, names: bool
) -> Iterator[str]:
    """Every line of the report; with ``names``, tensors are listed in place of their kinds."""
    compared = count_common(comparison)
    alone = [item.side for item in comparison.implied] + [item.side for item in comparison.uncompared]
    totals = [compared + alone.count(side) for side in ("a", "b")]
    onlys = (comparison.only_in_a, comparison.only_in_b)
    wrongs = (comparison.findings_a, comparison.findings_b)
    for side, path, listing, total, only, wrong in zip("AB", paths, listings, totals, onlys, wrongs, strict=True):
        tail = f"  {text.clean(listing.format, 40)}  {text.plural(total + len(only), 'tensor')}"
        shown = text.clean(path, _LONGEST_NAME)
        if output.width is not None:
            shown = text.shorten_name(shown, max(output.width - len(tail) - 3, _NARROWEST_NAME))
        yield f"{side}  {output.style(shown, 'bold')}{tail}"
        yield from _wrong(wrong, path, output)
        if listing.not_opened:
            yield from wrapped(not_read(listing.not_opened), output, "bold yellow", 3)
    if comparison.is_same_files:
        yield SAME_FILES
    yield from _verdict(comparison, output)
    yield from adapted_lines(comparison.adapted, output, names=names)
    for side, only in zip("AB", onlys, strict=True):
        if only:
            yield from _section(f"Only in {side}", len(only), output)
            yield from _names(only, names, output)
    yield from _renames(comparison, output, names=names)
    if comparison.elsewhere.relations:
        yield from _section("The same values elsewhere, bit for bit", len(comparison.elsewhere.relations), output)
        found = list(relation_lines(comparison.elsewhere, output, names=names))
        most = None if names else _MOST
        yield from found[:most]
        yield from _rest(len(found), most)
    yield from tried_lines(comparison.elsewhere, output)
    yield from _packed(listings, onlys, output)
    groups = group_changes(comparison)
    has_restored = any(is_restored(info) for listing in listings for info in listing.tensors)
    yield from _changed(comparison, groups, output, names, has_restored)
    yield from _same(comparison, groups, output, names)
    if comparison.uncompared:
        yield from _section("Not compared", len(comparison.uncompared), output)
        entries = list(uncompared_entries(comparison.uncompared, names=names))
        most = None if names else _MOST
        for before, name, reason in entries[:most]:
            line = _row(before, name, "", output)
            yield line + output.note(text.clean(reason, 300), "bold red", len(line))
        yield from _rest(len(entries), most)
    if comparison.implied:
        yield from _section("On one side only, without making a difference", len(comparison.implied), output)
        most = None if names else _MOST
        entries = list(implied_entries(comparison.implied, names=names))
        for side, name, reason in entries[:most]:
            line = _row(f"  {side.upper()}  ", name, "", output)
            yield line + output.note(text.clean(reason, _LONGEST_NAME), "dim", len(line))
        yield from _rest(len(entries), most)


def _wrong(findings: Sequence[Finding], path: str, output: Output) -> Iterator[str]:
    """What is wrong with the files of one side; of remarks only the one that says which step was compared."""
    found = [finding for severity in ("error", "warning") for finding in findings if finding.severity == severity]
    found += [finding for finding in findings if finding.rule == "newest-step"]
    entries = [
        (severity, f"! {SEVERITY_WORDS[severity]}: {about}: {sentence}")
        for severity in SEVERITY_WORDS
        for about, sentence in folded([finding for finding in found if finding.severity == severity], path)
    ]
    for severity, line in entries[:_MOST]:
        yield from wrapped(line, output, STYLE_OF_SEVERITY[severity], 3)
    if len(entries) > _MOST:
        yield f"   ! and {text.plural(len(entries) - _MOST, 'more finding')} (--json has all)"


def _verdict(comparison: Comparison, output: Output) -> Iterator[str]:
    style = {"same": "bold green", "different": "bold yellow", "uncompared": "bold red"}[comparison.state]
    word, parts = verdict_words(comparison)
    first, *others = wrap(f"{word}: {', '.join(parts)}", output.width or 10_000, subsequent_indent="  ")
    yield output.style(word, style) + first[len(word) :]
    yield from others
    if has_tolerance(comparison):
        yield f"an element changed if |b-a| > {comparison.atol:g} + {comparison.rtol:g} |a|"


def _packed(listings: Sequence[Listing], onlys: Sequence[Sequence[str]], output: Output) -> Iterator[str]:
    """That packed weights on one side alone were compared as they are stored."""
    sides = [
        side
        for side, listing, only in zip("AB", listings, onlys, strict=True)
        if only and (some_are_codes(listing.tensors, listing.dequantized) or some_are_scaled(listing.tensors))
    ]
    if sides and not any(UNTOLD in note for listing in listings for info in listing.tensors for note in info.notes):
        has = "A and B have" if len(sides) > 1 else f"{sides[0]} has"
        sentence = f"{has} packed weights, compared as they are stored: --logical compares what they stand for"
        yield ""
        yield from wrapped(sentence, output, "bold yellow", 0)


def _section(title: str, count: int, output: Output) -> Iterator[str]:
    yield ""
    yield f"{output.style(title, 'bold')} ({count:,})"


def _rest(count: int, most: int | None) -> Iterator[str]:
    if most is not None and count > most:
        yield f"  and {count - most:,} more {_ALL}"


def _row(before: str, name: str, after: str, output: Output) -> str:
    """A name between two texts, shortened so that the line fits a terminal."""
    name = text.name(name, _LONGEST_NAME)
    if output.width is not None:
        name = text.shorten(name, max(output.width - len(before) - len(after), _NARROWEST_NAME))
    return before + name + after


def _names(found: Sequence[str], names: bool, output: Output) -> Iterator[str]:
    """The names, or their kinds and how many names each kind has."""
    if names:
        yield from (_row("  ", name, "", output) for name in found)
        return
    kinds: dict[str, list[str]] = {}
    for name in found:
        kinds.setdefault(kind_of(name), []).append(name)
    for members in list(kinds.values())[:_MOST]:
        yield _row("  ", name_of_kind(members), f"  x {len(members):,}" if len(members) > 1 else "", output)
    yield from _rest(len(kinds), _MOST)


def _renames(comparison: Comparison, output: Output, *, names: bool) -> Iterator[str]:
    used = tuple(rename for rename in comparison.applied if rename not in comparison.unused)
    if comparison.applied:
        yield ""
    most = None if names else _MOST
    if used:
        more = f" and {len(used) - _MOST:,} more" if most and len(used) > most else ""
        yield f"Renamed first: {_expressions(Suggestion(used[:most], 0))}{more}"
    for rename in comparison.unused[:most]:
        sentence = f"! {_expressions(Suggestion((rename,), 0))} changes no name of {rename.side.upper()}"
        yield from wrapped(sentence, output, "yellow", 0)
    if most and len(comparison.unused) > most:
        yield f"! {len(comparison.unused) - most:,} more change no name"
    if comparison.collisions:
        yield from _section("Renames that give two tensors one name", len(comparison.collisions), output)
        for lost in comparison.collisions[:most]:
            line = _row(f"  {lost.side.upper()}  ", lost.name, "", output)
            taken_by = text.name(lost.taken_by, _LONGEST_NAME)
            note = f"its name goes to {taken_by}: not compared"
            if lost.called != lost.name:
                note = f"{text.name(lost.called, _LONGEST_NAME)} is already {taken_by}: not compared"
            yield line + output.note(note, "yellow", len(line))
        yield from _rest(len(comparison.collisions), most)
    if comparison.suggested:
        yield ""
        yield output.style("Renames that match more names", "bold")
        for suggestion in comparison.suggested:
            yield f"  {_expressions(suggestion)}  matches {text.plural(suggestion.matches, 'more name')}"


def _expressions(suggestion: Suggestion) -> str:
    return " ".join(f"--rename {shlex.quote(text.clean(str(rename), 500))}" for rename in suggestion.renames)


def _changed(
    comparison: Comparison, groups: Sequence[KindChange], output: Output, names: bool, has_restored: bool
) -> Iterator[str]:
    found = [group for group in groups if group.changed]
    if not found:
        return
    yield from _section("Changed, by kind", len(comparison.changed), output)
    kinds = kind_names(found, [change.name for change in comparison.changed])
    shares = [f"{group.changed:,} of {group.count:,}" for group in found]
    share_width = max(map(len, shares))
    width = _name_width(kinds, share_width + 2, output)
    yield _title("kind", width, f"{'':>{share_width}}", output)
    most = None if names else _MOST
    counted = count_changes(comparison)
    for group, kind, share in list(zip(found, kinds, shares, strict=True))[:most]:
        line = f"  {_fitted(kind, width, output):<{width}}  {share:>{share_width}}{_kind_figures(group, output)}"
        yield line + output.note(", ".join(sorts(group, counted[group.kind])), "dim", len(line))
    yield from _rest(len(found), most)
    ranked = list(comparison.changed) if names else sorted(comparison.changed, key=change_rank, reverse=True)
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
        snr = change.difference.snr_db if change.difference is not None and has_restored else None
        said = [*([] if snr is None else [f"SNR {snr:.1f} dB"]), *notes(change)]
        yield line + output.note(", ".join(said), "dim", len(line))
    yield from _rest(len(ranked), most)


def _columns(output: Output) -> list[tuple[str, int]]:
    return _chosen(_COLUMNS, output)


def _chosen(cells: Sequence[_Cell], output: Output) -> list[_Cell]:
    """Those of the cells, one for each column, that a terminal has room for."""
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
    return _cells(difference.max_abs, difference.relative_l2, difference.cosine, share, output)


def _kind_figures(group: KindChange, output: Output) -> str:
    """The figures of a whole kind; nothing if only shapes are known to have changed."""
    if group.max_abs is None and not group.changed_elements and group.cosine is None:
        return ""
    share = text.percent(group.changed_elements, group.elements)
    return _cells(group.max_abs, group.relative_l2, group.cosine, share, output)


def _cells(max_abs: float | None, relative: float | None, cosine: float | None, share: str, output: Output) -> str:
    values = (text.number(max_abs, 3), text.number(relative, 3), cosine_words(cosine, relative), share)
    cells = zip(_chosen(values, output), _columns(output), strict=True)
    return "".join(f"  {value:>{size}}" for value, (_, size) in cells)


def _same(comparison: Comparison, groups: Sequence[KindChange], output: Output, names: bool) -> Iterator[str]:
    count = len(comparison.identical)
    if count:
        title = "Unchanged" if names else "Unchanged, by kind"
        yield from _section(title, count, output)
        if names:
            yield from (_row("  ", name, "", output) for name in comparison.identical)
        else:
            found = [group for group in groups if group.identical]
            kinds = kind_names(found[:_MOST], comparison.identical)
            for group, kind in zip(found, kinds, strict=False):
                yield _row("  ", kind, f"  {group.identical:,} of {group.count:,}", output)
            yield from _rest(len(found), _MOST)
    if comparison.equal:
        title = equal_words(comparison)
        if comparison.ignore_dtype:
            title = equal_values_words(comparison)
        yield from _section(title[:1].upper() + title[1:], len(comparison.equal), output)
        most = None if names else _MOST
        for change in comparison.equal[:most]:
            line = _row("  ", change.name, "", output)
            note = f"max |b-a| {text.number(change.difference.max_abs if change.difference else None, 3)}"
            note = f"{became(change)}, {note}" if change.change == "dtype" else note
            if change.difference is not None and change.difference.became_zero:
                note += f", {change.difference.became_zero:,} became 0"
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
    # Both ends matter: the number of the layer in front, the weight behind.
    return cleaned if output.width is None else text.shorten(cleaned, width)
