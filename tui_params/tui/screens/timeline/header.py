"""The two lines above a timeline: since which step something is broken, and what is shown. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tui_params.core import text
from tui_params.core.compare.tracks import Step, rises
from tui_params.core.compare.verdict import Progress
from tui_params.core.kinds import kind_of, name_of_kind
from tui_params.tui.state.track_rows import Order
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import Part, spread

_ROOMY = 72
"""Cells from which on there is room for the name of the run beside what is broken."""


class FirstBroken(msgspec.Struct, frozen=True):
    """The first step with NaN or infinities: its index, how many tensors have what there, and the first of them."""

    at: int
    count: int
    what: str
    names: Sequence[str]


class Head(msgspec.Struct, frozen=True):
    """What the lines say."""

    label: str
    steps: Sequence[Step]
    shown: int
    count: int
    order: Order
    words: str
    broken: FirstBroken | None
    has_unread: bool
    progress: Progress | None
    is_reading: bool
    is_stopped: bool
    failure: str
    kinds: int
    """How many kinds the tensors are folded to; 0 if they are not."""
    waits: str
    """What is to be said of checkpoints that are not read yet."""


def head_lines(head: Head, width: int, glyphs: Glyphs) -> list[Line]:
    return [_verdict_line(head, width, glyphs), _state_line(head, width)]


def _verdict_line(head: Head, width: int, glyphs: Glyphs) -> Line:
    right: list[Part] = [(f"{text.clean(head.label, max(8, width // 4))} ", "dim")] if width >= _ROOMY else []
    if head.failure:
        return spread([(f" {glyphs.unreadable} {text.clean(head.failure, 400)}", "error")], [], width)
    if head.broken is not None:
        broken, step = head.broken, head.steps[head.broken.at]
        names = _named(broken.names)
        so_far = " so far" if head.is_reading else ""
        words = f" {glyphs.error} {broken.what} since step {step.name}: {text.plural(broken.count, 'tensor')}{so_far} "
        before = head.steps[broken.at - 1] if broken.at else None
        is_unsure = before is not None and before.reason is not None
        unsure: list[Part] = [(f" step {before.name} not opened ", "warning")] if before and is_unsure else []
        return spread([(words, "error"), *unsure, (f" {', '.join(names)}", "text")], right, width)
    if head.is_reading:
        return spread([(" No NaN and no infinity so far", "text")], right, width)
    if head.has_unread:
        return spread([(" No NaN and no infinity in what could be read", "warning")], right, width)
    return spread([(" No NaN and no infinity at any step", "success")], right, width)


def _named(names: Sequence[str]) -> list[str]:
    """The tensors by their kinds."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(kind_of(name), []).append(name)
    return [text.name(name_of_kind(same), 200) for same in kinds.values()]


def _state_line(head: Head, width: int) -> Line:
    steps = head.steps
    left: list[Part] = [(" Timeline", "title")]
    if steps:
        names = f"{steps[0].name} to {steps[-1].name}" if len(steps) > 1 else steps[0].name
        left.append((f"  {text.plural(len(steps), 'step')}, {text.clean(names, 40)}", "text"))
    if head.kinds:
        left.append((f"  {text.plural(head.kinds, 'kind')} of", "text"))
    gap = " " if head.kinds else "  "
    if head.words:
        left.append((f"{gap}{head.shown:,} of {text.plural(head.count, 'tensor')}", "text"))
        left.append((f"  /{text.clean(head.words, 30)}", "accent"))
    elif head.count:
        left.append((f"{gap}{text.plural(head.count, 'tensor')}", "text"))
    if not rises(steps):
        left.append(("  the numbers do not rise", "warning"))
    right: list[Part] = []
    room = width - sum(len(words) for words, _ in left) - 3
    lost = sum(step.reason is not None for step in steps)
    if lost:
        right.append((f"{text.plural(lost, 'step')} not opened  ", "warning"))
    if head.is_reading and not head.failure:
        right.append((f"{_progress_words(head.progress, bool(steps))} ", "accent"))
    elif head.is_stopped:
        right.append(("stopped, not read whole ", "warning"))
    elif head.waits:
        right.append((f"{text.shorten(text.clean(head.waits), max(24, room))} ", "accent"))
    elif head.count and len(f"by {head.order} ") <= room:
        right.append((f"by {head.order} ", "dim"))
    return spread(left, right, width)


def _progress_words(progress: Progress | None, is_open: bool) -> str:
    if progress is None:
        return "reading" if is_open else "opening"
    # What is not whole is never said to be.
    percent = min(99, progress.nbytes * 100 // progress.total_nbytes) if progress.total_nbytes else 0
    return f"reading {percent} %"
