"""Values of a TensorProto that are not raw bytes: varints, or pieces of them, made into the bytes of the elements."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.reading.place import Fill
from tui_params.errors import ReadError
from tui_params.sources.bytes.held import Held
from tui_params.sources.bytes.local import DataFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_TYPED_NBYTES = 64 << 20
"""Bytes of the values of one tensor that are made into elements: they are held in memory while they are read."""

IN_PLACE = frozenset({4, 9, 10})
"""The fields float_data, raw_data and double_data: their bytes are those of the elements."""


class Typed(msgspec.Struct, frozen=True):
    """Where the values of one tensor lie in the file, in which field, and how many bytes an element has."""

    ranges: tuple[tuple[int, int], ...]
    field: int
    width: int


class TypedCache:
    """Keeps the values that were made last, so that those of a tensor are made once for all its blocks and windows."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last: tuple[Typed, Held] | None = None

    def held(self, file: DataFile, typed: Typed) -> Held:
        """The bytes of the elements. Raises ReadError."""
        with self._lock:
            if self._last is None or self._last[0] != typed:
                self._last = None
                self._last = typed, Held(file.name, _elements(file, typed))
            return self._last[1]


class TypedPlace:
    """The values of one tensor as a Place, for one read of them, which keeps what was made when the reading began."""

    def __init__(self, cache: TypedCache, file: DataFile, typed: Typed) -> None:
        self._cache = cache
        self._file = file
        self._typed = typed
        self._held: Held | None = None

    def reading(self) -> AbstractContextManager[Fill]:
        sentence = self._file.changed()
        if sentence is not None:
            raise ReadError(sentence)
        if self._held is None:
            self._held = self._cache.held(self._file, self._typed)
        return nullcontext(self._held.fill)


def _elements(file: DataFile, typed: Typed) -> bytes:
    import numpy as np

    pieces = []
    with file.reading() as fill:
        for start, stop in typed.ranges:
            piece = bytearray(stop - start)
            fill(start, memoryview(piece))
            pieces.append(bytes(piece))
    raw = b"".join(pieces)
    if typed.field in IN_PLACE:
        return raw
    return _varints(np.frombuffer(raw, np.uint8)).astype(f"<u{typed.width}").tobytes()


def _varints(raw: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The numbers of a row of varints, modulo 2**64. Raises ReadError."""
    import numpy as np

    if not raw.size:
        return np.zeros(0, np.uint64)
    ends = np.flatnonzero(raw < 0x80)
    starts = np.concatenate(([0], ends[:-1] + 1)) if ends.size else ends
    lengths = ends - starts + 1
    if not ends.size or ends[-1] != raw.size - 1 or lengths.max() > 10:
        raise ReadError("its values are no row of numbers: the file is damaged")
    place = np.arange(raw.size) - np.repeat(starts, lengths)
    digits = (raw & np.uint8(0x7F)).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.add.reduceat(digits, starts)
