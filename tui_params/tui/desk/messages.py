"""What worker threads tell the screen: frozen values with the key of the question, so that stale ones are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from textual.message import Message

if TYPE_CHECKING:
    from tui_params.core.findings import Finding
    from tui_params.core.health.checker import Report
    from tui_params.core.reading.grid import Grid
    from tui_params.core.reading.scanner import Activity, Outcome
    from tui_params.tui.desk.opening import Opened
    from tui_params.tui.widgets.canvas import Line


class SourceOpened(Message):
    """The source is open and its tree is built."""

    def __init__(self, opened: Opened) -> None:
        super().__init__()
        self.opened = opened


class SourceFailed(Message):
    """Nothing can be shown of the source."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


Verdict: TypeAlias = "tuple[Outcome, tuple[Finding, ...]]"
"""What came of a tensor, and what the rules say of it."""


class Measured(Message):
    """Some tensors were summarized, sampled or found unreadable, in this order.

    ``generation`` says of which opening. Of one tensor alone it is sent at once, of many what came within a moment.
    """

    def __init__(self, generation: int, verdicts: Sequence[Verdict]) -> None:
        super().__init__()
        self.generation = generation
        self.verdicts = verdicts


class Comparing(Message):
    """All has been read, and the comparison of the tensors has begun, or is over (``Desk.is_comparing``)."""

    def __init__(self, generation: int) -> None:
        super().__init__()
        self.generation = generation


class Checked(Message):
    """Every tensor has been read and compared."""

    def __init__(self, generation: int, report: Report) -> None:
        super().__init__()
        self.generation = generation
        self.report = report


class Located(Message):
    """The findings of a tensor, with the first places of what they are about."""

    def __init__(self, generation: int, name: str, findings: tuple[Finding, ...]) -> None:
        super().__init__()
        self.generation = generation
        self.name = name
        self.findings = findings


class SweepProgress(msgspec.Struct, frozen=True):
    """How far a sweep over everything has come: bytes, and seconds since it began."""

    done_bytes: int
    total_bytes: int
    seconds: float


class SourceSorted(Message):
    """The tree of the source, built anew in another order."""

    def __init__(self, generation: int, opened: Opened) -> None:
        super().__init__()
        self.generation = generation
        self.opened = opened


class SourceStale(Message):
    """What was opened is no longer what is there."""

    def __init__(self, generation: int, sentence: str) -> None:
        super().__init__()
        self.generation = generation
        self.sentence = sentence


class Working(Message):
    """What the scanner is doing, or None when it rests; the latest one is all that matters."""

    def __init__(self, activity: Activity | None, sweep: SweepProgress | None) -> None:
        super().__init__()
        self.activity = activity
        self.sweep = sweep

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Working)


class HistogramReady(Message):
    """The histogram that was asked for under ``key``, drawn, or why there is none."""

    def __init__(self, key: object, lines: tuple[Line, ...], reason: str | None) -> None:
        super().__init__()
        self.key = key
        self.lines = lines
        self.reason = reason


class GridReady(Message):
    """The values that were asked for under ``key``, or why there are none."""

    def __init__(self, key: object, grid: Grid | None, reason: str | None) -> None:
        super().__init__()
        self.key = key
        self.grid = grid
        self.reason = reason
