"""The header and the status line of the explorer: pure functions from a BarState to lines."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from tui_params.core import text
from tui_params.core.tree.tree import Tree
from tui_params.tui import keys
from tui_params.tui.screens.explorer.bar_state import BarState
from tui_params.tui.screens.explorer.hints import Hint, hints_of
from tui_params.tui.state.searching import fault_of
from tui_params.tui.state.sorting import describe
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import Part, spread
from tui_params.tui.widgets.canvas import line_width

if TYPE_CHECKING:
    from tui_params.core.health.checker import Report
    from tui_params.tui.terminal.glyphs import Glyphs

_ROOMY = 72
"""Cells from which on the header has room for the format beside the edits."""


def header_lines(state: BarState, width: int) -> list[Line]:
    """What was opened, and its totals; at the right, what is running or wrong."""
    glyphs = state.glyphs
    opened = state.opened
    if opened is None:
        return [[(f" {text.clean(state.label, width - 2)}", "title")], [(" opening", "dim")]]
    source, totals = opened.source, opened.tree.totals()
    right = _running(state, width)
    name: list[Part] = [(" " + text.clean(source.label, 200), "title")]
    if state.pulse:
        name.append((f"  {state.pulse}", "accent"))
    if state.editing:
        name.append((f"  {state.editing}", "accent" if state.is_editable else "dim"))
    if not state.sort.is_default:
        name.append((f"  {describe(state.sort, width)}", "accent"))
        if state.sort_read is not None:
            read, tensors = state.sort_read
            name.append((f", {read:,} of {tensors:,} read", "accent"))
    amount, speed = state.fetched
    room = width - line_width([*name, *right]) - 4
    is_said = state.sweep is not None or state.verifying is not None or state.comparing is not None  # with a rate
    fetched = f"{amount}{glyphs.separator}{speed}" if speed and not is_said else amount
    words = next((words for words in (fetched, amount) if words and cell_len(words) <= room), "")
    if words:
        name.append((f"  {words}", "dim"))
    since, changes, brief = state.compared
    room = width - line_width([*name, *right]) - 4
    forms = [f"{since}: {changes}", *([f"{since}: {brief}", brief] if brief else ()), since] if since else []
    said = next((words for words in forms if len(words) <= room), "")
    if said:
        name.append((f"  {said}", "accent"))
    if not state.is_editable or width >= _ROOMY:
        left = width - line_width([*name, *right]) - (4 if right else 3)
        form = _first_parts(source.listing.format, left)
        # Of a model in memory its name, step and changes matter more than that it is one.
        is_needed = not (said or brief or words or state.pulse or state.editing)
        name[1:1] = [(f"  {form}", "dim")] if is_needed or len(form) <= left else []
    first = spread(name, right, width)
    states, of_what = _in_states(opened.tree, source.listing.states)
    # The tensors of a missing shard are counted as empty.
    least = "at least " if state.has_unknown_sizes else ""
    parameters = text.short_plural(totals.parameters - states, "stored element" if state.has_codes else "parameter")
    counts = [text.plural(totals.tensors, "tensor"), f"{least}{parameters}"]
    if state.has_codes and not state.is_logical:
        counts.append(f"packed weights: {keys.first('logical', state.keys)}")
    if states:
        counts.append(f"{text.numel(states)} in {of_what} states")
    if totals.buffers:
        counts.append(f"{text.numel(totals.buffers)} in buffers")
    counts.append(f"{least}{text.size(totals.nbytes)}")
    mix = {name: nbytes for name, nbytes in totals.nbytes_by_dtype.items() if nbytes or not least}
    counts.append(text.dtype_mix(mix, 4 if width >= 100 else 3))
    if source.listing.models:
        # The tree shows the totals of each; their sum says nothing of any.
        beside = " and the states of a run" if source.listing.states else ""
        models = f"{text.plural(len(source.listing.models), 'model')}{beside}"
        counts = [f"{text.plural(totals.tensors, 'tensor')} in {models}"]
    counts = [part for part in counts if part]
    wrong = _wrong(state, width)
    least_counts = 1 if state.stale is None else 0  # then the totals may be those of something that is gone
    while len(counts) > least_counts and len(glyphs.separator.join(counts)) + 3 + line_width(wrong) > width:
        counts.pop()
    return [first, spread([(" " + glyphs.separator.join(counts), "text")], wrong, width)]


_JOINTS = re.compile(r", | and |: ")


def _first_parts(words: str, room: int) -> str:
    """A list such as a format, without as many of its last parts as there is no room for; the first always stays."""
    for joint in reversed([*_JOINTS.finditer(words)]):
        if len(words) <= room:
            break
        words = words[: joint.start()]
    return words


def _in_states(tree: Tree, states: Collection[str]) -> tuple[int, str]:
    """How many elements are in states of a training run, and of what: modules at the top that are said to be such.

    Those that are named after an optimizer are some too, as in checkpoints of one file.
    """
    node, numel, of_what = 0, 0, "optimizer"
    while node < len(tree):
        # A module with one child shares its line: "scaler.growth.weight".
        top = tree.label[node].partition(".")[0]
        if top.startswith("optim") or top in states:
            totals = tree.totals(node)
            numel += totals.numel - totals.buffers
            if not top.startswith("optim"):
                of_what = "training"
        node = tree.end[node]
    return numel, of_what


def _running(state: BarState, width: int) -> list[Part]:
    """What is being read; for a sweep, how far it is, how fast, and how long it will still take."""
    sweep, activity, glyphs = state.sweep, state.activity, state.glyphs
    if state.is_cross_checking:
        return [("cross-checking the tensors ", "accent")]
    word = ""
    if sweep is None and state.verifying is not None:
        sweep, word = state.verifying, "verifying "
    if sweep is None and state.comparing is not None:
        sweep, word = state.comparing, "comparing "
    if sweep is not None:
        share = sweep.done_bytes / max(1, sweep.total_bytes)
        cells = 12 if width >= 100 else 6
        filled = min(cells, int(share * cells))
        rate = sweep.done_bytes / max(sweep.seconds, 1e-3)
        words = f" {min(99, int(share * 100))} %"
        if width >= 100:
            words += f"  {text.size(sweep.done_bytes)} of {text.size(sweep.total_bytes)}"
        if rate > 0:
            words += f"  {text.size(int(rate))}/s"
        if sweep.seconds > 1 and rate > 0:
            left = (sweep.total_bytes - sweep.done_bytes) / rate
            words += f"  {text.duration(left)} left" if left >= 1 else "  nearly done"
        bar, rest = (glyphs.bar, "-") if glyphs.is_ascii else (glyphs.bar, "░")
        return [(word, "accent"), (bar * filled, "spark"), (rest * (cells - filled), "dim"), (f"{words} ", "accent")]
    if activity is None:
        return []
    words = f"reading {min(99, int(100 * activity.done / max(1, activity.numel)))} %"
    return [(f"{words}, {activity.waiting:,} to go " if activity.waiting else f"{words} ", "accent")]


def _wrong(state: BarState, width: int) -> list[Part]:
    """What is wrong with the container as a whole."""
    if state.stale is not None:
        mark, reloads = state.glyphs.error, f"; {keys.first('reload', state.keys)} reloads"
        return [(f" {mark} {_brief(state.stale, width - cell_len(reloads) - 4)}{reloads} ", "error")]
    opened = state.opened
    if opened is None:
        return []
    if state.report is not None:
        return _report_words(state.report, state.glyphs)
    findings = [finding for finding in opened.source.listing.findings if finding.severity != "info"]
    if not findings:
        words = f"{state.glyphs.error} {text.plural(state.errors, 'error')} so far "
        return [(words, "error")] if state.errors else []
    worst = min(findings, key=lambda finding: ("error", "warning", "info").index(finding.severity))
    more = f" (+{len(findings) - 1})" if len(findings) > 1 else ""
    mark = state.glyphs.error if worst.severity == "error" else state.glyphs.warning
    return [(f"{mark} {text.clean(worst.rule)}{more} ", worst.severity)]


def _brief(sentence: str, cells: int) -> str:
    """As many of the clauses of a sentence as fit, the first of them in any case."""
    while cell_len(text.clean(sentence, 500)) > cells and "; " in sentence:
        sentence = sentence.rpartition("; ")[0]
    return _within(sentence, cells)


def _within(words: str, cells: int) -> str:
    """A sentence in so many cells; the middle of a longer one is left out."""
    limit = cells
    while cell_len(shown := text.clean(words, limit)) > cells and limit > 0:
        limit -= 1  # wide characters take two
    return shown


def _report_words(report: Report, glyphs: Glyphs) -> list[Part]:
    """What a check of everything found, in a few words."""
    errors, warnings = report.count("error"), report.count("warning")
    parts: list[Part] = []
    if errors:
        parts.append((f"{glyphs.error} {text.plural(errors, 'error')} ", "error"))
    if warnings:
        parts.append((f"{glyphs.warning} {text.plural(warnings, 'warning')} ", "warning"))
    if report.unchecked:
        tensors = sum(entry.tensor is not None for entry in report.unchecked)
        files = sum(entry.file is not None for entry in report.unchecked)
        words = f"{tensors:,} not checked" if tensors else f"{text.plural(files, 'file')} not checked"
        if not tensors and not files:
            words = "nothing was checked" if report.has_nothing else "the source itself not checked"
        parts.append((f"{glyphs.unreadable} {words} ", "warning"))
    if report.unverified:
        parts.append((f"{glyphs.unreadable} {text.plural(report.unverified, 'file')} not verified ", "warning"))
    if parts:
        return parts
    remarks = report.count("info")
    found = f"no error, no warning, {text.plural(remarks, 'remark')}" if remarks else "nothing found"
    return [(f"checked: {found} ", "success")]


def status_lines(state: BarState, width: int) -> list[Line]:
    """The keys that matter where the focus is, or why the last one did nothing; at the right, the filter that is on."""
    right: list[Part] = []
    if state.found is not None and state.query is not None and not state.is_searching:
        words = text.clean(state.query.text, max(8, width // 3))
        right.append((f"/{words}", "accent"))
        found = state.found.summary
        # During a sweep escape stops that first; and how many tensors are not known yet needs the room more.
        has_room = state.sweep is None and (width >= 100 or found.endswith("match"))
        right.append((f"  {found}{', esc clears' if has_room else ''} ", "dim"))
    if state.is_searching and (fault := fault_of(state.query, state.note_width)):
        return [[(f" {text.first_words(text.clean(fault), width - 1)}", "text")]]
    if state.said:
        # What follows a colon may be a name, whose end matters.
        room = width - line_width(right) - (3 if right else 1)
        said = state.said if ": " in state.said else text.first_words(state.said, room)
        return [spread([(f" {said}", "text")], right, width)]
    left: list[Part] = [(" ", "text"), *_writing(state, width)]
    for hint in _fitting(state, width, right):
        left += [(hint.key, "label"), (f" {hint.word}  ", "dim")]
    return [spread(left, right, width)]


def _writing(state: BarState, width: int) -> list[Part]:
    """What is being written, before the keys."""
    if not state.running:
        return []
    words = _within(state.running, width // 3)
    return [(words, "accent"), (f", {keys.first('clear', state.keys)} stops   ", "text")]


def _fitting(state: BarState, width: int, right: Sequence[Part]) -> Iterator[Hint]:
    """The hints that there is room for beside what stands at the right."""
    room = width - sum(len(part) for part, _ in right) - 3 - line_width(_writing(state, width))
    for hint in hints_of(state):
        if room < len(hint.key) + len(hint.word) + 1:
            return
        yield hint
        room -= len(hint.key) + len(hint.word) + 3


def key_at_status(state: BarState, width: int, x: int) -> str | None:
    """The id of the key whose hint is at a cell of the status line; None where there is none."""
    line = status_lines(state, width)[0]
    at = 1 + line_width(_writing(state, width))
    for hint in hints_of(state):
        words = f"{hint.key} {hint.word}"
        if "".join(part for part, _ in line)[at : at + len(words)] != words:
            return None
        if at <= x < at + len(words):
            return hint.id
        at += len(words) + 2
    return None


def key_at_header(state: BarState, width: int, x: int, y: int) -> str | None:
    """The id of the key that a click on the header stands for: the list of what is wrong, or open again."""
    wrong = line_width(_wrong(state, width))
    if y != 1 or not wrong or x < width - wrong:
        return None
    return "problems" if state.stale is None else "reload"
