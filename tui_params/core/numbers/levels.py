"""Levels: how bright a cell of a raster is, as a byte; for those who draw them too, so without numpy."""

from __future__ import annotations

TOP, MIDDLE, BAD = 254, 127, 255
"""The highest level, that of zero where levels have a sign, and that of a block with a NaN or an Inf."""

DEAD, SPOILT = 9, 10
"""Levels at the edge of what is not a bar of 1 to 8 eighths: a row of zeros, a row with a NaN or an Inf."""
