"""Bytes that are made of a file when they are read: unpacked, put together of chunks, decoded from text."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Generic, TypeVar

from tui_params.core.reading.place import HERE, Fill, Spans
from tui_params.errors import ReadError
from tui_params.sources.bytes.held import Held
from tui_params.sources.bytes.local import DataFile

What = TypeVar("What")


class LastMade(Generic[What]):
    """Keeps the bytes that were made last, so that a tensor is made once for all its blocks and windows.

    ``make`` makes them of a file and of what says where and how; it may raise ReadError.
    """

    def __init__(self, make: Callable[[DataFile, What], bytes | bytearray]) -> None:
        self._make = make
        self._lock = Lock()
        self._last: tuple[DataFile, What, Held] | None = None

    def held(self, file: DataFile, what: What) -> Held:
        """The bytes in memory. Raises ReadError."""
        with self._lock:
            if self._last is None or self._last[:2] != (file, what):
                self._last = None
                self._last = file, what, Held(file.name, self._make(file, what))
            return self._last[2]

    def forget(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._last = None


class MadePlace(Generic[What]):
    """One tensor as a Place, for one read of it, which keeps what was made when the reading began."""

    def __init__(self, made: LastMade[What], file: DataFile, what: What) -> None:
        self._made = made
        self._file = file
        self._what = what
        self._held: Held | None = None

    def coming(self, spans: Spans) -> AbstractContextManager[None]:
        return HERE

    def reading(self) -> AbstractContextManager[Fill]:
        sentence = self._file.changed()
        if sentence is not None:
            self._made.forget()
            raise ReadError(sentence)
        if self._held is None:
            self._held = self._made.held(self._file, self._what)
        return nullcontext(self._held.fill)
