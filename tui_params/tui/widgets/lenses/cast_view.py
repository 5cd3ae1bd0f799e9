"""CastView: the cast preview below a histogram: what it asks for, and what it knows."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from tui_params.core.reading.casting import cast_values
from tui_params.core.tensor import TensorInfo
from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.lenses.cast_lines import HEIGHT, cast_lines
from tui_params.tui.widgets.lenses.counts_asked import Progress

if TYPE_CHECKING:
    from tui_params.core.numbers.casts import Cast
    from tui_params.core.numbers.distribution import Distribution

_SLOT = "histogram.casts"
_KEPT = 6


class CastView:
    """The casts of one tensor. Those that the counts tell come at once; the others take a pass over the values."""

    def __init__(self, desk: TensorDesk) -> None:
        self._desk = desk
        self.is_open = False
        self.progress: Progress | None = None
        self._kept: dict[Hashable, dict[str, Cast]] = {}
        self._of: Hashable = None
        self._asked: Hashable = None
        self._reason: str | None = None
        self._is_stopped = False

    @property
    def is_settled(self) -> bool:
        return not self.is_open or self._asked is None

    @property
    def height(self) -> int:
        """The lines of the table; none while it is closed."""
        return HEIGHT if self.is_open else 0

    def want(self, info: TensorInfo, version: Hashable, found: Distribution | None) -> None:
        """Show the casts of a tensor; ``found`` is its distribution, which must be of all elements."""
        of = (info.name, version)
        if of != self._of:
            self.stop()
            self._of, self._reason, self._is_stopped = of, None, False
        if not self.is_open or found is None or found.figures.is_sampled or self._asked == of or self._is_stopped:
            return
        from tui_params.core.numbers.casts import TARGETS, can_cast, needs_pass, preview

        self._reason = can_cast(info.dtype)
        known = self._kept.get(of, {})
        if self._reason is not None or len(known) == len(TARGETS):
            return
        source, summary = self._desk.source, found.summary
        peak = float(found.figures.abs_max or 0.0)
        left = [target for target in TARGETS if needs_pass(summary, target)]

        def work(task: Task) -> tuple[Cast, ...]:
            done = tuple([preview(summary, target) for target in TARGETS if target not in left])
            task.tell(done, always=True)
            passed = cast_values(
                source,
                info,
                left,
                peak,
                should_stop=lambda: task.is_stopped,
                progress=lambda count: task.tell(Progress(count / info.numel)),
            )
            return done + passed

        self._asked = of
        self._desk.ask(_SLOT, of, work)

    def stop(self) -> bool:
        """Take back what is being worked out; False if nothing was."""
        if self._asked is None:
            return False
        self._desk.stop(_SLOT)
        self._asked = self.progress = None
        self._is_stopped = True
        return True

    def toggle(self) -> None:
        """Open or close the table."""
        self.is_open = not self.is_open
        if self.is_open:
            self._is_stopped = False
        else:
            self.stop()

    def take(self, answer: Answer) -> bool:
        """Take an answer; False if it was not awaited here."""
        if answer.slot != _SLOT or answer.key != self._asked:
            return False
        if isinstance(answer.result, Progress):
            self.progress = answer.result
        elif isinstance(answer.result, tuple):
            self._kept[self._of] = self._kept.pop(self._of, {}) | {cast.target: cast for cast in answer.result}
            while len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        if answer.is_last:
            self._asked = self.progress = None
            self._reason = answer.reason
            self._is_stopped = answer.reason is not None
        return True

    def lines(self, width: int, glyphs: Glyphs) -> list[Line]:
        """The table; empty while it is closed."""
        if not self.is_open:
            return []
        from tui_params.core.numbers.casts import TARGETS

        if self._reason is not None:
            return [[("Casts: ", "label"), (self._reason, "warning")]]
        known = self._kept.get(self._of, {})
        waiting = f"a pass over the values: {self.progress.words}" if self.progress is not None else ""
        if self._is_stopped:
            waiting = "stopped"
        return cast_lines(TARGETS, known, waiting, width, glyphs)
