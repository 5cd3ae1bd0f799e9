"""Recording: keeps what the next look needs of every tensor, and says how each has moved since an earlier look.

It reads in a thread of its own, one tensor after another, and rests while the user moves or something else is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import StoppedError
from tui_params.tui.desk.messages import Compared, ComparedFailed
from tui_params.tui.desk.worker import begin

if TYPE_CHECKING:
    from tui_params.core.compare.looks import Kept, Look
    from tui_params.core.compare.moved import Change
    from tui_params.core.figures import Figures

PAUSE = 0.05
"""Seconds from one message to the next."""

BREATH = 0.0005
"""Seconds of rest after each tensor: many small ones would hold the interpreter otherwise."""

POLL = 0.02

FiguresOf = Callable[[str], "Figures | None"]


class Recording:
    """One pass over the tensors of a live source: ``present`` is filled, and compared with ``before``, if there is one.

    ``others`` are further looks whose values share the room with the present one; what is in none of them makes room
    where there is too little. ``rests`` says whether to wait. Answered by Compared messages; the last one says so.
    """

    def __init__(
        self,
        source: Source,
        generation: int,
        present: Look,
        before: Look | None,
        others: Sequence[Look],
        *,
        keeps_values: bool,
        figures: FiguresOf,
        first: Iterable[str] = (),
        rests: Callable[[], bool] = lambda: False,
        post: Callable[[Message], object] = lambda message: None,
    ) -> None:
        self._source = source
        self._generation = generation
        self._present = present
        self._before = before
        self._others = others
        self._keeps_values = keeps_values
        self._figures = figures
        self._first = tuple(first)
        self._rests = rests
        self._post = post
        self._stopped = Event()
        self._until: float | None = None
        self._told = -PAUSE
        self._changes: dict[str, Change] = {}
        self._held = 0
        self._most = 0

    def start(self) -> None:
        """Run in a thread of its own."""
        begin("record", self.run, self._fail)

    def stop(self) -> None:
        """Read nothing after the present block; nothing more is posted."""
        self._stopped.set()

    def _fail(self, reason: str) -> None:
        if not self._stopped.is_set():
            self._post(ComparedFailed(self._generation, reason))

    def run(self, seconds: float | None = None) -> None:
        """Read what is not kept yet, for so many seconds at most."""
        self._until = monotonic() + seconds if seconds is not None else None
        from tui_params.core.compare.looks import held_by, most_kept

        listing = self._source.listing
        infos = (*listing.tensors, *listing.gradients.values())
        self._present.list(infos)
        looks = [look for look in (self._before, self._present, *self._others) if look is not None]
        self._held, self._most = held_by(looks), most_kept() if self._keeps_values else 0
        gone = self._before.gone_in({info.name for info in infos}) if self._before is not None else ()
        try:
            for info in self._in_order(infos):
                self._record(info)
                self._tell(gone, is_last=False)
        except StoppedError:
            return
        self._present.is_whole = True
        self._tell(gone, is_last=True)

    def _in_order(self, infos: Sequence[TensorInfo]) -> Iterable[TensorInfo]:
        by_name = {info.name: info for info in infos}
        first = [by_name.pop(name) for name in self._first if name in by_name]
        return (*first, *by_name.values())

    def _is_stopped(self) -> bool:
        while self._rests() and not self._stopped.is_set():
            self._stopped.wait(POLL)
        return self._stopped.is_set() or (self._until is not None and monotonic() > self._until)

    def _record(self, info: TensorInfo) -> None:
        from tui_params.core.compare.looks import change_of, take_over

        if self._is_stopped():
            raise StoppedError("the recording was stopped")
        before = self._before.kept.get(info.name) if self._before is not None else None
        kept = self._present.kept.get(info.name)
        if kept is None:
            kept = self._taken(info, before)
            if self._is_stopped():
                raise StoppedError("the recording was stopped")  # what it says may be that the source was closed
            self._present.kept[info.name] = kept
        if self._before is not None:
            self._changes[info.name] = change_of(self._source, info, before, kept, self._before, self._is_stopped)
            if self._keeps_values and kept.values is None and not kept.reason and self._may_go(before):
                assert before is not None
                take_over(self._source, info, before, kept, self._is_stopped)
        self._stopped.wait(BREATH)

    def _may_go(self, before: Kept | None) -> bool:
        """Whether the values of a tensor at the earlier look are needed no more once they were compared."""
        if before is None or before.values is None:
            return False
        return not any(look.kept.get(before.info.name) is before for look in self._others)

    def _taken(self, info: TensorInfo, before: Kept | None) -> Kept:
        """What is kept of a tensor; under any of its names it is the same."""
        from tui_params.core.compare.looks import take

        tied = self._present.kept.get(info.first_name) if info.tied_to is not None else None
        if tied is not None:
            return tied
        kept = take(
            self._source,
            info,
            self._figures(info.name),
            before,
            room=self._most - self._held,
            should_stop=self._is_stopped,
        )
        if kept.values is not None and (before is None or kept.values is not before.values):
            self._held += kept.values.nbytes
        return kept

    def _tell(self, gone: tuple[str, ...], *, is_last: bool) -> None:
        if self._stopped.is_set() or (not is_last and monotonic() - self._told < PAUSE):
            return
        self._told = monotonic()
        changes: Mapping[str, Change] = self._changes
        if changes or is_last:
            self._changes = {}
            self._post(Compared(self._generation, changes, gone, is_last))
