"""The layout of the memory that rounds of copies are made in: numbers that both sides know.

A round is what was copied at one step. Rounds go in turn to ``ring`` places, so that a viewer may be a few steps late.
"""

from __future__ import annotations

from typing import NamedTuple

BEGUN, DONE = 0, 1
"""Word BEGUN of the memory is the number of the round that is being made or was last; DONE of the last that is whole.
Rounds are counted from 1, and round ``n`` is at place ``n % ring`` until round ``n + ring`` begins."""

STEP, FLAGS, COUNT = 0, 1, 2
"""The first words of a place: the step, what else is known of it, and how many entries follow."""

INDEX, STATE, OFFSET = 0, 1, 2
"""The words of an entry: which of the tensors that were asked for, its state as in ``tensor_slots``, and where its
bytes start, counted from the first byte of the place's room."""

IS_SCALED, IS_SKIPPED = 1, 2
"""The bits of FLAGS: gradients were still multiplied by a GradScaler; it told the optimizer that some are not finite.
"""

_HEAD, _PLACE, _ENTRY = 8, 4, 3

MIN_RING, MAX_RING = 2, 64


class Layout(NamedTuple):
    """Where everything lies for ``tensors`` tensors, ``ring`` places, and ``room`` bytes of copies in each of them."""

    tensors: int
    ring: int
    room: int

    @property
    def _table(self) -> int:
        return _PLACE + _ENTRY * self.tensors

    @property
    def words(self) -> int:
        """How many words of 8 bytes the memory begins with."""
        return _HEAD + self.ring * self._table

    @property
    def nbytes(self) -> int:
        """Bytes of the whole memory."""
        return aligned(8 * self.words) + self.ring * self.room

    def place(self, number: int) -> int:
        """The first word of the place of a round."""
        return _HEAD + number % self.ring * self._table

    def entry(self, number: int, entry: int) -> int:
        """The first word of an entry of a round."""
        return self.place(number) + _PLACE + _ENTRY * entry

    def bytes_at(self, number: int) -> int:
        """The first byte of the copies of a round."""
        return aligned(8 * self.words) + number % self.ring * self.room


def aligned(nbytes: int) -> int:
    """Rounded up, so that no element crosses a line of the cache that another tensor begins in."""
    return -(-nbytes // 64) * 64
