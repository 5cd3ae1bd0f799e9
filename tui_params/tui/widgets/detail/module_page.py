"""The page of a module as lines of styled text: what it holds, and what is wrong below it."""

from __future__ import annotations

import msgspec

from tui_params.core import text
from tui_params.core.findings import Finding
from tui_params.core.kinds import KindGroup, kind_of
from tui_params.core.layers.short_names import fitting_names
from tui_params.core.tensor import TensorInfo
from tui_params.core.tree.totals import Totals
from tui_params.tui.state.changes import Below
from tui_params.tui.state.places import KEPT_BLANK
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.detail.detail_lines import NO_TYPES, has_unknown_size
from tui_params.tui.widgets.detail.kind_change_lines import kind_change_lines
from tui_params.tui.widgets.detail.spread_lines import Measured, spread_lines
from tui_params.tui.widgets.detail.text_lines import mark_of, name_lines, within, wrapped

_MOST_GROUPED = 1000
"""The most findings and reasons that the page of a module groups: it is painted often, and there may be 90,000."""

_NO_SHORT_TYPES = frozenset(name[:8] for name in NO_TYPES)


_MOST_KINDS = 12

_SIZE = 8
"""Cells of a size, such as 1023 KiB: the shapes before it are a column."""

_FEWEST = 6
"""Lines of a section from which on it may stand below the page, shortened."""


class ModuleView(msgspec.Struct, frozen=True):
    """What the pane shows of a module: its totals, its largest tensors, what is wrong below it."""

    path: str
    class_name: str | None
    totals: Totals
    largest: tuple[TensorInfo, ...]
    findings: tuple[Finding, ...]
    unread: tuple[tuple[str, str], ...]
    measured: int
    entries: int = 0
    """Leaves that are not tensors."""
    has_unknown_sizes: bool = False
    adapters: tuple[str, ...] = ()
    """Rank, alpha and scale of the adapters in it, in a few sentences."""
    changes: tuple[str, ...] = ()
    """Their tensors and the norms of the changes that they make, if they are few."""
    kinds: tuple[KindGroup, ...] = ()
    """The tensors whose names differ in numbers only, together; empty where there are too many to group at once."""
    figures: Measured = ()
    """The figures of the tensors that were read, by name within the module; none where there are too many."""
    moved: tuple[str, ...] = ()
    """Since an earlier look: how many tensors have changed, and which are gone, in a few sentences."""
    compared: tuple[Below, ...] = ()
    """What differs from another source, for each of ``kinds``; empty where nothing is compared."""
    is_kind: bool = False
    """Whether it is no module, but the tensors of a kind: they stand beside each other, none below."""


def module_lines(view: ModuleView, width: int, glyphs: Glyphs) -> list[Line]:
    """The whole page of a module, ``width`` cells wide."""
    return module_parts(view, width, 0, 0, glyphs)[0]


def module_parts(
    view: ModuleView, width: int, height: int, below: int, glyphs: Glyphs
) -> tuple[list[Line], list[Line]]:
    """The page of a module in ``height`` lines ``width`` cells wide, and what stands in the ``below`` lines under it.

    These are the room of the values, which a module has none of. What does not fit there ends the page, which scrolls.
    """
    lines = _module_lines(view, width, glyphs)
    spread = spread_lines(view.figures, view.totals.tensors - view.totals.tied, width)
    kinds = [] if view.compared else _kind_lines(view, width, glyphs)
    sections = [section for section in (spread, kinds) if section]
    lower: list[Line] = []
    upper = list(lines)
    for section in sections:
        if len(upper) + 1 + len(section) <= height:
            upper += [[], *section]
        elif below and not lower and below >= min(len(section), _FEWEST):
            lower = section
        elif lower and len(lower) + 1 + len(section) <= below:
            lower = [*lower, [], *section]
        else:
            upper += [[], *section]
    if len(lower) > below:
        lower = [*lower[: below - 1], [(f"and {len(lower) - below + 1} more lines", "dim")]]
    return within(upper, width), within(lower, width)


