"""Bytes that are read: those of a file, or those that a reader holds because they lie nowhere in the file as they are.

A pickle of protocol 0 to 2 writes bytes as text. Its reader decodes them when the file is opened, within a limit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType

import msgspec

from tui_params.core.text import clean
from tui_params.errors import ReadError
from tui_params.sources.bytes.local import POOL, DataFile, Loan, read_into

Fill = Callable[[int, memoryview], None]
"""Fills a buffer with the bytes at an offset. Raises ReadError if there are not so many, OSError."""


class Held(msgspec.Struct, frozen=True, gc=False):
    """The bytes of one tensor in memory; ``name`` is the name of the file that they were decoded from."""

    name: str
    data: bytes

    def fill(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with the bytes at ``offset``. Raises ReadError."""
        piece = self.data[offset : offset + len(buffer)]
        if len(piece) != len(buffer):
            raise ReadError(
                f"{len(piece):,} of {len(buffer):,} bytes of a value of {clean(self.name, 120)} are at {offset:,}"
            )
        buffer[:] = piece


class Lending:
    """What reads from a place, inside a ``with``. Raises ReadError."""

    __slots__ = ("_loan", "_place")

    def __init__(self, place: DataFile | Held) -> None:
        self._place = place
        self._loan: Loan | None = None

    def __enter__(self) -> Fill:
        place = self._place
        if isinstance(place, Held):
            return place.fill
        self._loan = POOL.borrow(place)
        return partial(read_into, self._loan.__enter__(), place)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loan is not None:
            self._loan.__exit__(kind, error, trace)
