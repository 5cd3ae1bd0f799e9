"""The header and the status line of the explorer, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_params.core import text
from tui_params.tui.widgets.bars import Part, spread
from tui_params.tui.widgets.canvas import Line

if TYPE_CHECKING:
    from tui_params.tui.screens.explorer import ExplorerScreen


def header_lines(screen: ExplorerScreen, width: int) -> list[Line]:
    """What was opened, and its totals; at the right, what is running or wrong."""
    glyphs = screen.glyphs
    opened = screen.opened
    if opened is None:
        return [[(f" {text.clean(screen.opening.label, width - 2)}", "title")], [(" opening", "dim")]]
    source, totals = opened.source, opened.tree.totals()
    right: list[Part] = []
    if screen.activity is not None:
        activity = screen.activity
        share, waiting = activity.done / max(1, activity.numel), activity.waiting
        words = f"reading {share:.0%}".replace("%", " %")
        right.append((f"{words}, {waiting} to go " if waiting else f"{words} ", "accent"))
    first = spread(
        [(" " + text.clean(source.label, 200), "title"), (f"  {source.listing.format}", "dim")], right, width
    )
    counts = [text.plural(totals.tensors, "tensor"), f"{text.numel(totals.parameters)} parameters"]
    if totals.buffers:
        counts.append(f"{text.numel(totals.buffers)} in buffers")
    counts.append(text.size(totals.nbytes))
    counts.append(text.dtype_mix(dict(totals.nbytes_by_dtype), 4 if width >= 100 else 3))
    return [
        first,
        spread([(" " + glyphs.separator.join(part for part in counts if part), "text")], _wrong(screen, width), width),
    ]


def _wrong(screen: ExplorerScreen, width: int) -> list[Part]:
    """What is wrong with the container as a whole."""
    if screen.stale is not None:
        return [(f"{screen.glyphs.trouble} {text.clean(screen.stale, max(30, width // 2))} ", "error")]
    opened = screen.opened
    if opened is None:
        return []
    findings = [finding for finding in opened.source.listing.findings if finding.severity != "info"]
    if not findings:
        return []
    worst = min(findings, key=lambda finding: ("error", "warning", "info").index(finding.severity))
    more = f" (+{len(findings) - 1})" if len(findings) > 1 else ""
    mark = screen.glyphs.trouble if worst.severity == "error" else screen.glyphs.caution
    return [(f"{mark} {text.clean(worst.rule)}{more} ", worst.severity)]


def status_lines(screen: ExplorerScreen, width: int) -> list[Line]:
    """The keys that matter where the focus is; at the right, the filter that is on."""
    right: list[Part] = []
    if screen.matching >= 0 and screen.query_now is not None and not screen.search.display:
        words = text.clean(screen.query_now.text, max(8, width // 3))
        right.append((f"/{words}", "accent"))
        right.append((f"  {screen.matching:,} match, esc clears ", "dim"))
    hints = _hints(screen)
    left: list[Part] = [(" ", "text")]
    room = width - sum(len(part) for part, _ in right) - 3
    for key, label in hints:
        if room < len(key) + len(label) + 1:
            break
        left += [(key, "label"), (f" {label}  ", "dim")]
        room -= len(key) + len(label) + 3
    return [spread(left, right, width)]


def _hints(screen: ExplorerScreen) -> list[tuple[str, str]]:
    if screen.search.display and not screen.tree_view.has_focus:
        return [("enter", "keep"), ("esc", "clear"), ("↑↓" if not screen.glyphs.is_ascii else "arrows", "move")]
    if screen.detail.field.has_focus:
        return [("enter", "to the values"), ("esc", "back to the tree")]
    if screen.detail.grid.has_focus:
        arrows = "↑↓←→" if not screen.glyphs.is_ascii else "arrows"
        return [(arrows, "move over the values"), ("home", "start"), ("esc", "back to the tree")]
    if screen.detail.facts.has_focus:
        return [
            ("v", "values"),
            ("s", "log counts"),
            ("a", "log axis"),
            ("z", "enlarge"),
            ("esc", "back"),
            ("?", "keys"),
        ]
    hints = [("enter", "open"), ("/", "search"), ("v", "values")]
    opened = screen.opened
    if opened is not None and opened.source.listing.gradients:
        hints.append(("g", "gradient"))
    return [
        *hints,
        ("?", "keys"),
        ("q", "quit"),
        ("e", "expand"),
        ("n", "next mark"),
        ("s", "log counts"),
        ("y", "copy"),
    ]
