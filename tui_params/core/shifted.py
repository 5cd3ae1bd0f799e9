"""Addition to all numbers of an array at once."""

from __future__ import annotations

import sys
from array import array
from functools import lru_cache


def shifted(values: array[int], by: int) -> array[int]:
    """Each of the values and ``by`` more, where neither they nor the sums are negative, nor the sums too large.

    They are added as the digits of one large number, which takes a tenth of the time of a loop.
    """
    if not by or not values:
        return values
    sums = int.from_bytes(values.tobytes(), sys.byteorder) + _ones(values.typecode, len(values)) * by
    return array(values.typecode, sums.to_bytes(len(values) * values.itemsize, sys.byteorder))


@lru_cache(maxsize=64)
def _ones(typecode: str, count: int) -> int:
    return int.from_bytes(array(typecode, (1,)).tobytes() * count, sys.byteorder)
