"""What threads tell the screen: messages that carry frozen values, and what tells a late one from one that is awaited.

``generation`` is the number of the opening that a message is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from textual.message import Message

from tui_params.tui.terminal.frozen_message import FrozenMessage

if TYPE_CHECKING:
    from tui_params.core.adapters.change import Change as AdapterChange
    from tui_params.core.compare.comparer import Comparison
    from tui_params.core.compare.moved import Change
    from tui_params.core.compare.sides import Sides
    from tui_params.core.edits import Change as EditChange
    from tui_params.core.edits import Proposal
    from tui_params.core.findings import Finding
    from tui_params.core.health.adapters import Adapter
    from tui_params.core.health.checker import Report
    from tui_params.core.health.verification import Verification
    from tui_params.core.numbers.spectrum.spectrum import Spectrum
    from tui_params.core.reading.grid import Grid
    from tui_params.core.reading.outcome import Outcome
    from tui_params.core.reading.scanner import Activity
    from tui_params.tui.state.opened import Opened
    from tui_params.tui.state.pieces import Stored
    from tui_params.tui.terminal.line import Line

JudgedOutcome: TypeAlias = "tuple[Outcome, tuple[Finding, ...]]"
"""What came of reading a tensor, and what the rules say about it."""

ExportState = Literal["writing", "written", "occupied", "failed", "stopped"]


class SweepProgress(msgspec.Struct, frozen=True):
    """How far a sweep over everything has come: bytes, and seconds since it began."""

    done_bytes: int
    total_bytes: int
    seconds: float


@dataclass(slots=True, eq=False, repr=False)
class SourceOpened(FrozenMessage):
    """The source is open and its tree is built."""

    opened: Opened


@dataclass(slots=True, eq=False, repr=False)
class SourceFailed(FrozenMessage):
    """The source cannot be opened, and why."""

    reason: str


@dataclass(slots=True, eq=False, repr=False)
class SourceStale(FrozenMessage):
    """The source is no longer what was opened, and how it has changed."""

    generation: int
    sentence: str


@dataclass(slots=True, eq=False, repr=False)
class Faulted(FrozenMessage):
    """Something in the background came to nothing, which is not said elsewhere: what, and why, in one sentence."""

    words: str


@dataclass(slots=True, eq=False, repr=False)
class SourceSorted(FrozenMessage):
    """The tree of the source has been built anew in another order."""

    generation: int
    opened: Opened


@dataclass(slots=True, eq=False, repr=False)
class Measured(FrozenMessage):
    """Some tensors were summarized, sampled or found unreadable, in this order.

    A tensor that is read alone is reported at once; of many, those read within a moment are reported together.
    """

    generation: int
    outcomes: Sequence[JudgedOutcome]


@dataclass(slots=True, eq=False, repr=False)
class Working(FrozenMessage):
    """What the scanner is doing, or None when it rests; only the latest one matters."""

    activity: Activity | None
    sweep: SweepProgress | None

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Working)


@dataclass(slots=True, eq=False, repr=False)
class CrossChecking(FrozenMessage):
    """Everything has been read, and the cross-check of the tensors has begun or ended (``Desk.is_cross_checking``)."""

    generation: int


@dataclass(slots=True, eq=False, repr=False)
class Checked(FrozenMessage):
    """Every tensor has been read and cross-checked."""

    generation: int
    report: Report


@dataclass(slots=True, eq=False, repr=False)
class FilesVerified(FrozenMessage):
    """The files were compared with those of the hub, or why not; without either, some bytes more have been read."""

    generation: int
    result: Verification | None
    reason: str = ""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, FilesVerified) and message.result is None and not message.reason


@dataclass(slots=True, eq=False, repr=False)
class AdaptersFound(FrozenMessage):
    """The adapters of the source, with their scales."""

    generation: int
    adapters: tuple[Adapter, ...]


@dataclass(slots=True, eq=False, repr=False)
class ChangesFound(FrozenMessage):
    """The changes that the adapters at or below the module ``path`` make, in the order in which they were asked for."""

    generation: int
    path: str
    changes: tuple[AdapterChange, ...]


@dataclass(slots=True, eq=False, repr=False)
class PiecesFound(FrozenMessage):
    """The pieces of a tensor, none if it lies in one place or they cannot be found; and what other ranks have of it."""

    generation: int
    name: str
    stored: Stored


@dataclass(slots=True, eq=False, repr=False)
class Located(FrozenMessage):
    """The findings of a tensor, with the first places of what they are about."""

    generation: int
    name: str
    findings: tuple[Finding, ...]


@dataclass(slots=True, eq=False, repr=False)
class HistogramReady(FrozenMessage):
    """The histogram that was asked for under ``key``, drawn, or why there is none."""

    key: object
    lines: tuple[Line, ...]
    reason: str | None


@dataclass(slots=True, eq=False, repr=False)
class GridReady(FrozenMessage):
    """The values that were asked for under ``key``, or why there are none."""

    key: object
    grid: Grid | None
    reason: str | None


@dataclass(slots=True, eq=False, repr=False)
class Exported(FrozenMessage):
    """How the writing of the file at ``path`` stands; only the latest one matters.

    ``done`` bytes are written of ``total``, if that is known. ``words`` say why it failed, or what was written.
    """

    path: str
    state: ExportState
    done: int
    total: int | None
    words: str

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Exported)


@dataclass(slots=True, eq=False, repr=False)
class Compared(FrozenMessage):
    """How some tensors and gradients have moved since an earlier look, and which are gone. ``is_last``: it is all."""

    generation: int
    changes: Mapping[str, Change]
    gone: tuple[str, ...]
    is_last: bool


@dataclass(slots=True, eq=False, repr=False)
class ComparedFailed(FrozenMessage):
    """The comparison has ended before everything was compared, and why."""

    generation: int
    reason: str


@dataclass(slots=True, eq=False, repr=False)
class ComparedSoFar(FrozenMessage):
    """How far the comparison of two sources is; only the latest one matters. None: it rests."""

    generation: int
    progress: SweepProgress | None

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, ComparedSoFar)


@dataclass(slots=True, eq=False, repr=False)
class ComparedAll(FrozenMessage):
    """The comparison of two sources is complete."""

    generation: int
    comparison: Comparison


@dataclass(slots=True, eq=False, repr=False)
class PairRead(FrozenMessage):
    """Both sides of the tensor ``name`` were read beside each other; without ``sides``, ``reason`` says why not."""

    generation: int
    name: str
    sides: Sides | None
    reason: str


@dataclass(slots=True, eq=False, repr=False)
class RankFound(FrozenMessage):
    """The singular values of the difference of a tensor; None if there are none, and ``reason`` says why."""

    generation: int
    name: str
    spectrum: Spectrum | None
    reason: str


@dataclass(slots=True, eq=False, repr=False)
class DifferenceMeasured(FrozenMessage):
    """The figures of the difference of a tensor are known."""

    generation: int
    name: str


@dataclass(slots=True, eq=False, repr=False)
class Proposed(FrozenMessage):
    """What would come of the edit that was asked about under ``key``, or why it is refused."""

    key: object
    proposal: Proposal | None
    reason: str


@dataclass(slots=True, eq=False, repr=False)
class Edited(FrozenMessage):
    """Edits were applied, or the newest change was undone, or neither: then ``reason`` says why.

    ``changes`` are those that are in force now, and the last ``undoable`` of them can be undone.
    """

    applied: tuple[EditChange, ...]
    undone: EditChange | None
    changes: tuple[EditChange, ...]
    undoable: int
    reason: str
