"""Rounds: the copies that a process makes at every step, read by the viewer before they are overwritten."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

import msgspec

from tui_params.errors import ReadError
from tui_params.live.inside.round_layout import (
    BEGUN,
    COUNT,
    DONE,
    FLAGS,
    INDEX,
    IS_SCALED,
    IS_SKIPPED,
    OFFSET,
    STATE,
    STEP,
    Layout,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WRONG = "the process describes its shared memory wrongly"


class Round(msgspec.Struct, frozen=True, gc=False):
    """What was copied at a step: the index, the state and the place of each tensor."""

    number: int
    step: int
    is_scaled: bool
    is_skipped: bool
    entries: tuple[tuple[int, int, int], ...]


class Rounds:
    """The shared memory of a watch."""

    def __init__(self, descriptor: int, layout: Layout) -> None:
        """Takes the descriptor. Raises ReadError."""
        import numpy as np

        try:
            if layout.ring < 1 or layout.room < 0 or os.fstat(descriptor).st_size < layout.nbytes:
                raise ReadError("the process shares less memory than it says")
            self._map = mmap.mmap(descriptor, layout.nbytes, prot=mmap.PROT_READ)
        except (OSError, ValueError, OverflowError) as error:
            raise ReadError(f"the shared memory cannot be read: {error}") from None
        finally:
            os.close(descriptor)
        self.layout = layout
        # numpy's arrays may outlive the map, which then stays until the last of them is gone.
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._words = self._bytes[: 8 * layout.words].view(np.uint64)

    @property
    def done(self) -> int:
        """The number of the last whole round; 0 before the first."""
        return int(self._words[DONE])

    @property
    def first(self) -> int:
        """The number of the oldest round that is still there."""
        return max(int(self._words[BEGUN]) - self.layout.ring + 1, 1)

    def is_whole(self, number: int) -> bool:
        """Whether a round has not begun to be overwritten."""
        return int(self._words[BEGUN]) < number + self.layout.ring

    def round(self, number: int) -> Round | None:
        """What a round has; None if it is overwritten. Raises ReadError."""
        layout, words = self.layout, self._words
        at = layout.place(number)
        step, flags, count = int(words[at + STEP]), int(words[at + FLAGS]), int(words[at + COUNT])
        if count <= layout.tensors:
            start, stop = layout.entry(number, 0), layout.entry(number, count)
            table = words[start:stop].reshape(count, -1).tolist() if count else []
        if not self.is_whole(number):
            return None
        if count > layout.tensors:
            raise ReadError(_WRONG)
        entries = tuple([(entry[INDEX], entry[STATE], entry[OFFSET]) for entry in table])
        return Round(number, step, bool(flags & IS_SCALED), bool(flags & IS_SKIPPED), entries)

    def bytes_at(self, number: int, offset: int, nbytes: int) -> NDArray[np.uint8]:
        """A view of a copy in a round: what is made of it counts if ``is_whole`` still holds afterwards."""
        if not 0 <= offset <= self.layout.room - nbytes:
            raise ReadError(_WRONG)
        start = self.layout.bytes_at(number) + offset
        return self._bytes[start : start + nbytes]
