"""CountsAsked: the distributions of tensors for a lens: asked for once, a sample first, and kept."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.reading.counting import count, counted, is_large
from tui_params.core.tensor import TensorInfo
from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk

if TYPE_CHECKING:
    from tui_params.core.numbers.distribution import Distribution

_KEPT = 6


class Progress(msgspec.Struct, frozen=True, gc=False):
    """How much of a read is done, from 0 to 1."""

    share: float

    @property
    def words(self) -> str:
        return f"{min(int(100 * self.share), 99)} %"


class CountsAsked:
    """One slot of the desk in which distributions are asked for. ``version`` is as in ``Seen``."""

    def __init__(self, desk: TensorDesk, slot: str) -> None:
        self._desk = desk
        self._slot = slot
        self._kept: dict[Hashable, Distribution] = {}
        self._wanted: Hashable = None
        self._asked: Hashable = None
        self.progress: Progress | None = None
        self.reason: str | None = None
        self.toll = ""
        """Why the tensor is not read unless the user asks for it."""

    def found(self, name: str, version: Hashable) -> Distribution | None:
        """The distribution of a tensor, if it is known by now, or that of a sample of it."""
        return self._kept.get((name, version))

    @property
    def is_settled(self) -> bool:
        """Whether nothing more comes."""
        found = self._kept.get(self._wanted)
        is_left = self._wanted is None or self.reason is not None or bool(self.toll)
        return is_left or (found is not None and not found.figures.is_sampled)

    def want(self, info: TensorInfo, version: Hashable, *, is_measured: bool) -> None:
        """Ask for the distribution of a tensor, unless it is here.

        As long as a large one is not ``is_measured``, the read for its figures is waited for: this would be a second.
        """
        wanted = (info.name, version)
        if self._wanted != wanted:
            self.stop()
            self._wanted, self.reason = wanted, None
        found = self._kept.get(wanted)
        if self.reason is not None or (found is not None and not found.figures.is_sampled):
            return
        has_counts = self._desk.summary_of is not None and self._desk.summary_of(info.name) is not None
        self.toll = "" if has_counts else self._desk.refuse(info, None)
        if self.toll:
            self._desk.stop(self._slot)
            self._asked = self.progress = None
            return
        waits = self._desk.summary_of is not None and is_large(info) and not is_measured
        if (found is not None and waits) or self._asked == (wanted, waits):
            return
        self._asked = (wanted, waits)
        self._ask(info, waits=waits, has_sample=found is not None)

    def _ask(self, info: TensorInfo, *, waits: bool, has_sample: bool) -> None:
        source, summary_of = self._desk.source, self._desk.summary_of

        def work(task: Task) -> Distribution:
            kept = (summary_of(info.name) or summary_of(info.first_name)) if summary_of is not None else None
            if kept is not None:
                return counted(kept, info)
            if is_large(info) and not has_sample:
                found = count(source, info, is_sample=True, should_stop=lambda: task.is_stopped)
                if waits:
                    return found
                task.tell(found, always=True)
            return count(
                source,
                info,
                should_stop=lambda: task.is_stopped,
                progress=lambda done: task.tell(Progress(done / info.numel)),
            )

        self._desk.ask(self._slot, self._asked, work)

    def stop(self) -> None:
        """Take back what is being read."""
        if self._asked is not None:
            self._desk.stop(self._slot)
        self._asked = self._wanted = self.progress = None

    def take(self, answer: Answer) -> bool:
        """Take an answer; False if it was not awaited here."""
        from tui_params.core.numbers.distribution import Distribution

        if answer.slot != self._slot or answer.key != self._asked:
            return False
        if isinstance(answer.result, Progress):
            self.progress = answer.result
        elif isinstance(answer.result, Distribution):
            self._kept.pop(self._wanted, None)
            self._kept[self._wanted] = answer.result
            while len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        else:
            self.reason = answer.reason or "It could not be read."
        if answer.is_last:
            self._asked = self.progress = None
        return True
