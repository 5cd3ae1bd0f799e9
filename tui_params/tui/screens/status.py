"""The header and the status line of the explorer, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_params.core import text
from tui_params.core.tree.tree import Tree
from tui_params.tui import keys
from tui_params.tui.state.searching import fault_of
from tui_params.tui.state.sorting import describe
from tui_params.tui.widgets.bars import Part, spread
from tui_params.tui.widgets.canvas import Line, line_width

if TYPE_CHECKING:
    from tui_params.core.health.checker import Report
    from tui_params.tui.screens.wiring import Wiring
    from tui_params.tui.terminal.glyphs import Glyphs


def header_lines(screen: Wiring, width: int) -> list[Line]:
    """What was opened, and its totals; at the right, what is running or wrong."""
    glyphs = screen.glyphs
    opened = screen.opened
    if opened is None:
        return [[(f" {text.clean(screen.opening.label, width - 2)}", "title")], [(" opening", "dim")]]
    source, totals = opened.source, opened.tree.totals()
    right = _running(screen, width)
    name: list[Part] = [(" " + text.clean(source.label, 200), "title"), (f"  {source.listing.format}", "dim")]
    if not screen.sort.is_default:
        name.append((f"  {describe(screen.sort, width)}", "accent"))
        if screen.sort_read is not None:
            read, tensors = screen.sort_read
            name.append((f", {read:,} of {tensors:,} read", "accent"))
    first = spread(name, right, width)
    states = _in_optimizer_states(opened.tree)
    # What a shard that is missing would hold is counted as nothing.
    least = "at least " if screen.pages is not None and screen.pages.has_unknown_sizes else ""
    counts = [text.plural(totals.tensors, "tensor"), f"{least}{text.numel(totals.parameters - states)} parameters"]
    if states:
        counts.append(f"{text.numel(states)} in optimizer states")
    if totals.buffers:
        counts.append(f"{text.numel(totals.buffers)} in buffers")
    counts.append(f"{least}{text.size(totals.nbytes)}")
    mix = {name: nbytes for name, nbytes in totals.nbytes_by_dtype.items() if nbytes or not least}
    counts.append(text.dtype_mix(mix, 4 if width >= 100 else 3))
    counts = [part for part in counts if part]
    wrong = _wrong(screen, width)
    while len(counts) > 1 and len(glyphs.separator.join(counts)) + 3 + line_width(wrong) > width:
        counts.pop()
    return [first, spread([(" " + glyphs.separator.join(counts), "text")], wrong, width)]


def _in_optimizer_states(tree: Tree) -> int:
    """The elements below the modules at the top that are called after an optimizer, as training checkpoints do."""
    node, states = 0, 0
    while node < len(tree):
        if tree.label[node].startswith("optim"):
            totals = tree.totals(node)
            states += totals.numel - totals.buffers
        node = tree.end[node]
    return states


def _running(screen: Wiring, width: int) -> list[Part]:
    """What is being read: of a sweep how far it is, how fast, and how long it still takes."""
    sweep, activity, glyphs = screen.sweep, screen.activity, screen.glyphs
    if screen.desk is not None and screen.desk.is_comparing:
        return [("comparing the tensors ", "accent")]
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
        return [(bar * filled, "spark"), (rest * (cells - filled), "dim"), (f"{words} ", "accent")]
    if activity is None:
        return []
    words = f"reading {min(99, int(100 * activity.done / max(1, activity.numel)))} %"
    return [(f"{words}, {activity.waiting:,} to go " if activity.waiting else f"{words} ", "accent")]


def _wrong(screen: Wiring, width: int) -> list[Part]:
    """What is wrong with the container as a whole."""
    if screen.stale is not None:
        return [(f"{screen.glyphs.trouble} {text.clean(screen.stale, max(30, width // 2))} ", "error")]
    opened = screen.opened
    if opened is None:
        return []
    report = screen.pages.report if screen.pages is not None else None
    if report is not None:
        return _verdict(report, screen.glyphs)
    findings = [finding for finding in opened.source.listing.findings if finding.severity != "info"]
    if not findings:
        known = screen.pages.troubles.all_findings() if screen.pages is not None else ()
        errors = sum(finding.severity == "error" for finding in known)
        return [(f"{screen.glyphs.trouble} {text.plural(errors, 'error')} so far ", "error")] if errors else []
    worst = min(findings, key=lambda finding: ("error", "warning", "info").index(finding.severity))
    more = f" (+{len(findings) - 1})" if len(findings) > 1 else ""
    mark = screen.glyphs.trouble if worst.severity == "error" else screen.glyphs.caution
    return [(f"{mark} {text.clean(worst.rule)}{more} ", worst.severity)]


def _verdict(report: Report, glyphs: Glyphs) -> list[Part]:
    """What a check of everything found, in a few words."""
    errors = sum(finding.severity == "error" for finding in report.findings)
    warnings = sum(finding.severity == "warning" for finding in report.findings)
    parts: list[Part] = []
    if errors:
        parts.append((f"{glyphs.trouble} {text.plural(errors, 'error')} ", "error"))
    if warnings:
        parts.append((f"{glyphs.caution} {text.plural(warnings, 'warning')} ", "warning"))
    if report.unchecked:
        tensors = sum(entry.tensor is not None for entry in report.unchecked)
        words = f"{tensors:,} not checked" if tensors else "the source itself not checked"
        parts.append((f"{glyphs.unreadable} {words} ", "warning"))
    if parts:
        return parts
    remarks = sum(finding.severity == "info" for finding in report.findings)
    found = f"no error, no warning, {text.plural(remarks, 'remark')}" if remarks else "nothing found"
    return [(f"checked: {found} ", "success")]


def status_lines(screen: Wiring, width: int) -> list[Line]:
    """The keys that matter where the focus is, or why the last one did nothing; at the right, the filter that is on."""
    right: list[Part] = []
    if screen.matching >= 0 and screen.query_now is not None and not screen.search.display:
        words = text.clean(screen.query_now.text, max(8, width // 3))
        right.append((f"/{words}", "accent"))
        found = screen.found.summary if screen.found is not None else ""
        # Escape stops a sweep first; and what is not known yet needs the room more.
        has_room = screen.sweep is None and (width >= 100 or found.endswith("match"))
        right.append((f"  {found}{', esc clears' if has_room else ''} ", "dim"))
    if screen.search.display and (fault := fault_of(screen.query_now, screen.search.note_width)):
        fault = text.clean(fault)
        shown = fault if len(fault) < width else f"{fault[: width - 3].rpartition(' ')[0]} …"
        return [[(f" {shown}", "text")]]
    if screen.said:
        return [spread([(f" {screen.said}", "text")], right, width)]
    hints = _hints(screen)
    left: list[Part] = [(" ", "text")]
    room = width - sum(len(part) for part, _ in right) - 3
    for key, label in hints:
        if room < len(key) + len(label) + 1:
            break
        left += [(key, "label"), (f" {label}  ", "dim")]
        room -= len(key) + len(label) + 3
    return [spread(left, right, width)]


def _hints(screen: Wiring) -> list[tuple[str, str]]:
    """The keys that matter now, as the user has them, and a word for each."""
    changed = getattr(getattr(screen.app, "settings", None), "keys", {})

    def hint(name: str, word: str) -> tuple[str, str]:
        return keys.first(name, changed), word

    words: tuple[tuple[str, str], ...]
    arrows = "arrows" if screen.glyphs.is_ascii else "↑↓"
    if screen.search.display and not screen.tree_view.has_focus:
        return [("enter", "keep"), ("esc", "clear"), (arrows, "move"), ("f1", "the language")]
    if screen.detail.field.has_focus:
        return [("enter", "to the values"), ("esc", "back to the tree")]
    back = hint("clear", "back")
    if screen.detail.grid.has_focus:
        tables = [hint("values.next_table", "next table")] if screen.detail.grid.has_tables else []
        move = ("arrows" if screen.glyphs.is_ascii else "↑↓←→", "move over the values")
        return [move, *tables, ("home", "start"), back]
    if screen.detail.facts.has_focus:
        words = (("values", "values"), ("log_counts", "log counts"), ("log_axis", "log axis"), ("enlarge", "enlarge"))
        return [*(hint(name, word) for name, word in words), back, hint("help", "keys")]
    if screen.sweep is not None:
        words = (("clear", "stop"), ("problems", "problems"), ("search", "search"), ("help", "keys"), ("quit", "quit"))
        return [hint(name, word) for name, word in words]
    node, opened = screen.tree_view.cursor, screen.opened
    is_tensor = opened is not None and node is not None and not opened.tree.is_module(node)
    hints = [hint("tree.enter", "enlarge" if is_tensor else "open")]
    words = (("search", "search"), ("help", "keys"), ("quit", "quit"), ("scan", "check all"), ("problems", "problems"))
    hints += [hint(name, word) for name, word in words]
    hints.append(hint("values", "values"))
    if opened is not None and opened.source.listing.gradients:
        hints.append(hint("gradient", "gradient"))
    words = (
        ("sort", "sort"),
        ("tree.expand_below", "expand"),
        ("tree.next_trouble", "next mark"),
        ("copy_name", "copy"),
    )
    return [*hints, *(hint(name, word) for name, word in words)]
