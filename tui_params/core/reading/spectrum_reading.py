"""Reads a matrix for its singular values: a picture from a few products at once, then all of them.

The formulas and their sources are in ``core/numbers/spectrum``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import prod, sqrt
from typing import TYPE_CHECKING, Literal

import msgspec

from tui_params.core import text
from tui_params.core.dtypes import numpy_dtype
from tui_params.core.numbers.spectrum.problem import Problem
from tui_params.core.numbers.spectrum.spectrum import Pooled, Spectrum, derived
from tui_params.core.reading.matrix import Matrix, MatrixReading
from tui_params.core.reading.readable import Readable
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELD_NBYTES = 1 << 28
"""A matrix of at most so many bytes is kept in memory; a larger one is read again for every product."""

AT_ONCE = 1 << 14
"""So many elements need no other process: all values are there in a few milliseconds."""

NO_PICTURE = 1 << 16
"""So many elements need no picture before all values."""

FULL_PRECISION = 1 << 20
"""Up to so many elements numpy's svd is used; of more, the eigenvalues of A'A, three times as fast and more."""

MOST_IN_PICTURE = 1 << 16
"""The largest smaller side of a matrix of which a picture is made; the space in it takes 1 KiB for each row."""

MOST_UNASKED = 5_120
"""The largest smaller side for which all values are computed without being asked for: 420 MB."""

MOST = 8_192
"""The largest smaller side for which all values are computed: 1.1 GB, and many minutes."""

STEPS, LONG_STEPS = 8, 16
"""Steps of block Krylov for a large matrix of which all values follow; and for others, so that a flat one is right."""

QUICK = 1 << 22
"""Up to so many elements even the long steps take less time than the start of the other process."""

MAX_THREADS = 4
"""More would take processors from a training that runs at the same time."""

_EPSILON = 2.0**-52


class Progress(msgspec.Struct, frozen=True):
    """What is being done, in a few words, and what is known by now."""

    words: str
    picture: Spectrum | None = None


def refusal(matrix: Matrix, info: TensorInfo) -> str | None:
    """Why there is no spectrum, known before anything is read; one sentence."""
    if info.unreadable is not None:
        return info.unreadable
    if info.dtype.kind == "unknown" or (info.dtype.numpy is None and info.dtype.part is None):
        return f"values of the element type {info.dtype.name} cannot be decoded here"
    if not matrix.window.numel:
        return "there are no elements, and so no singular values"
    if matrix.size > MOST_IN_PICTURE:
        return (
            f"the smaller side of this matrix is {matrix.size:,}, and singular values are looked for"
            f" up to {MOST_IN_PICTURE:,}: choose a smaller slice"
        )
    return None


def cost(matrix: Matrix) -> str | None:
    """Why not all values are computed unless they are asked for, one sentence; None where they are unasked."""
    if matrix.size <= MOST_UNASKED:
        return None
    memory = text.size(16 * matrix.size**2)
    if not can_be_exact(matrix):
        return f"all {matrix.size:,} values would take {memory} and hours; {MOST:,} values are the most"
    return f"all {matrix.size:,} values take {memory} in another process, and many minutes"


def can_be_exact(matrix: Matrix) -> bool:
    """Whether all values are computed at all."""
    return matrix.size <= MOST


def read_spectrum(
    source: Readable,
    info: TensorInfo,
    matrix: Matrix,
    *,
    wants_all: bool,
    is_kernel: bool = False,
    check: Callable[[], object],
    tell: Callable[[Progress], object],
) -> Spectrum:
    """The singular values of a matrix: all with ``wants_all`` and where they are few, else the largest.

    ``tell`` gets a picture of them as soon as there is one. The work is done in another process, which ends with this
    call. ``check`` is called often, and may raise to stop both. ``is_kernel`` adds what weightwatcher says of the
    kernel of a convolution. Raises ReadError, with one sentence if there is no spectrum.
    """
    reason = refusal(matrix, info)
    if reason is not None:
        raise ReadError(reason)
    is_whole = matrix.window.numel == info.numel
    source = source.still(info) if is_whole else source.still_part(info, matrix.window)
    reading = MatrixReading(source, info, matrix)
    kernel = matrix.window.shape if is_kernel and len(matrix.window.shape) > 2 else ()
    if matrix.size == 1 or (matrix.window.numel <= AT_ONCE and not kernel):
        return _small(info, reading, check)
    from tui_params.core.numbers.spectrum.solving import Solving

    problem = _problem(reading, wants_all=wants_all and can_be_exact(matrix), kernel=kernel)
    found: Spectrum | None = None
    words = "reading"
    tell(Progress(words))
    with Solving(problem) as solving:
        for said in solving.run(reading.rows if problem.is_held else reading.tall, check):
            words = said.doing or words
            if said.leading:
                found = Spectrum(
                    matrix.rows, matrix.columns, said.leading, said.frobenius or 0.0, "krylov", said.residuals
                )
            elif said.values:
                method: Literal["svd", "gram"] = "gram" if problem.is_gram else "svd"
                found = _all(info, matrix, said.values, said.frobenius or 0.0, method)
            elif said.pooled and found is not None:
                found = msgspec.structs.replace(found, pooled=_pooled(said.pooled, prod(kernel[2:])))
            tell(Progress(words, found))
    assert found is not None
    return found


def _problem(reading: MatrixReading, *, wants_all: bool, kernel: tuple[int, ...]) -> Problem:
    matrix = reading.matrix
    is_held = matrix.window.numel * reading.dtype.itemsize <= HELD_NBYTES
    is_turned = matrix.is_wide and not is_held
    is_gram = matrix.window.numel > FULL_PRECISION
    steps = STEPS if wants_all and matrix.window.numel > QUICK else LONG_STEPS
    is_soon = matrix.window.numel <= NO_PICTURE or matrix.size < 16 * steps
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Problem(
        rows=matrix.columns if is_turned else matrix.rows,
        columns=matrix.rows if is_turned else matrix.columns,
        dtype=reading.dtype.str,
        is_held=is_held,
        is_gram=is_gram,
        wants_all=wants_all or is_soon,
        steps=0 if is_soon else steps,
        threads=min(cores, MAX_THREADS),
        kernel=kernel if is_held else (),
    )


def _all(
    info: TensorInfo, matrix: Matrix, values: tuple[float, ...], frobenius: float, method: Literal["svd", "gram"]
) -> Spectrum:
    """All values with everything that follows. The floor is that of numpy's matrix_rank; of A'A, its root."""
    from tui_params.core.numbers.spectrum.power_law import fit

    share = matrix.length * _EPSILON
    floor = values[0] * (share if method == "svd" else sqrt(share))
    law, reason = fit([value for value in values if value > floor], len(values))
    rounding = _rounding(info) * frobenius * (matrix.rows**-0.5 + matrix.columns**-0.5)
    stored = sum(value > max(rounding, floor) for value in values) if rounding else None
    return msgspec.structs.replace(
        derived(matrix.rows, matrix.columns, values, frobenius, method, floor),
        stored_rank=stored,
        power_law=law,
        no_power_law=reason,
    )


def _rounding(info: TensorInfo) -> float:
    """The most that rounding to the type of the elements changes one, as a share of it; 0 of whole numbers."""
    import ml_dtypes

    from tui_params.core.numbers.decode import part_dtype

    part = part_dtype(info.dtype)
    kind = numpy_dtype(part)
    return 2.0 ** -(int(ml_dtypes.finfo(kind).nmant) + 1) if part.kind == "float" and kind is not None else 0.0


def _pooled(values: tuple[float, ...], slices: int) -> Pooled:
    """As weightwatcher 0.7.7 has it: the values of all slices as one list, each times sqrt(1/2)."""
    from tui_params.core.numbers.spectrum.power_law import fit

    halved = [value * sqrt(0.5) for value in values]
    largest = max(halved)
    stable = sum((value / largest) ** 2 for value in halved) if largest else 0.0
    law, reason = fit(halved, len(halved))
    return Pooled(slices, len(halved), stable, law, reason)


def _small(info: TensorInfo, reading: MatrixReading, check: Callable[[], object]) -> Spectrum:
    import numpy as np

    from tui_params.core.numbers.spectrum.extent import Extent, scaled

    matrix, extent, blocks = reading.matrix, Extent(), []
    for block in reading.rows():
        extent.add(block)
        check()
        if matrix.size > 1:
            blocks.append(block.astype(np.result_type(block, np.float64)))
    extent.finish()
    norm = extent.norm()
    if matrix.size == 1 or not norm:
        return _all(info, matrix, (norm,) * matrix.size, norm, "svd")
    exponent = extent.exponent
    values: NDArray[np.float64] = np.linalg.svd(scaled(np.concatenate(blocks), exponent), compute_uv=False)
    return _all(info, matrix, tuple(np.ldexp(values, exponent).tolist()), norm, "svd")
