"""Watch: the looks at tensors of a served model, step by step, and the holding of its training."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import size
from tui_params.errors import OpenError, ReadError
from tui_params.live.attached.source import AttachedSource
from tui_params.live.inside.frames import close_all
from tui_params.live.inside.round_layout import Layout
from tui_params.live.inside.tensor_slots import ABSENT, COPIED, ON_DEVICE
from tui_params.live.watching.condition import Condition
from tui_params.live.watching.judge import Event, Judge
from tui_params.live.watching.rounds import Round, Rounds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_TENSOR = 448 << 20
"""The most bytes of a tensor that is watched: two copies of it must fit into the memory that a viewer may share."""

_POLLS = 0.001, 0.02
"""The shortest and the longest pause between two looks for a new round."""

_STATES = {
    ABSENT: "it had no gradient at any step that was looked at",
    ON_DEVICE: "it lies on a device, and is not copied from there",
}


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
        elif info.device not in (None, "cpu"):
            left_out[info.name] = _STATES[ON_DEVICE]
        elif info.nbytes > MAX_TENSOR:
            left_out[info.name] = f"it has {size(info.nbytes)}, and at most {size(MAX_TENSOR)} are copied at a step"
        else:
            watched.append((info, mine))
    return Choice(tuple(watched), left_out)


class Watch:
    """Looks at what was chosen at every step, from now on. ``hold_seconds`` is 0 if the training is never held.

    Raises OpenError.
    """

    def __init__(self, source: AttachedSource, choice: Choice, hold_seconds: float = 0.0) -> None:
        self._source, self._page = source, source.page
        ordered = sorted(choice.watched, key=lambda entry: entry[0].kind == "gradient")  # as the process orders them
        self.judges = [Judge(info, conditions) for info, conditions in ordered]
        self.looked = self.missed = self.first_step = self.last_step = 0
        self._states: dict[int, int] = {}
        self._next = 1
        self._pause, self._last_round = _POLLS[0], 0.0
        holds_on = {each.what for _, conditions in ordered for each in conditions} & {"nan", "inf"}
        question = {
            "ask": "watch",
            "values": [source.handle_of(info.name) for info, _ in ordered if info.kind != "gradient"],
            "gradients": [source.handle_of(info.name) for info, _ in ordered if info.kind == "gradient"],
            "limit": hold_seconds,
            "holds_on": sorted(holds_on) if hold_seconds else [],
        }
        try:
            answer, descriptors = source.connection.ask(question)
            if len(descriptors) != 1:
                close_all(descriptors)
                raise ReadError("the process shares no memory with the copies")
            self._rounds = Rounds(descriptors[0], Layout(len(ordered), int(answer["ring"]), int(answer["room"])))
        except ReadError as error:
            raise OpenError(str(error)) from error
        except (KeyError, TypeError, ValueError) as error:
            raise OpenError(f"the process answers in a way that is not understood: {error!r}") from error

    @property
    def is_whole(self) -> bool:
        """Whether all tensors are copied at each step; otherwise they take turns."""
        return sum(judge.info.nbytes for judge in self.judges) <= self._rounds.layout.room

    @property
    def lost(self) -> str | None:
        """Why nothing more will come; None as long as something may."""
        return self._source.connection.look()

    @property
    def seen(self) -> int:
        """Steps that were made since the watch began, whether looked at or not."""
        return self.looked + self.missed

    def unlooked(self) -> dict[str, str]:
        """The tensors that were never looked at, and why."""
        other = "it is not the tensor that was listed any more"
        return {
            judge.info.name: _STATES.get(self._states[index], other) if index in self._states else "it had no turn yet"
            for index, judge in enumerate(self.judges)
            if not judge.looks
        }

    def look(self, seconds: float) -> Look | None:
        """What was seen at the next step; None if none ended within ``seconds``. Raises ReadError."""
        deadline = time.monotonic() + seconds
        while self._rounds.done < self._next:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(left, self._pause))
        self._keep_pace()
        if self._next < self._rounds.first:
            # Too late: go on with the newest one, which there is most time for.
            newest = self._rounds.done
            self.missed += newest - self._next
            self._next = newest
        number = self._next
        self._next += 1
        found = self._rounds.round(number)
        if found is None:
            self.missed += 1
            return self.look(max(deadline - time.monotonic(), 0.0))
        self.first_step, self.last_step = self.first_step or found.step, found.step
        return self._judge(found)

    def _keep_pace(self) -> None:
        now = time.monotonic()
        if self._last_round:
            self._pause = min(max((now - self._last_round) / 8, _POLLS[0]), _POLLS[1])
        self._last_round = now

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
            # A copy of the copy: what was not whole must leave no trace in the judge.
            raw = self._rounds.bytes_at(found.number, offset, judge.info.nbytes).copy()
            if not self._rounds.is_whole(found.number):
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
        self.missed += not is_whole
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
        return self._rounds.done >= self._next

    def held(self) -> Held | None:
        """How this viewer holds the training; None if it does not."""
        answer, _ = self._source.connection.ask({"ask": "held"})
        try:
            if not answer["is_wanted"]:
                return None
            return Held(int(answer["step"]), float(answer["left"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ReadError(f"the process answers in a way that is not understood: {error!r}") from error
