"""What worker threads tell the screen: frozen values with the key of the question, so that stale ones are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from tui_params.core.grid import Grid
    from tui_params.core.scan import Activity, Outcome
    from tui_params.tui.opening import Opened
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


class Measured(Message):
    """A tensor was summarized, sampled or found unreadable. ``generation`` says of which opening."""

    def __init__(self, generation: int, outcome: Outcome) -> None:
        super().__init__()
        self.generation = generation
        self.outcome = outcome


class SourceStale(Message):
    """What was opened is no longer what is there."""

    def __init__(self, generation: int, sentence: str) -> None:
        super().__init__()
        self.generation = generation
        self.sentence = sentence


class Working(Message):
    """What the scanner is doing, or None when it rests; the latest one is all that matters."""

    def __init__(self, activity: Activity | None) -> None:
        super().__init__()
        self.activity = activity

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
