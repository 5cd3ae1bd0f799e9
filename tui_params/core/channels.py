"""Channels: figures of the rows and columns of a weight, from the same read that makes its Summary.

A tensor of 2 dimensions is a matrix ``[rows, columns]``; of 3 (a stack of matrices, as experts are stored)
``[shape[0] * shape[1], shape[2]]``; of 4 and more (convolutions) the rows lie along dimension 0, the columns along 1.
"""

from __future__ import annotations

import re

import msgspec

FAINT = 0.01
"""The share of the median below which a row or column is faint."""


FEWEST = 8
"""Among fewer rows or columns none is called an outlier."""

EMBEDDINGS = ("embed", "lm_head", "wte", "wpe", "token_emb", "output_projection", "vocab")
"""Parts of the names of tables with a row for each token."""

_EMBEDDING = re.compile("|".join(EMBEDDINGS))

MOST_ALIKE = 1024
"""So many rows that may be equal are listed."""


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
    """The rows and, of matrices, the columns of one tensor.

    ``alike`` are groups of rows of an embedding that may be equal, MOST_ALIKE rows at most: they agree in the largest
    magnitude and in a sample of their values. Rows of zeros, and with non-finite values, are in none.
    """

    rows: Side
    columns: Side | None
    alike: tuple[tuple[int, ...], ...] = ()


def outlier_limit(median_abs_max: float, count: int, ratio: float) -> float | None:
    """The magnitude beyond which a row or column is an outlier among ``count``, ``ratio`` times the median of all.

    None where there are too few to tell, or where half of them are zero.
    """
    return ratio * median_abs_max if median_abs_max and count >= FEWEST else None


def is_embedding_name(name: str) -> bool:
    """Whether a table with a row for each token may be called so: ``model.embed_tokens.weight``, ``wte.weight``."""
    last = name.rfind(".")
    return _EMBEDDING.search(name.lower(), name.rfind(".", 0, last) + 1 if last > 0 else 0) is not None
