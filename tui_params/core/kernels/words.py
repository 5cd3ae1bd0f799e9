"""Words: a set of bit patterns, by which values are sought without decoding them."""

from __future__ import annotations

import msgspec


class Words(msgspec.Struct, frozen=True):
    """The words of bits, of ``bits`` each (4, 8, 16, 32 or 64), that are sought: after ``& mask``, those in ``ranges``.

    A range is its first word and how many more follow; it may go on at 0 after the last word.
    """

    bits: int
    mask: int
    ranges: tuple[tuple[int, int], ...]
