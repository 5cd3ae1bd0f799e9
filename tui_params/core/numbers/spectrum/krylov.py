"""The largest singular values of a matrix from a few products with it: block Krylov (Musco and Musco, 2015).

The values of the matrix in the space of X, A'A X, (A'A)^2 X, ... are those of the matrix itself, the largest first and
soon: after 8 steps with a block of 16, the top 16 of a weight are right to 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

BLOCK = 16
STEPS = 8

_ROUNDING = 2.0**-21
"""What float32 products may be off by, as a share of the largest eigenvalue; the residual cannot see it."""


class Pairs(msgspec.Struct, frozen=True, eq=False):
    """Approximate singular values, largest first, and how far from each there is one for certain.

    ``asymmetry`` is how far A'A was from symmetric, as a share: more than rounding if A changed between products.
    """

    values: NDArray[np.float64]
    residuals: NDArray[np.float64]
    asymmetry: float


def leading(
    multiply: Callable[[NDArray[Any]], NDArray[Any]], size: int, dtype: np.dtype[Any], *, steps: int = STEPS
) -> Pairs:
    """All BLOCK * steps approximate singular values of a matrix A with ``size`` columns, a few times that.

    ``multiply`` gives A'A X for X of ``size`` rows, and is called ``steps`` times. The residual of a value s and its
    vector v is |A'A v - s^2 v| / s: within it there is a singular value of A, because A'A is symmetric.
    """
    random = np.random.default_rng(0)
    block = np.linalg.qr(random.standard_normal((size, BLOCK)))[0].astype(dtype)
    basis, images = [block], [multiply(block)]
    while len(basis) < steps:
        block = _next(images[-1], basis)
        basis.append(block)
        images.append(multiply(block))
    wide = np.result_type(dtype, np.float64)
    whole, image = np.hstack(basis), np.hstack(images)
    small = np.empty((whole.shape[1], whole.shape[1]), wide)
    for first in range(0, small.shape[0], BLOCK):
        part = whole[:, first : first + BLOCK].astype(wide)
        small[first : first + BLOCK] = _adjoint(part) @ image
    eigenvalues, vectors = np.linalg.eigh((small + _adjoint(small)) / 2)
    eigenvalues, vectors = eigenvalues[::-1].clip(0), np.ascontiguousarray(vectors[:, ::-1])
    errors = np.empty(eigenvalues.size)
    for first in range(0, eigenvalues.size, BLOCK):
        some = vectors[:, first : first + BLOCK]
        rest = image @ some - (whole @ some) * eigenvalues[first : first + BLOCK]
        errors[first : first + BLOCK] = np.linalg.norm(rest, axis=0)
    values = np.sqrt(eigenvalues)
    errors += _ROUNDING * eigenvalues[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        residuals = np.where(values > 0, errors / values, np.inf)
    # An error of e in s^2 is one of sqrt(e) at most in s.
    asymmetry = float(np.abs(small - _adjoint(small)).max() / (np.abs(small).max() or 1))
    return Pairs(values, np.minimum(residuals, np.sqrt(errors)), asymmetry)


def _next(image: NDArray[Any], basis: list[NDArray[Any]]) -> NDArray[Any]:
    """The part of ``image`` that is new, as orthonormal columns: cleaned of the rest twice, before and after."""
    block = image / (np.abs(image).max() or 1)
    for _ in range(2):
        for _ in range(2):
            for known in basis:
                block = block - known @ (_adjoint(known) @ block)
        block = np.linalg.qr(block)[0].astype(image.dtype)
    return block


def _adjoint(block: NDArray[Any]) -> NDArray[Any]:
    return block.conj().T if np.iscomplexobj(block) else block.T
