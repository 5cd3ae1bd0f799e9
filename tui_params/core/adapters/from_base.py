"""Changes that are made of the weight itself, some rows at a time: DoRA, IA3, OFT, and norms that are replaced."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

from tui_params.core.adapters.factors import Factors, NoNormError
from tui_params.core.adapters.norms import Norm
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[Any]


def norm_of_dora(
    factors: Factors,
    base: TensorInfo,
    left: TensorInfo,
    right: TensorInfo,
    magnitude: TensorInfo,
    scale: float,
    *,
    is_transposed: bool = False,
) -> Norm:
    """DoRA: each row of ``V = W + scale * B @ A`` gets the norm ``m``; the change is that less W. arXiv:2402.09353.

    ``left`` is B [out, r, ...], ``right`` A [r, in, ...], ``base`` W [out, in, ...]. mlx-lm has both transposed.
    """
    import numpy as np

    (a, e1), (b, e2), (m, e3) = factors.whole(right), factors.whole(left), factors.whole(magnitude)
    a, b, m = a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1), np.ldexp(m.reshape(-1, 1), e3)
    if is_transposed:
        a, b = a.T, b.T
    if (b.shape[0], a.shape[1]) != _matrix(base) or b.shape[1] != a.shape[0] or m.size != b.shape[0]:
        raise NoNormError("its factors do not fit the base weight")
    b = np.ldexp(b, e1 + e2) * scale

    def change(first: int, weight: Floats) -> Floats:
        rows = slice(first, first + weight.shape[0])
        sums = weight + b[rows] @ a
        lengths = np.sqrt(np.square(sums).sum(axis=1, keepdims=True))
        if not lengths.all():
            raise NoNormError("a row of the base weight and its change is zero: DoRA divides by its norm")
        changed: Floats = m[rows] * sums / lengths - weight
        return changed

    return _sum(factors, base, change)


def norm_of_ia3(factors: Factors, base: TensorInfo, scales: TensorInfo, *, is_transposed: bool = False) -> Norm:
    """IA3: each row of W, or each column, times its own number.

    ``is_transposed``: W is stored as [in, out], and the numbers are for [out, in] (``fan_in_fan_out``).
    """
    import numpy as np

    values, exponent = factors.whole(scales)
    values = np.ldexp(values, exponent) - 1.0
    if scales.ndim == 2 and base.ndim == 2:
        values = values.T if is_transposed else values
    elif scales.ndim == base.ndim and scales.shape[0] == 1 and scales.numel == scales.shape[1]:
        # Of a convolution the numbers are [1, n, 1, 1], whether for its inputs or for its outputs.
        one, two = base.shape[:2]
        if one == two == scales.numel:
            raise NoNormError("whether its numbers are for inputs or for outputs is not stored")
        values = values.reshape(-1, 1) if scales.numel == one else values.reshape(1, -1)
    if base.ndim < 2 or values.shape not in ((base.shape[0], 1), (1, base.shape[1])):
        raise NoNormError("its numbers do not fit the base weight")
    by_row = values.shape == (base.shape[0], 1)

    def change(first: int, weight: Floats) -> Floats:
        if by_row:
            changed: Floats = weight * values[first : first + weight.shape[0]]
        else:
            changed = (weight.reshape(weight.shape[0], base.shape[1], -1) * values[0][:, None]).reshape(weight.shape)
        return changed

    return _sum(factors, base, change)


def norm_of_rotation(
    factors: Factors, base: TensorInfo, skew: TensorInfo, options: Mapping[str, Any], *, is_transposed: bool = False
) -> Norm:
    """OFT: W @ R^T, R of blocks along the inputs. peft/tuners/oft/layer.py, ``_cayley_batch``.

    ``skew`` [blocks, n * (n - 1) / 2] are the upper triangles of the skew-symmetric Q of each block.
    """
    import numpy as np

    terms, is_series = options.get("num_cayley_neumann_terms", 5), options.get("use_cayley_neumann")
    if type(is_series) is not bool or type(terms) is not int or not 0 < terms < 100 or options.get("coft"):
        raise NoNormError("how its rotation is computed is not stated here, or it is constrained (coft)")
    values, exponent = factors.whole(skew)
    inputs = base.shape[0] if is_transposed else prod(base.shape[1:])
    if values.ndim != 2 or base.ndim < 2:
        raise NoNormError("its rotation does not fit the base weight")
    size = (1 + round(sqrt(1 + 8 * values.shape[1]))) // 2
    count = inputs // size
    if size * (size - 1) != 2 * values.shape[1] or values.shape[0] not in (1, count) or count * size != inputs:
        raise NoNormError("its rotation does not fit the base weight")
    q = np.zeros((values.shape[0], size, size))
    above = np.triu_indices(size, 1)
    q[:, above[0], above[1]] = np.ldexp(values, exponent)
    q -= q.transpose(0, 2, 1)
    turn = _series(q, terms) if is_series else np.linalg.solve(_eye(q) - q, _eye(q) + q).transpose(0, 2, 1)
    # (I - Q)(I + Q)^-1 is the transpose of (I - Q)^-1 (I + Q), because the transpose of Q is -Q.
    less = turn - _eye(q)

    def change(first: int, weight: Floats) -> Floats:
        blocks = weight.reshape(weight.shape[0], count, size)
        changed: Floats = np.einsum("rbj,bij->rbi", blocks, np.broadcast_to(less, (count, size, size)))
        return changed

    return _sum(factors, base, change, axis=1 if is_transposed else 0)


def norm_of_difference(factors: Factors, base: TensorInfo, new: TensorInfo) -> Norm:
    """A tensor that replaces another: ``||new - base||``."""
    import numpy as np

    values, exponent = factors.whole(new)
    if new.shape != base.shape:
        raise NoNormError("it has another shape than the base weight")
    values = np.ldexp(values, exponent).reshape(_matrix(base))
    return _sum(factors, base, lambda first, weight: values[first : first + weight.shape[0]] - weight)


def _series(q: Floats, terms: int) -> Floats:
    """I + 2Q + 2Q^2 + ... + Q^n, with the last term once, as peft cuts the series off."""
    turn = _eye(q)
    if terms > 1:
        turn = turn + 2 * q
    if terms > 2:
        power = q @ q
        turn = turn + 2 * power
        for _ in range(3, terms - 1):
            power = power @ q
            turn = turn + 2 * power
        turn = turn + power @ q
    return turn


def _eye(q: Floats) -> Floats:
    import numpy as np

    return np.broadcast_to(np.eye(q.shape[-1]), q.shape)


def _matrix(info: TensorInfo) -> tuple[int, int]:
    return info.shape[0] if info.ndim else 1, prod(info.shape[1:])


def _sum(factors: Factors, base: TensorInfo, change: Callable[[int, Floats], Floats], axis: int = 0) -> Norm:
    """The norm of what ``change`` makes of the rows of a weight (its columns, if ``axis`` is 1) from an index on."""
    import numpy as np

    total = 0.0
    for first, block in factors.blocks(base, axis) if base.numel else ():
        rows = np.moveaxis(block, axis, 0).reshape(block.shape[axis], -1)
        with np.errstate(all="ignore"):
            total += float(np.square(change(first, rows)).sum())
    return Norm(sqrt(total))
