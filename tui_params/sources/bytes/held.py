"""Bytes that are read: those of a file, or those that a reader holds because they lie nowhere in the file as they are.

A pickle of protocol 0 to 2 writes bytes as text. Its reader decodes them when the file is opened, within a limit.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import msgspec

from tui_params.core.reading.place import HERE, Fill, Spans
from tui_params.core.text import are, clean, plural
from tui_params.errors import ReadError


class Held(msgspec.Struct, frozen=True, gc=False):
    """The bytes of one tensor in memory; ``name`` is the name of the file that they were decoded from."""

    name: str
    data: bytes | bytearray

    def coming(self, spans: Spans) -> AbstractContextManager[None]:
        return HERE

    def reading(self) -> AbstractContextManager[Fill]:
        return nullcontext(self.fill)

    def fill(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with the bytes at ``offset``. Raises ReadError."""
        piece = self.data[offset : offset + len(buffer)]
        if len(piece) != len(buffer):
            raise ReadError(
                f"{len(piece):,} of {plural(len(buffer), 'byte')} of a value of"
                f" {clean(self.name, 120)} {are(len(piece))} at {offset:,}"
            )
        buffer[:] = piece
