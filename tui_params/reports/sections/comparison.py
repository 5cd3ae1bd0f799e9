"""The section of a comparison: what differs between A and B, what does not, and what could not be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice

from tui_params.core import text
from tui_params.core.compare.adapted import Adapted
from tui_params.core.compare.change_text import count_changes, notes, sorts
from tui_params.core.compare.changes_by_kind import KindChange, change_rank, group_changes
from tui_params.core.compare.comparer import Comparison
from tui_params.core.compare.elsewhere_text import relation_entries, tried_sentences
from tui_params.core.compare.implied_text import implied_entries
from tui_params.core.compare.same_files import SAME_FILES
from tui_params.core.compare.uncompared_text import uncompared_entries
from tui_params.core.compare.verdict import Change
from tui_params.core.compare.verdict_text import cosine_words, has_tolerance, kind_names, verdict_words
from tui_params.core.kinds import kind_of, name_of_kind
from tui_params.reports.html import (
    NOTHING,
    Html,
    element,
    join,
    named,
    number_cell,
    number_head,
    paragraph,
    rest,
    section,
    table,
)

MOST_KINDS = 150
MOST_CHANGES = 100
MOST_NAMES = 60
_LONGEST_NAME = 160
_LONGEST_REASON = 500
_ALL = "diff --json has all"
_BAR = "rel. L2, logarithmic"
_FIGURES = ("max |b-a|", "rel. L2", "cosine", "elements")


def comparison(found: Comparison) -> Html:
    """The verdict, then what ``diff`` prints, in its order."""
    word, parts = verdict_words(found)
    groups = group_changes(found)
    tolerance = None
    if has_tolerance(found):
        tolerance = paragraph(f"An element changed if |b-a| > {found.atol:g} + {found.rtol:g} |a|.", class_="dim")
    return section(
        "What changed",
        paragraph(element("strong", word, class_=found.state), f": {', '.join(parts)}.", class_="closing"),
        paragraph(SAME_FILES) if found.is_same_files else None,
        tolerance,
        _adapted(found.adapted),
        _only("A", found.only_in_a),
        _only("B", found.only_in_b),
        _suggested(found),
        _elsewhere(found),
        _kinds(found, [group for group in groups if group.changed]),
        _largest(found.changed),
        _same(found, [group for group in groups if group.identical]),
        _uncompared(found),
        _implied(found),
        element(
            "div",
            hidden=True,
            id="counts",
            data_status=found.state,
            data_identical=len(found.identical),
            data_changed=len(found.changed),
            data_equal=len(found.equal),
            data_uncompared=len(found.uncompared),
            data_only_in_a=len(found.only_in_a),
            data_only_in_b=len(found.only_in_b),
        ),
        id_="comparison",
        note="B against A",
    )


def _list(title: str, count: int, entries: Sequence[Html], hidden: int, class_: str = "") -> Html:
    """A heading with a count, and a list of entries, of which some more are not shown."""
    heading = element("h4", f"{title} ({count:,})", class_=class_ or None)
    return Html(heading + element("ul", *entries, class_="findings") + rest(hidden, "of these", _ALL))


def _item(name: str, about: str = "") -> Html:
    shown = named(text.shorten(text.name(name), _LONGEST_NAME), "span")
    return element("li", shown, element("span", text.clean(about, _LONGEST_REASON)) if about else None)


def _only(side: str, names: Sequence[str]) -> Html:
    if not names:
        return NOTHING
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(kind_of(name), []).append(name)
    entries = [
        _item(name_of_kind(members), text.plural(len(members), "tensor") if len(members) > 1 else "")
        for members in islice(kinds.values(), MOST_NAMES)
    ]
    return _list(f"Only in {side}", len(names), entries, len(kinds) - len(entries))


def _adapted(adapted: Sequence[Adapted]) -> Html:
    touched = sorted([item for item in adapted if item.is_touched], key=lambda item: -(item.relative or math.inf))
    shown = [
        _item(
            item.name,
            f"{'not known' if item.relative is None else f'{text.number(100 * item.relative, 3)} %'}: {item.about}",
        )
        for item in touched[:MOST_NAMES]
    ]
    if not adapted:
        return NOTHING
    return _list(f"Weights that the adapter moves, of {len(adapted):,}", len(touched), shown, len(touched) - len(shown))


def _suggested(found: Comparison) -> Html:
    entries = [
        _item(" ".join(str(rename) for rename in suggestion.renames), f"matches {suggestion.matches:,} more names")
        for suggestion in found.suggested[:MOST_NAMES]
    ]
    return _list("Renames that match more names", len(entries), entries, 0) if entries else NOTHING


def _elsewhere(found: Comparison) -> Html:
    said = join(paragraph(text.clean(line, 500) + ".", class_="dim") for line in tried_sentences(found.elsewhere))
    every = list(relation_entries(found.elsewhere, names=False))
    entries = [_item(f"A {a}{slice_a} = B {b}{tail}") for a, slice_a, b, tail in every[:MOST_NAMES]]
    if not entries:
        return said
    title = "The same values elsewhere, bit for bit"
    return Html(_list(title, len(found.elsewhere.relations), entries, len(every) - len(entries)) + said)


def _kinds(found: Comparison, groups: Sequence[KindChange]) -> Html:
    if not groups:
        return NOTHING
    shown = groups[:MOST_KINDS]
    counted = count_changes(found)
    top = max((group.relative_l2 or 0.0 for group in shown), default=0.0)
    head = [element("th", "Kind"), number_head("Changed"), *map(number_head, _FIGURES), element("th", _BAR)]
    rows = [
        element(
            "tr",
            named(text.name(name, _LONGEST_NAME)),
            number_cell(f"{group.changed:,} of {group.count:,}", group.changed, "data-changed"),
            *_figures(group.max_abs, group.relative_l2, group.cosine, group.changed_elements, group.elements),
            element("td", _bar(group.relative_l2, top), text.clean(", ".join(sorts(group, counted[group.kind])), 300)),
            data_kind=group.kind,
        )
        for group, name in zip(shown, kind_names(shown, [change.name for change in found.changed]), strict=True)
    ]
    title = element("h4", f"Changed, by kind ({len(found.changed):,})")
    return Html(title + table(head, rows, id="changed-kinds") + rest(len(groups) - len(shown), "kinds", _ALL))


def _largest(changed: Sequence[Change]) -> Html:
    if not changed:
        return NOTHING
    shown = sorted(changed, key=change_rank, reverse=True)[:MOST_CHANGES]
    top = max(((change.difference.relative_l2 or 0.0) if change.difference else 0.0 for change in shown), default=0.0)
    head = [element("th", "Tensor"), *map(number_head, _FIGURES), element("th", _BAR)]
    rows = []
    for change in shown:
        difference = change.difference
        cells = (
            [element("td", "–", class_="n")] * len(_FIGURES)
            if difference is None
            else _figures(
                difference.max_abs, difference.relative_l2, difference.cosine, difference.changed, difference.count
            )
        )
        about = text.clean(", ".join(notes(change)), 300)
        bar = _bar(difference.relative_l2 if difference else None, top)
        name = named(text.name(change.name, _LONGEST_NAME))
        rows.append(element("tr", name, *cells, element("td", bar, about), data_name=change.name))
    is_all = len(shown) == len(changed)
    title = "Changed tensors" if is_all else f"The {MOST_CHANGES} largest changes of {len(changed):,}"
    return Html(element("h4", title) + table(head, rows, id="changed-tensors"))


def _figures(
    max_abs: float | None, relative: float | None, cosine: float | None, changed: int, count: int
) -> list[Html]:
    if max_abs is None and not changed and cosine is None:
        return [element("td", "–", class_="n")] * len(_FIGURES)
    return [
        number_cell(text.number(max_abs, 3), max_abs, "data-max-abs"),
        number_cell(text.number(relative, 3), relative, "data-relative-l2"),
        number_cell(cosine_words(cosine, relative), cosine, "data-cosine"),
        number_cell(text.percent(changed, count), changed, "data-changed-count"),
    ]


def _bar(relative: float | None, top: float) -> Html | None:
    """A bar as long as the relative change, on a logarithmic scale over four decades."""
    if not relative or not top or relative > top:
        return None
    share = max(0.02, 1 + math.log10(relative / top) / 4)
    return element("span", element("span", style=f"width:{share:.1%}"), class_="meter")


def _same(found: Comparison, groups: Sequence[KindChange]) -> Html:
    if not found.identical:
        return NOTHING
    shown = groups[:MOST_NAMES]
    names = kind_names(shown, found.identical)
    entries = [_item(name, f"{group.identical:,} of {group.count:,}") for group, name in zip(shown, names, strict=True)]
    inside = Html(element("ul", *entries, class_="findings") + rest(len(groups) - len(shown), "kinds", _ALL))
    summary = element("summary", f"Bit-identical, by kind ({len(found.identical):,})")
    return element("details", summary, inside)


def _uncompared(found: Comparison) -> Html:
    if not found.uncompared:
        return NOTHING
    every = list(uncompared_entries(found.uncompared, names=False))
    entries = [_item(name, reason) for _, name, reason in every[:MOST_NAMES]]
    return _list("Not compared", len(found.uncompared), entries, len(every) - len(entries), "unchecked")


def _implied(found: Comparison) -> Html:
    if not found.implied:
        return NOTHING
    every = list(implied_entries(found.implied, names=False))
    entries = [_item(f"{side.upper()}  {name}", reason) for side, name, reason in every[:MOST_NAMES]]
    title = "On one side only, without making a difference"
    return _list(title, len(found.implied), entries, len(every) - len(entries))
