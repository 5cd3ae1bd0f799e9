"""The Frobenius norms of the changes that adapters make, from their factors, without forming a change as a whole.

``||B @ A||^2`` is the sum of the elementwise product of ``B^T B`` and ``A A^T``, two r x r matrices. The norm of a
Kronecker product is the product of both norms. A Hadamard product (LoHa) is formed some rows at a time.
"""

from __future__ import annotations

from math import frexp, inf, isfinite, ldexp, sqrt
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core.adapters.factors import BLOCK, Factors, Gram, NoNormError
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import shape as shape_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[Any]

_EPSILON = 2.0**-52
_PRECISE = 5e-5
"""A relative error that does not change the four digits that are shown."""


class Norm(msgspec.Struct, frozen=True):
    """A norm, ``mantissa * 2**exponent``; ``is_bound``: it is at most this, because what is summed cancels out."""

    mantissa: float
    exponent: int = 0
    is_bound: bool = False

    def times(self, factor: float) -> Norm:
        """The norm of the same, multiplied by a number."""
        mantissa, exponent = frexp(abs(factor))
        return Norm(self.mantissa * mantissa, self.exponent + exponent, self.is_bound)

    def of_product(self, other: Norm) -> Norm:
        """The product of both norms."""
        return Norm(self.mantissa * other.mantissa, self.exponent + other.exponent, self.is_bound or other.is_bound)

    @property
    def value(self) -> float:
        """The number. Raises NoNormError if float64 cannot hold it."""
        try:
            found = ldexp(self.mantissa, self.exponent)
        except OverflowError:
            found = inf
        if not isfinite(found) or (not found and self.mantissa):
            raise NoNormError("the norm of its change lies beyond float64")
        return found


def norm_of_product(left: Gram, right: Gram, groups: Sequence[tuple[Any, Any]] = ()) -> Norm:
    """``||B @ A||`` from ``B^T B`` and ``A A^T``, r x r.

    ``groups`` are the indices of the vectors of B and of A that belong together, where there are several products; then
    it is the norm of all of them.
    """
    import numpy as np

    if left.matrix.shape != right.matrix.shape:
        raise NoNormError(_unlike(left.matrix.shape[0], right.matrix.shape[0]))
    if not left.matrix.size:
        return Norm(0.0)
    square, largest = 0.0, 0.0
    for of_left, of_right in groups or ((slice(None), slice(None)),):
        one, two = left.matrix[of_left][:, of_left], right.matrix[of_right][:, of_right]
        square += float((one * two).sum())
        largest += float(np.sqrt(np.diagonal(one) * np.diagonal(two)).sum()) ** 2
    error = _EPSILON * (left.terms + right.terms + one.size) * largest
    return _root(square, error, left.exponent + right.exponent)


def norm_of_tucker(left: Gram, core: Floats, core_exponent: int, right: Gram) -> Norm:
    """The norm of ``sum_ij left[i, o] core[i, j, ...] right[j, c]``, from the Gram matrices of both sides."""
    import numpy as np

    one, two = left.matrix.shape[0], right.matrix.shape[0]
    if core.shape[:2] != (one, two):
        raise NoNormError(
            f"its middle factor has the shape {shape_text(core.shape)}, and its ranks are {one:,}, {two:,}"
        )
    square = largest = 0.0
    for slab in np.moveaxis(core.reshape(one, two, -1), 2, 0):
        square += float((left.matrix * (slab @ right.matrix @ slab.T)).sum())
        outer = np.sqrt(np.diagonal(left.matrix)) @ np.abs(slab) @ np.sqrt(np.diagonal(right.matrix))
        largest += float(outer) ** 2
    error = _EPSILON * (left.terms + right.terms + 2 * core.size) * largest
    return _root(square, error, left.exponent + core_exponent + right.exponent)


def norm_of_hadamard(factors: Factors, one: tuple[TensorInfo, TensorInfo], two: tuple[TensorInfo, TensorInfo]) -> Norm:
    """``||(a1 @ b1) * (a2 @ b2)||``; each ``a`` is [out, r] and each ``b`` [r, in], or [r, in, ...] flattened."""
    (a1, e1), (b1, e2), (a2, e3), (b2, e4) = (factors.whole(info) for info in (*one, *two))
    b1, b2 = b1.reshape(b1.shape[0], -1), b2.reshape(b2.shape[0], -1)
    for a, b in ((a1, b1), (a2, b2)):
        if a.ndim != 2 or a.shape[1] != b.shape[0]:
            raise NoNormError(_unlike(a.shape[-1] if a.ndim else 0, b.shape[0]))
    if a1.shape[0] != a2.shape[0] or b1.shape[1] != b2.shape[1]:
        raise NoNormError("its two products have different shapes")
    return norm_by_rows(a1.shape[0], b1.shape[1], lambda rows: (a1[rows] @ b1) * (a2[rows] @ b2), e1 + e2 + e3 + e4)


def norm_of_tucker_hadamard(
    factors: Factors,
    one: tuple[TensorInfo, TensorInfo, TensorInfo],
    two: tuple[TensorInfo, TensorInfo, TensorInfo],
) -> Norm:
    """The same where each product has a core: ``sum_ij t[i, j, ...] a[i, out] b[j, in]`` (LyCORIS' make_weight_cp)."""
    import numpy as np

    (t1, e1), (a1, e2), (b1, e3), (t2, e4), (a2, e5), (b2, e6) = (factors.whole(info) for info in (*one, *two))
    for t, a, b in ((t1, a1, b1), (t2, a2, b2)):
        if a.ndim != 2 or b.ndim != 2 or t.shape[:2] != (a.shape[0], b.shape[0]):
            raise NoNormError("its middle factors do not fit the outer ones")
    if t1.shape[2:] != t2.shape[2:] or a1.shape[1] != a2.shape[1] or b1.shape[1] != b2.shape[1]:
        raise NoNormError("its two products have different shapes")
    right1 = np.einsum("ij...,jc->ic...", t1, b1).reshape(t1.shape[0], -1)
    right2 = np.einsum("ij...,jc->ic...", t2, b2).reshape(t2.shape[0], -1)
    return norm_by_rows(
        a1.shape[1],
        right1.shape[1],
        lambda rows: (a1.T[rows] @ right1) * (a2.T[rows] @ right2),
        e1 + e2 + e3 + e4 + e5 + e6,
    )


def norm_by_rows(rows: int, columns: int, make: Callable[[slice], Floats], exponent: int) -> Norm:
    """The norm of a matrix that ``make`` forms some rows at a time."""
    import numpy as np

    step = max(1, BLOCK // max(columns, 1))
    total = 0.0
    for first in range(0, rows, step):
        total += float(np.square(make(slice(first, min(first + step, rows)))).sum())
    return Norm(sqrt(total), exponent)


def _root(square: float, error: float, exponent: int) -> Norm:
    if error and error > 2 * _PRECISE * abs(square):
        return Norm(sqrt(max(square, 0.0) + error), exponent, True)
    return Norm(sqrt(max(square, 0.0)), exponent)


def _unlike(one: int, two: int) -> str:
    return f"its factors have the ranks {one:,} and {two:,}: they cannot be multiplied"
