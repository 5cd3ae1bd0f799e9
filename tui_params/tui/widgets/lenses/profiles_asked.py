"""ProfilesAsked: the figures of the rows and columns of tensors, for a lens: read once, and kept."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from tui_params.core.reading.profiling import profile
from tui_params.core.tensor import TensorInfo
from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk
from tui_params.tui.widgets.lenses.counts_asked import Progress

if TYPE_CHECKING:
    from tui_params.core.numbers.profiles import Profiles

_KEPT = 2
"""Tensors whose figures are kept: up to 100 MB each, of a million rows and columns."""


class ProfilesAsked:
    """One slot of the desk, in which a tensor is read for its rows and columns."""

    def __init__(self, desk: TensorDesk, slot: str) -> None:
        self._desk = desk
        self._slot = slot
        self._kept: dict[Hashable, Profiles] = {}
        self._wanted: Hashable = None
        self._asked: Hashable = None
        self.progress: Progress | None = None
        self.reason: str | None = None
        self.toll = ""
        """Why the tensor is not read unless the user asks for it."""
        self.is_stopped = False
        """Whether the user has stopped the reading."""

    @property
    def found(self) -> Profiles | None:
        """The figures of the tensor that is wanted, if they are known by now."""
        return self._kept.get(self._wanted)

    @property
    def is_settled(self) -> bool:
        return self._asked is None

    def want(self, info: TensorInfo, version: Hashable, outlier_ratio: float) -> None:
        """Read a tensor, unless its figures are here, or the user has stopped that."""
        wanted = (info.name, version)
        if wanted != self._wanted:
            self.stop()
            self._wanted, self.reason, self.is_stopped = wanted, info.unreadable, False
        self.toll = self._desk.refuse(info, None) if self.found is None else ""
        if self.toll:
            self.stop()
            return
        if self.reason is not None or self.is_stopped or self.found is not None or self._asked == wanted:
            return
        source = self._desk.source

        def work(task: Task) -> Profiles:
            return profile(
                source,
                info,
                outlier_ratio,
                should_stop=lambda: task.is_stopped,
                progress=lambda done: task.tell(Progress(done / info.numel)),
            )

        self._asked = wanted
        self._desk.ask(self._slot, wanted, work)

    def stop(self) -> bool:
        """Take back what is being read; False if nothing was."""
        if self._asked is None:
            return False
        self._desk.stop(self._slot)
        self._asked = self.progress = None
        return True

    def take(self, answer: Answer) -> bool:
        """Take an answer; False if it was not awaited here."""
        from tui_params.core.numbers.profiles import Profiles

        if answer.slot != self._slot or answer.key != self._asked:
            return False
        if isinstance(answer.result, Progress):
            self.progress = answer.result
            return True
        self._asked, self.progress, self.reason = None, None, answer.reason
        if isinstance(answer.result, Profiles):
            self._kept[self._wanted] = answer.result
            while len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return True
