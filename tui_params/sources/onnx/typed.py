"""Values of a TensorProto that are not raw bytes: varints, or pieces of them, made into the bytes of the elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tui_params.core.text import plural
from tui_params.errors import ReadError
from tui_params.sources.bytes.local import DataFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_TYPED_NBYTES = 64 << 20
"""Bytes of the values of one tensor that are made into elements: they are held in memory while they are read."""

IN_PLACE = frozenset({4, 9, 10})
"""The fields float_data, raw_data and double_data: their bytes are those of the elements."""


class Typed(msgspec.Struct, frozen=True):
    """Where the values of one tensor lie in the file, in which field, and how many bytes a number of theirs fills.

    ``count`` are the numbers that there should be. ``bits`` is 6 where each is one element of 6 bits: those of 2 and 4
    bits fill their bytes already.
    """

    ranges: tuple[tuple[int, int], ...]
    field: int
    width: int
    count: int
    bits: int = 0


def elements(file: DataFile, typed: Typed) -> bytes:
    """The bytes of the elements. Raises ReadError."""
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
    numbers = _varints(np.frombuffer(raw, np.uint8)).astype(f"<u{typed.width}")
    if numbers.size != typed.count:
        raise ReadError(f"it has {plural(numbers.size, 'number')}, and its shape needs {typed.count:,}: it is damaged")
    if typed.bits:
        # As raw_data has them: lowest bits first, without gaps.
        each = np.unpackbits(numbers[:, None], axis=1, bitorder="little")[:, : typed.bits]
        return np.packbits(each.reshape(-1), bitorder="little").tobytes()
    return numbers.tobytes()


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
