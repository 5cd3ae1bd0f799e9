"""What crosses the pipes between the process that asks for singular values and the one that computes them."""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """A matrix of ``rows`` by ``columns`` of the numpy type ``dtype``, which is sent row after row.

    One that ``is_held`` stays in the memory of the other process, and may be wide. Another one has at least as many
    rows as columns, and is sent again whenever the other process says so. ``steps`` are those of block Krylov; with
    ``wants_all`` all values follow, by ``svd``, or by the eigenvalues of A'A with ``is_gram``. ``kernel`` is the shape
    of a convolution's kernel, whose slices are looked at too.
    """

    rows: int
    columns: int
    dtype: str
    is_held: bool
    is_gram: bool
    wants_all: bool
    steps: int
    threads: int
    kernel: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        return min(self.rows, self.columns)

    @property
    def length(self) -> int:
        return max(self.rows, self.columns)


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line from the process that computes.

    ``again`` asks for the rows, ``doing`` says what it is at, ``refused`` why there is no spectrum, one sentence.
    ``leading`` are the first values with their ``residuals``, ``values`` all of them, ``pooled`` those of the slices
    of a kernel. ``frobenius`` comes with the first of these.
    """

    again: bool = False
    doing: str = ""
    refused: str = ""
    leading: tuple[float, ...] = ()
    residuals: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    pooled: tuple[float, ...] = ()
    frobenius: float | None = None
