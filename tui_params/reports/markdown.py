"""Markdown for a pull request: the tables of GitHub, in fewer characters than a comment may have."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from tui_params.core import text
from tui_params.core.compare.change_text import count_changes, notes, sorts
from tui_params.core.compare.changes_by_kind import change_rank, group_changes
from tui_params.core.compare.comparer import Comparison
from tui_params.core.compare.same_files import SAME_FILES
from tui_params.core.compare.track_text import broken_note, order_words, uneven_words
from tui_params.core.compare.track_text import named as tracks_named
from tui_params.core.compare.tracks import Timeline, Track
from tui_params.core.compare.uncompared_text import uncompared_entries
from tui_params.core.compare.verdict import Change
from tui_params.core.compare.verdict_text import cosine_words, kind_names, verdict_words
from tui_params.core.findings import SEVERITY_WORDS
from tui_params.core.health.finding_text import folded
from tui_params.core.health.registry import SEVERITIES
from tui_params.core.health.report_text import closing, unchecked_entries
from tui_params.core.kinds import KindGroup, group_by_kind, kind_of, name_of_kind
from tui_params.core.layers.odd import told
from tui_params.reports.facts import Checked, Facts
from tui_params.reports.layers import STD, layers_of

MOST_BYTES = 60_000
"""GitHub refuses a comment of more than 65,536 characters."""

_LONGEST_NAME = 120
_LONGEST_SENTENCE = 400
_MOST = 40
_ROOM = MOST_BYTES // 7
"""Bytes of the rows of one table: there are six at most, and something between them."""

_FENCE = re.compile("`+")


def markdown(facts: Facts) -> str:
    """The document."""
    return "\n".join(_lines(facts)) + "\n"


def code(name: str) -> str:
    """A name as code, in which nothing has a meaning: no mention, no HTML. A bar would end the cell of a table."""
    shown = text.shorten(text.name(name), _LONGEST_NAME).replace("|", "\\x7c")
    longest = max((len(found) for found in _FENCE.findall(shown)), default=0)
    fence, edge = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{edge}{shown}{edge}{fence}"


def prose(sentence: str) -> str:
    """A sentence in which nothing has a meaning; nobody who is named like a part of it is called."""
    return text.markdown(text.shorten(sentence, _LONGEST_SENTENCE))


def _lines(facts: Facts) -> Iterator[str]:
    names = ("A", "B") if facts.comparison is not None else ("",)
    for checked, name in zip(facts.checked, names, strict=True):
        found = checked.totals
        types = text.clean(text.dtype_mix(dict(found.nbytes_by_dtype)), 60)
        yield (
            f"{f'**{name}** ' if name else ''}{code(checked.label)}: {prose(checked.listing.format)}, "
            f"{text.plural(found.tensors, 'tensor')}, {found.numel:,} {checked.counted}, "
            f"{text.size(found.nbytes)} {types}"
        )
        yield ""
    if facts.comparison is not None:
        yield from _comparison(facts.comparison)
    if facts.timeline is not None:
        yield from _timeline(facts.timeline)
    for checked, name in zip(facts.checked, names, strict=True):
        yield from _problems(checked, name)
    if facts.newest.tensors:
        yield from _kinds(facts.newest, names[-1])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], count: int, where: str) -> Iterator[str]:
    """A table of as many of ``count`` rows as there is room for, and how many more there are."""
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    room, shown = _ROOM, 0
    for row in islice(rows, _MOST):
        line = f"| {' | '.join(row)} |"
        room -= len(line.encode())
        if room < 0:
            break
        shown += 1
        yield line
    yield ""
    if shown < count:
        yield f"and {count - shown:,} more ({where})"
        yield ""


def _problems(checked: Checked, name: str) -> Iterator[str]:
    report = checked.report
    yield f"### Problems{f' of {name}' if name else ''}"
    yield ""
    yield f"{prose(closing(report))}."
    yield ""
    rows: list[tuple[str, str, str]] = []
    for severity in SEVERITIES:
        findings = [finding for finding in report.findings if finding.severity == severity]
        rows += [(SEVERITY_WORDS[severity], about, said) for about, said in folded(findings, checked.label)]
    if not report.has_nothing:
        rows += [("**not checked**", about, said) for about, said in unchecked_entries(report, checked.label)]
    if rows:
        cells = ((severity, code(about), prose(said)) for severity, about, said in rows)
        yield from _table(("", "tensor, module or file", "evidence"), cells, len(rows), "check has all")


def _kinds(checked: Checked, name: str) -> Iterator[str]:
    groups = group_by_kind(checked.tensors)
    layers = layers_of(checked)
    place = {group.kind: at for at, group in enumerate(layers.table.kinds)}
    yield f"<details><summary>{text.plural(len(groups), 'kind')} of tensors{f' in {name}' if name else ''}</summary>"
    yield ""

    def row(group: KindGroup) -> Sequence[str]:
        at = place[group.kind]
        shape = group.shape_in(text.short_shape)
        usual = layers.usual[at]
        std = text.number(usual.low, 3)
        if usual.low != usual.high:
            std = f"{std} to {text.number(usual.high, 3)}"
        odd = told(usual, STD, lambda member: layers.table.label(at, member), 2)
        return (
            code(group.kind if group.count > 1 else checked.tensors[group.indices[0]].name),
            f"{group.count:,}",
            text.shorten(shape, 40),
            prose(" ".join(dtype.short for dtype in group.dtypes[:3])),
            f"{group.numel:,}",
            std,
            prose("; ".join(odd)),
        )

    head = ("kind", "tensors", "shape", "type", "parameters", "std", "")
    yield from _table(head, map(row, groups), len(groups), "ls --kinds has all")
    yield "</details>"


def _comparison(found: Comparison) -> Iterator[str]:
    word, parts = verdict_words(found)
    yield f"**{word}**: {prose(', '.join(parts))}.{f' {SAME_FILES}' if found.is_same_files else ''}"
    yield ""
    touched = sorted([item for item in found.adapted if item.is_touched], key=lambda item: -(item.relative or math.inf))
    if found.adapted:
        yield f"The adapter moves {len(touched):,} of {text.plural(len(found.adapted), 'weight')}."
        yield ""
    for item in touched[:10]:
        share = "not known" if item.relative is None else f"{text.number(100 * item.relative, 3)} %"
        yield f"- {code(item.name)}: {share}"
    if touched:
        yield ""
    for side, only in (("A", found.only_in_a), ("B", found.only_in_b)):
        if only:
            kinds: dict[str, list[str]] = {}
            for name in only:
                kinds.setdefault(kind_of(name), []).append(name)
            listed = [code(name_of_kind(members)) for members in islice(kinds.values(), 10)]
            more = f" and {len(kinds) - 10:,} more kinds" if len(kinds) > 10 else ""
            yield f"Only in {side} ({len(only):,}): {', '.join(listed)}{more}"
            yield ""
    groups = [group for group in group_changes(found) if group.changed]
    if groups:
        counted = count_changes(found)
        head = ("changed, by kind", "tensors", "max abs(b-a)", "rel. L2", "cosine", "elements", "")
        rows = (
            (
                code(name),
                f"{group.changed:,} of {group.count:,}",
                text.number(group.max_abs, 3),
                text.number(group.relative_l2, 3),
                cosine_words(group.cosine, group.relative_l2),
                text.percent(group.changed_elements, group.elements) if group.elements else "–",
                prose(", ".join(sorts(group, counted[group.kind]))),
            )
            for group, name in zip(groups, kind_names(groups, [change.name for change in found.changed]), strict=True)
        )
        yield from _table(head, rows, len(groups), "diff has all")
        ranked = sorted(found.changed, key=change_rank, reverse=True)[:10]
        worst = ((code(change.name), prose(_difference(change))) for change in ranked)
        yield from _table(("the largest changes", ""), worst, len(found.changed), "diff --names has all")
    if found.uncompared:
        entries = list(uncompared_entries(found.uncompared, names=False))
        lost = ((code(name), prose(reason)) for _, name, reason in entries)
        yield from _table(("**not compared**", "why"), lost, len(entries), "diff has all")


def _difference(change: Change) -> str:
    difference = change.difference
    said = [] if difference is None else [f"rel. L2 {text.number(difference.relative_l2, 3)}"]
    return ", ".join([*said, *(note for note in notes(change) if note)])


def _timeline(found: Timeline) -> Iterator[str]:
    first = found.first_broken
    names = [text.clean(text.shorten_name(step.name, 40)) for step in found.steps]
    yield f"{text.plural(len(names), 'step')}: {prose(text.listed(names, 12))}"
    yield ""
    if first is not None:
        at, tracks = first
        count = f"{len(tracks):,} of {text.plural(len(found.tracks), 'tensor')}"
        yield f"**NaN or infinities first at step {prose(names[at])}**, in {count}: {_listed(tracks)}"
    else:
        yield f"No NaN and no infinity {'in what could be read' if found.unread else 'at any step'}."
    yield ""
    order = [f"{words[:1].upper()}{words[1:]}." for words in order_words(found)]
    uneven = [f"step {step}: {words}" if step else words for step, words in uneven_words(found)]
    order += [f"Not the same tensors at every step: {'; '.join(uneven)}."] if uneven else []
    for words in order:
        yield prose(words)
        yield ""
    for title, by_step in (("Jumps", found.jumps()), ("Frozen since", found.frozen())):
        if by_step:
            some = list(islice(by_step.items(), 10))
            notes = [broken_note(tracks) if title == "Frozen since" else "" for _, tracks in some]
            said = [f"step {prose(names[at])}: {_listed(tracks)}" for at, tracks in some]
            yield f"{title}: {'; '.join(map(''.join, zip(said, notes, strict=True)))}"
            yield ""
    if found.unread:
        lost = ((code(what), prose(reason)) for what, reason in found.unread)
        yield from _table(("**not read**", "why"), lost, len(found.unread), "timeline has all")
    ranked = sorted((track for track in found.tracks if track.largest), key=lambda track: -track.largest)[:15]
    rows = (
        (
            code(track.name),
            text.number(track.largest, 3),
            "" if track.largest_at is None else prose(names[track.largest_at]),
        )
        for track in ranked
    )
    if ranked:
        yield from _table(("moved most", "rel. L2", "at step"), rows, len(found.tracks), "timeline --names has all")


def _listed(tracks: Sequence[Track]) -> str:
    return prose(tracks_named(tracks))
