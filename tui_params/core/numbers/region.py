"""Region: a rectangle of a plane; needs no numpy."""

from __future__ import annotations

import msgspec


class Region(msgspec.Struct, frozen=True, gc=False):
    """Some rows and columns of a plane, by position: ``height`` rows from ``top``, ``width`` columns from ``left``."""

    top: int
    left: int
    height: int
    width: int

    @property
    def numel(self) -> int:
        return self.height * self.width

    def holds(self, other: Region) -> bool:
        """Whether all of ``other`` lies in it."""
        is_down = self.top <= other.top and other.top + other.height <= self.top + self.height
        return is_down and self.left <= other.left and other.left + other.width <= self.left + self.width

    def transposed(self) -> Region:
        return Region(self.left, self.top, self.width, self.height)
