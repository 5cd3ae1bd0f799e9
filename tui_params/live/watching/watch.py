"""Watch: the looks at tensors of a served model, step by step, and the holding of its training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import size
from tui_params.errors import ReadError
from tui_params.live.attached.replies import Standing, understood
from tui_params.live.attached.source import AttachedSource
from tui_params.live.inside.tensor_slots import COPIED
from tui_params.live.watching.condition import Condition
from tui_params.live.watching.judge import Event, Judge
from tui_params.live.watching.rounds import Round
from tui_params.live.watching.stream import CHANGED, MAX_TENSOR, STATES, Stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Look(msgspec.Struct, frozen=True):
    """What was seen at a step. ``copies`` are the bytes of the tensors of the events, by name, as they were then."""

    step: int
    events: tuple[Event, ...]
    copies: dict[str, NDArray[np.uint8]]


class Held(msgspec.Struct, frozen=True):
    """That this viewer holds the training: at the end of which step (0: of the one under way), and how long still."""

    step: int
    left: float


class Choice(msgspec.Struct, frozen=True):
    """What is watched, with the conditions on each; and why the others that were meant are not, by name."""

    watched: tuple[tuple[TensorInfo, tuple[Condition, ...]], ...]
    left_out: dict[str, str]


def choose_watched(
    listing: Listing, tensors: Iterable[TensorInfo], gradients: Iterable[TensorInfo], conditions: Iterable[Condition]
) -> Choice:
    """Of some tensors and gradients those that a condition is about.

    Integers are never NaN, a frozen parameter is always still, a tied tensor is watched under its first name.
    """
    watched: list[tuple[TensorInfo, tuple[Condition, ...]]] = []
    left_out: dict[str, str] = {}
    tied = {f"{info.name}.grad" for info in listing.tensors if info.tied_to is not None}
    for info in (*tensors, *gradients):
        is_gradient = info.kind == "gradient"
        is_trained = info.kind == "parameter" and bool(info.requires_grad)
        has_nan = info.dtype.kind in ("float", "complex")
        mine = tuple(
            [
                each
                for each in dict.fromkeys(conditions)
                if (each.minds_gradients if is_gradient else each.minds_values)
                and (is_trained if each.what == "still" else has_nan)
            ]
        )
        if not mine or not info.numel or info.tied_to is not None or info.name in tied:
            continue
        if info.unreadable is not None:
            left_out[info.name] = info.unreadable
        elif info.nbytes > MAX_TENSOR:
            left_out[info.name] = f"it has {size(info.nbytes)}, and at most {size(MAX_TENSOR)} are copied at a step"
        else:
            watched.append((info, mine))
    return Choice(tuple(watched), left_out)


class Watch:
    """Looks at what was chosen at every step, from now on. ``hold_seconds`` is 0 if the training is never held.

    ``number`` is which of the viewer's watches it is; only the first can hold. Raises OpenError.
    """

    def __init__(self, source: AttachedSource, choice: Choice, hold_seconds: float = 0.0, number: int = 0) -> None:
        self._source, self._page = source, source.page
        conditions_of = {info.name: conditions for info, conditions in choice.watched}
        holds_on = {each.what for conditions in conditions_of.values() for each in conditions} & {"nan", "inf"}
        self._stream = Stream(
            source,
            [info for info, _ in choice.watched],
            number=number,
            hold_seconds=hold_seconds,
            holds_on=sorted(holds_on) if hold_seconds else [],
        )
        self.judges = [Judge(info, conditions_of[info.name]) for info in self._stream.infos]
        self.looked = self.first_step = self.last_step = self._torn = 0
        self._states: dict[int, int] = {}

    @property
    def is_whole(self) -> bool:
        """Whether all tensors are copied at each step; otherwise they take turns."""
        return self._stream.is_whole

    @property
    def lost(self) -> str | None:
        """Why nothing more will come; None as long as something may."""
        return self._source.connection.look()

    @property
    def missed(self) -> int:
        """Steps that were made since the watch began, and not looked at."""
        return self._stream.missed + self._torn

    @property
    def seen(self) -> int:
        """Steps that were made since the watch began, whether looked at or not."""
        return self.looked + self.missed

    def unlooked(self) -> dict[str, str]:
        """The tensors that were never looked at, and why."""
        return {
            judge.info.name: STATES.get(self._states[index], CHANGED) if index in self._states else "it had no turn yet"
            for index, judge in enumerate(self.judges)
            if not judge.looks
        }

    def look(self, seconds: float) -> Look | None:
        """What was seen at the next step; None if none ended within ``seconds``. Raises ReadError."""
        found = self._stream.next(seconds)
        if found is None:
            return None
        self.first_step, self.last_step = self.first_step or found.step, found.step
        return self._judge(found)

    def _judge(self, found: Round) -> Look:
        events: list[Event] = []
        copies: dict[str, NDArray[np.uint8]] = {}
        is_whole = True
        for index, state, offset in found.entries:
            if index >= len(self.judges):
                raise ReadError("the process describes its shared memory wrongly")
            judge = self.judges[index]
            self._states[index] = state
            if state != COPIED:
                continue
            raw = self._stream.raw(found, index, offset)
            if raw is None:
                is_whole = False
                break
            begun = judge.look(found.step, raw)
            if begun:
                copies[judge.info.name] = raw
                events += [
                    msgspec.structs.replace(event, is_scaled=found.is_scaled, is_skipped=found.is_skipped)
                    for event in begun
                ]
        self.looked += is_whole
        self._torn += not is_whole
        events.sort(key=lambda event: event.info.kind != "gradient")
        return Look(found.step, tuple(events), copies)

    def hold(self) -> None:
        """Have the training stand at the end of the step that it is in, if it does not stand already."""
        self._source.connection.ask({"ask": "hold"})

    def release(self) -> None:
        """Let the training go on."""
        self._source.connection.ask({"ask": "release"})

    def is_anyone_holding(self) -> bool:
        """Whether a viewer, this one or another, holds the training: known without a question."""
        return self._page.held != 0

    def has_unread(self) -> bool:
        """Whether there are rounds that were not looked at yet."""
        return self._stream.has_unread()

    def held(self) -> Held | None:
        """How this viewer holds the training; None if it does not."""
        found = understood(self._source.connection.ask({"ask": "held"}), Standing)
        return Held(found.step, found.left) if found.is_wanted else None
