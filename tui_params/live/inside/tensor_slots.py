"""The slots of shared memory that copies of tensors are made in: numbers that both sides know.

A slot is a header and two halves, each as long as the tensor: while one half is written, the other can be read.
"""

from __future__ import annotations

HEADER_WORDS = 8
"""The words at the start of each slot, each of 8 bytes."""

BEGUN, DONE, STATE, STEP = 0, 1, 2, 4
"""Word BEGUN is the number of the copy that is being written or was last; DONE of the last that is whole; copy ``n``
lies in half ``n % 2``. STATE and STEP have two words each: what is in each half, and of which step it is."""

COPIED, ABSENT, OTHER, ON_DEVICE, NO_ROOM = 1, 2, 3, 4, 5
"""States: the values; there was no tensor; one of another shape or type, or one that is no plain tensor; one that is
on a device that nothing is copied from; one on a device that has no memory to spare for a copy."""
