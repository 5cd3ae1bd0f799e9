"""Place: what the bytes of tensors are read from, a file or the memory of a process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Fill = Callable[[int, memoryview], None]
"""Fills a buffer with the bytes at an offset. Raises ReadError if there are not so many, OSError."""


class Place(Protocol):
    """Bytes at offsets."""

    def reading(self) -> AbstractContextManager[Fill]:
        """What reads from it, inside a ``with``. Entering and leaving raise ReadError, as does the reading."""
