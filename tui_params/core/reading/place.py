"""Place: what the bytes of tensors are read from, a file or the memory of a process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Fill = Callable[[int, memoryview], None]
"""Fills a buffer with the bytes at an offset. Raises ReadError if there are not so many, OSError."""


Spans = Callable[[], Sequence[tuple[int, int]]]
"""What will be read, in its order: the first byte of each part and the first behind it."""


class Place(Protocol):
    """Bytes at offsets."""

    def reading(self) -> AbstractContextManager[Fill]:
        """What reads from it, inside a ``with``. Entering and leaving raise ReadError, as does the reading."""

    def coming(self, spans: Spans) -> AbstractContextManager[None]:
        """Inside the ``with``, these bytes are read: where they lie elsewhere, they are fetched early.

        Bytes that lie here need no fetching: HERE, and ``spans`` is not called. Raises ReadError.
        """


HERE: AbstractContextManager[None] = nullcontext()
"""What ``coming`` returns where nothing has to be fetched."""