def _module_lines(view: ModuleView, width: int, glyphs: Glyphs) -> list[Line]:
    totals = view.totals
    lines = name_lines(view.path, width)
    if view.class_name:
        lines.append([(text.clean(view.class_name, width), "accent")])
    facts = []
    if totals.tensors or not view.entries:
        least = "at least " if view.has_unknown_sizes else ""
        facts = [text.plural(totals.tensors, "tensor"), f"{least}{text.short_plural(totals.numel, 'element')}"]
        # A number and its unit stay together.
        facts.append(text.size(totals.nbytes).replace(" ", KEPT_BLANK))
    if view.entries:
        facts.append(text.plural(view.entries, "entry", "entries") + ("" if totals.tensors else " beside the tensors"))
    lines += wrapped(glyphs.separator.join(facts), width, "text")
    if totals.tied:
        lines += wrapped(f"{glyphs.tied} {text.plural(totals.tied, 'tied tensor')}, counted once", width, "accent")
    if totals.trainable or totals.buffers:
        # What a file has saved without saying what it is may be a parameter; beside named ones it is none.
        parameters = totals.named or totals.parameters
        share = text.percent(totals.trainable, parameters)
        words = [f"trainable {text.numel(totals.trainable)} of {text.numel(parameters)} ({share})"]
        if totals.buffers:
            words.append(f"buffers {text.numel(totals.buffers)}")
        lines += wrapped(glyphs.separator.join(words), width, "dim")
    lines.append([])
    if view.adapters:
        lines.append([("Adapters" if len(view.adapters) > 1 else "Adapter", "label")])
        for sentence in (*view.adapters, *view.changes):
            lines += wrapped(sentence, width, "text", hang=2)
        lines.append([])
    for sentence in view.moved:
        lines += wrapped(sentence, width, "text", hang=2)
    if view.moved:
        lines.append([])
    if view.compared:
        differs = kind_change_lines(view.path, view.kinds, view.compared, width, glyphs)
        lines += [*differs, []] if differs else []
    lines += _health_lines(view, width, glyphs)
    if totals.nbytes_by_dtype:
        lines.append([("Element types", "label")])
        mix = sorted(totals.nbytes_by_dtype.items(), key=lambda item: -item[1])
        lines += [_bar_line(name, nbytes, totals.nbytes, width, glyphs) for name, nbytes in mix[:6]]
        if len(mix) > 6:
            lines.append([(f"and {len(mix) - 6} more", "dim")])
        lines.append([])
    if view.largest:
        lines.append([("Largest tensors", "label")])
        strip = len(view.path) + 1
        for info in view.largest:
            relative = info.name[strip:] if info.name.startswith(f"{view.path}.") else info.name
            size = text.size(info.nbytes)
            dims = text.short_shape(info.shape) if not glyphs.is_ascii else "x".join(map(str, info.shape))
            if has_unknown_size(info):
                dims = size = "unknown"
            dims, size = text.shorten(dims, max(8, width // 3)), size.rjust(_SIZE)
            room = width - len(size) - len(dims) - 3
            name = text.shorten_name(text.clean(relative), max(room, 6))
            lines.append([(name.ljust(room), "text"), (f" {dims} ", "dim"), (f" {size}", "number")])
    return lines if lines[-1] else lines[:-1]


def _kind_lines(view: ModuleView, width: int, glyphs: Glyphs) -> list[Line]:
    """The kinds with most bytes, if any is there more than once: how often, of which shape, and how large together."""
    if all(group.count == 1 for group in view.kinds):
        return []
    lines: list[Line] = [[("Kinds", "label")]]
    prefix = f"{kind_of(view.path)}."
    shown = sorted(view.kinds, key=lambda group: -group.nbytes)[:_MOST_KINDS]
    facts = [_kind_facts(group, glyphs) for group in shown]
    room = max(6, width - max(sum(map(len, each)) for each in facts) - 3)
    names = fitting_names([text.clean(group.kind.removeprefix(prefix)) for group in shown], room)
    for name, (times, dims, size) in zip(names, facts, strict=True):
        room = max(6, width - len(times) - len(dims) - len(size) - 3)
        lines.append([(name.ljust(room), "text"), (times, "number"), (f" {dims} ", "dim"), (f" {size}", "number")])
    if len(view.kinds) > _MOST_KINDS:
        lines.append([(f"and {len(view.kinds) - _MOST_KINDS} more", "dim")])
    return lines


def _kind_facts(group: KindGroup, glyphs: Glyphs) -> tuple[str, str, str]:
    """How many there are, of which shape, how large."""
    dims = text.short_shape(group.shapes[0]) if group.shapes else ""
    dims = dims.replace("×", "x") if glyphs.is_ascii else dims
    dims = f"{group.distinct_shapes} shapes" if group.distinct_shapes > 1 else dims
    return f" {group.count:,} x", dims, text.size(group.nbytes).rjust(_SIZE)


def _health_lines(view: ModuleView, width: int, glyphs: Glyphs) -> list[Line]:
    lines: list[Line] = []
    if view.findings or view.unread:
        lines += _finding_lines(view, width, glyphs) + _unread_lines(view, width, glyphs)
    tensors = view.totals.tensors
    if tensors:
        if view.measured >= tensors:
            words = "every tensor below has been read"
        elif view.measured:
            words = f"{view.measured:,} of {tensors:,} tensors below have been read so far"
        else:
            words = "no tensor below has been read yet"
        words = words.replace(" below", "") if view.is_kind else words
        lines += wrapped(words, width, "dim")
    return [*lines, []] if lines else []


def _finding_lines(view: ModuleView, width: int, glyphs: Glyphs) -> list[Line]:
    """The worst findings, grouped by kind. What groups them is imported here: most checkpoints have no findings."""
    from tui_params.core.health.alike import group_findings

    findings, lines, told = view.findings[:_MOST_GROUPED], list[Line](), 0
    for severity in ("error", "warning", "info"):
        same = [finding for finding in findings if finding.severity == severity]
        mark, style = mark_of(severity, glyphs)
        for alike in group_findings(same)[:5]:
            first = same[alike.members[0]]
            words = ("" if alike.is_same else "the first: ") + first.evidence
            row = first.module if first.tensor is None else first.tensor
            name = "" if row is None or row == view.path else alike.title(row, view.path)
            lines += wrapped(f"{mark} {name}: {words}" if name else f"{mark} {words}", width, style, 2)
            told += len(alike.members)
    if told < len(view.findings):
        lines.append([(f"  and {len(view.findings) - told:,} more", "dim")])
    return lines


def _unread_lines(view: ModuleView, width: int, glyphs: Glyphs) -> list[Line]:
    from tui_params.core.health.alike import group_reasons

    lines, told = list[Line](), 0
    for alike in group_reasons(view.unread[:_MOST_GROUPED])[:3]:
        name, reason = view.unread[alike.members[0]]
        words = f"{alike.title(name, view.path)}: {'' if alike.is_same else 'the first: '}{text.clean(reason)}"
        lines += wrapped(f"{glyphs.unreadable} {words}", width, "warning", hang=2)
        told += len(alike.members)
    if told < len(view.unread):
        lines.append([(f"  and {len(view.unread) - told:,} more could not be read", "dim")])
    return lines


def _bar_line(name: str, nbytes: int, total: int, width: int, glyphs: Glyphs) -> Line:
    share = text.percent(nbytes, total)
    size = text.size(nbytes)
    room = width - 9 - 10 - 9 - 1
    filled = round(room * nbytes / total) if total and room > 0 else 0
    return [
        (f"{'unknown' if name in _NO_SHORT_TYPES else text.clean(name, 8):<9}", "text"),
        (f"{size:>9} ", "number"),
        (f"{share:>8} ", "dim"),
        (glyphs.bar * max(filled, 1 if room > 0 and nbytes else 0), "spark"),
    ]
