"""Stream: the rounds of copies of some tensors, one after the other, as the training makes its steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tui_params.core.tensor import TensorInfo
from tui_params.errors import OpenError, ReadError
from tui_params.live.attached.replies import Watched, shared
from tui_params.live.attached.source import AttachedSource
from tui_params.live.inside.round_layout import MAX_RING, Layout
from tui_params.live.inside.tensor_slots import ABSENT, NO_ROOM, ON_DEVICE
from tui_params.live.watching.rounds import Round, Rounds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_TENSOR = 448 << 20
"""The most bytes of a tensor that is watched: two copies of it must fit into the memory that a viewer may share."""

STATES = {
    ABSENT: "it had no gradient at any step that was looked at",
    ON_DEVICE: "it lies on a device, and is not copied from there",
    NO_ROOM: "its device has no memory to spare for a copy of it",
}
"""Why a tensor was not copied, by its state in a round."""

CHANGED = "it is not the tensor that was listed any more"

_POLLS = 0.001, 0.02
"""The shortest and the longest pause between two looks for a new round."""


class Stream:
    """What one watch of a viewer is given. Raises OpenError.

    ``number`` is which of the viewer's watches it is; the one of that number before it ends. Values come before
    gradients. ``places`` is how many steps the viewer may be late, ``budget`` how many bytes
    are copied at a step, as many as the process thinks right if it is not said.
    """

    def __init__(
        self,
        source: AttachedSource,
        infos: Sequence[TensorInfo],
        *,
        number: int = 0,
        budget: int | None = None,
        places: int = MAX_RING,
        hold_seconds: float = 0.0,
        holds_on: Sequence[str] = (),
    ) -> None:
        self.infos = sorted(infos, key=lambda info: info.kind == "gradient")  # as the process orders them
        self.missed = 0
        """Steps whose copies were overwritten before they were looked at."""
        self._next = 1
        self._pause, self._last_round = _POLLS[0], 0.0
        question = {
            "ask": "watch",
            "number": number,
            "values": [source.handle_of(info) for info in self.infos if info.kind != "gradient"],
            "gradients": [source.handle_of(info) for info in self.infos if info.kind == "gradient"],
            "budget": budget,
            "places": places,
            "limit": hold_seconds,
            "holds_on": list(holds_on),
        }
        try:
            found, descriptor = shared(source.connection.ask_shared(question), Watched, "the copies")
            self._rounds = Rounds(descriptor, Layout(len(self.infos), found.ring, found.room))
        except ReadError as error:
            raise OpenError(str(error)) from error

    @property
    def is_whole(self) -> bool:
        """Whether all tensors are copied at each step; otherwise they take turns."""
        return sum(info.nbytes for info in self.infos) <= self._rounds.layout.room

    def has_unread(self) -> bool:
        """Whether there are rounds that were not looked at yet."""
        return self._rounds.done >= self._next

    def skip(self) -> None:
        """Leave out what was not looked at yet, but for the newest round."""
        newest = self._rounds.done
        if newest > self._next:
            self.missed += newest - self._next
            self._next = newest

    def next(self, seconds: float) -> Round | None:
        """The round after the last one; None if no step ended within ``seconds``. Raises ReadError."""
        deadline = time.monotonic() + seconds
        while True:
            while self._rounds.done < self._next:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                time.sleep(min(left, self._pause))
            self._keep_pace()
            if self._next < self._rounds.first:
                self.skip()  # too late: there is most time for the newest one
            self._next += 1
            found = self._rounds.round(self._next - 1)
            if found is not None:
                return found
            self.missed += 1

    def raw(self, found: Round, index: int, offset: int) -> NDArray[np.uint8] | None:
        """The bytes of a copy in a round; None if they were overwritten meanwhile. Raises ReadError."""
        # A copy of the copy: what was not whole must leave no trace.
        copy = self._rounds.bytes_at(found.number, offset, self.infos[index].nbytes).copy()
        return copy if self._rounds.is_whole(found.number) else None

    def _keep_pace(self) -> None:
        now = time.monotonic()
        if self._last_round:
            self._pause = min(max((now - self._last_round) / 8, _POLLS[0]), _POLLS[1])
        self._last_round = now
