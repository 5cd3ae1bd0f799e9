"""Channels: figures of the rows and columns of a weight, from the same read that makes its Summary.

A tensor of 2 dimensions is a matrix ``[rows, columns]``; of 3 (a stack of matrices, as experts are stored)
``[shape[0] * shape[1], shape[2]]``; of 4 and more (convolutions) the rows lie along dimension 0, the columns along 1.
"""

from __future__ import annotations

import msgspec

FAINT = 0.01
"""The share of the median below which a row or column is faint."""


class Channel(msgspec.Struct, frozen=True, gc=False):
    """One row or column: its index and the largest magnitude in it."""

    index: int
    abs_max: float


class Side(msgspec.Struct, frozen=True, gc=False):
    """The rows, or the columns, of one matrix.

    ``dead`` of ``count`` hold zeros only; ``first_dead`` are the first of these. ``median_abs_max`` is the median over
    all of the largest magnitude in each, ``largest`` are those with the largest magnitudes, the largest first.
    ``faint`` are not dead, but below FAINT times that median; ``smallest`` are the first of those that are not dead
    in the order of their magnitudes, the smallest first. Non-finite values do not count.
    """

    count: int
    dead: int
    first_dead: tuple[int, ...]
    median_abs_max: float
    largest: tuple[Channel, ...]
    faint: int = 0
    smallest: tuple[Channel, ...] = ()


class Channels(msgspec.Struct, frozen=True, gc=False):
    """The rows and, of matrices, the columns of one tensor."""

    rows: Side
    columns: Side | None
