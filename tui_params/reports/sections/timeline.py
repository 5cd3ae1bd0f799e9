"""The section of a run: since when something is wrong, what jumped, what is frozen, and how norms moved."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tui_params.core import text
from tui_params.core.compare.track_text import broken_note, order_words, uneven_words
from tui_params.core.compare.track_text import named as tracks_named
from tui_params.core.compare.tracks import Moment, Timeline, Track
from tui_params.core.compare.uncompared_text import uncompared_entries
from tui_params.core.compare.verdict import Uncompared
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
from tui_params.reports.pictures.lines import Axis, Line, axis_of, changes_picture, lines_picture

MOST_ROWS = 60
MOST_LINES = 8
MOST_UNREAD = 40
MOST_STEPS = 2_000
"""Steps up to which norms are drawn."""

_MOST_KEPT = 100
"""Steps up to which a row has all norms as an attribute."""

_MOST_BROKEN = 12
_LONGEST_NAME = 160
_FROZEN = "Frozen"
_ALL = "timeline --json has all"


def timeline(found: Timeline) -> Html:
    """What ``timeline`` prints, in its order, with a picture of the norms."""
    steps = found.steps
    axis = axis_of([step.name for step in steps], [step.number for step in steps], is_rising=found.is_monotonic())
    shown = _worst(found)
    names = text.listed([text.shorten_name(step.name, 60) for step in steps], 12)
    return section(
        "The run",
        paragraph(f"{text.plural(len(steps), 'step')}: {names}.", class_="closing"),
        *(paragraph(f"{words[:1].upper()}{words[1:]}.", class_="warning") for words in order_words(found)),
        _unread(found),
        _broken(found),
        _uneven(found),
        _by_step("Jumps", "a change of 8 times the median of the tensor's others", found.jumps(), found),
        _by_step(_FROZEN, "not a bit has changed since", found.frozen(), found),
        _norms(found, axis, shown),
        _table(found, axis, shown),
        id_="timeline",
        note=text.plural(len(found.tracks), "tensor"),
    )


def _worst(found: Timeline) -> list[Track]:
    """The tensors that have a row: those with NaN first, then those that jumped, then the largest changes."""
    ranked = sorted(found.tracks, key=lambda track: (track.first_broken is None, track.jump is None, track.rank))
    return ranked[:MOST_ROWS]


def _unread(found: Timeline) -> Html:
    if not found.unread:
        return NOTHING
    every = list(uncompared_entries([Uncompared(what, reason) for what, reason in found.unread], names=False))
    entries = [
        element(
            "li", named(text.shorten(text.name(what), _LONGEST_NAME), "span"), element("span", text.clean(why, 500))
        )
        for _, what, why in every[:MOST_UNREAD]
    ]
    heading = element("h4", f"Could not be read ({len(found.unread):,})", class_="unchecked")
    listed = element("ul", *entries, class_="findings unchecked", data_unread=len(found.unread))
    return Html(heading + listed + rest(len(every) - len(entries), "of these", _ALL))


def _broken(found: Timeline) -> Html:
    first = found.first_broken
    if first is None:
        words = "in what could be read" if found.unread else "at any step"
        return paragraph(f"No NaN and no infinity {words}.", class_="unchecked" if found.unread else "ok")
    at, tracks = first
    name = found.steps[at].name
    heading = element("h4", f"NaN or infinities first at step {text.clean(name, 60)}", class_="error")
    entries = []
    for track in tracks[:_MOST_BROKEN]:
        moment = track.moments[at]
        assert moment is not None
        about = f"{moment.nan or 0:,} NaN, {moment.infinite or 0:,} Inf of {text.plural(moment.numel, 'element')}"
        entries.append(element("li", named(text.name(track.name, _LONGEST_NAME), "span"), element("span", about)))
    said = [f"{len(tracks):,} of {text.plural(len(found.tracks), 'tensor')}"]
    if at and found.steps[at - 1].reason is not None:
        said.append(f"step {text.clean(found.steps[at - 1].name, 60)} before it could not be read")
    later = sum(since is not None and since > at for since in (track.first_broken for track in found.tracks))
    if later:
        said.append(f"{text.plural(later, 'more tensor')} at later steps")
    listed = element("ul", *entries, class_="findings error", data_first_broken=at, data_tensors=len(tracks))
    return Html(heading + listed + rest(len(tracks) - len(entries), "tensors", _ALL) + paragraph("; ".join(said) + "."))


def _uneven(found: Timeline) -> Html:
    entries = [
        element("li", element("span", f"step {text.clean(step, 60)}: {words}" if step else words))
        for step, words in uneven_words(found)
    ]
    if not entries:
        return NOTHING
    heading = element("h4", "Not the same tensors at every step", class_="warning")
    return Html(heading + element("ul", *entries, class_="findings warning"))


def _by_step(title: str, meaning: str, found: Mapping[int, Sequence[Track]], run: Timeline) -> Html:
    if not found:
        return NOTHING
    entries = [
        element(
            "li",
            element("span", f"step {text.clean(run.steps[at].name, 60)}", class_="step"),
            element("span", f"{tracks_named(tracks)}{broken_note(tracks) if title == _FROZEN else ''}"),
            data_step=at,
            data_count=len(tracks),
        )
        for at, tracks in found.items()
    ]
    heading = element("h4", f"{title} ({sum(map(len, found.values())):,})", element("small", meaning))
    return Html(heading + element("ul", *entries[:MOST_ROWS], class_=f"findings {title.lower()}"))


def _norms(found: Timeline, axis: Axis, shown: Sequence[Track]) -> Html:
    """The norms of a few tensors, each divided by its first, which are all that fit one picture."""
    lines: list[Line] = []
    keys: list[Html] = []
    for track in shown:
        norms = [_norm(moment) for moment in track.moments]
        first = next((norm for norm in norms if norm), None)
        if first is None or len(lines) == MOST_LINES:
            continue
        values = tuple(None if norm is None else norm / first for norm in norms)
        broken = tuple(moment is not None and moment.is_broken for moment in track.moments)
        name = text.name(track.name, _LONGEST_NAME)
        keys.append(element("span", element("i", class_=f"c{len(lines)}"), name))
        lines.append(Line(name, values, broken))
    if not lines:
        return NOTHING
    if len(axis.names) > MOST_STEPS:
        return paragraph(f"Norms are not drawn: there are more than {MOST_STEPS:,} steps.", class_="dim")
    lost = [step.reason is not None for step in found.steps]
    first_broken = found.first_broken
    drawn = lines_picture(axis, lines, lost, None if first_broken is None else first_broken[0])
    where = "at their numbers" if axis.is_true else "in their order, evenly spaced"
    about = paragraph(
        f"Of finite elements, each divided by the first. Steps stand {where}."
        " A cross is a step at which the tensor has NaN or infinities."
    )
    return element(
        "figure",
        element("h4", f"Norms of {text.plural(len(lines), 'tensor')}"),
        about,
        element("div", drawn, class_="wide"),
        element("div", *keys, class_="key"),
    )


def _norm(moment: Moment | None) -> float | None:
    return None if moment is None else moment.norm


def _table(found: Timeline, axis: Axis, shown: Sequence[Track]) -> Html:
    if not shown:
        return NOTHING
    count = len(found.tracks)
    title = "Every tensor" if len(shown) == count else f"{len(shown):,} of {count:,} tensors"
    head = [
        element("th", "Tensor"),
        element("th", "Change per step"),
        number_head("Largest"),
        element("th", "at step"),
        number_head("First norm"),
        number_head("Last norm"),
        element("th", ""),
    ]
    note = "those with NaN first, then jumps, then the largest changes"
    rows = table(head, (_row(found, axis, track) for track in shown), id="tracks")
    return Html(element("h4", title, element("small", note)) + rows)


def _row(found: Timeline, axis: Axis, track: Track) -> Html:
    changes = [None if moment is None else moment.change for moment in track.moments]
    largest = track.largest
    norms = [norm for moment in track.moments if (norm := _norm(moment)) is not None]
    broken = [moment is not None and moment.is_broken for moment in track.moments]
    remarks = []
    for at, words, class_ in (
        (track.first_broken, "NaN or Inf from", "error"),
        (track.jump, "jumped at", "warning"),
        (track.frozen_since, "frozen since", "dim"),
    ):
        if at is not None:
            remarks.append(element("div", f"{words} {text.clean(found.steps[at].name, 40)}", class_=class_))
    lost = sum(moment is not None and moment.reason is not None for moment in track.moments)
    if lost:
        remarks.append(element("div", f"not read at {text.plural(lost, 'step')}", class_="error"))
    return element(
        "tr",
        named(text.name(track.name, _LONGEST_NAME)),
        element("td", changes_picture(axis, changes, broken, "change since the step before")),
        number_cell(text.number(largest, 3), largest, "data-largest"),
        element("td", "" if track.largest_at is None else text.clean(found.steps[track.largest_at].name, 20)),
        number_cell(text.number(norms[0] if norms else None, 3)),
        number_cell(text.number(norms[-1] if norms else None, 3)),
        element("td", join(remarks)),
        data_name=track.name,
        data_norms=json.dumps([_norm(moment) for moment in track.moments]) if len(changes) <= _MOST_KEPT else None,
        data_first_broken=track.first_broken,
        data_jump=track.jump,
        data_frozen_since=track.frozen_since,
    )
