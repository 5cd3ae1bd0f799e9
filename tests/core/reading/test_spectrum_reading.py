"""Singular values of the matrices of a source, against numpy, by the process that computes them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.numbers.spectrum import solving
from tui_params.core.numbers.spectrum.problem import Problem
from tui_params.core.numbers.spectrum.solving import Solving
from tui_params.core.numbers.spectrum.spectrum import Spectrum
from tui_params.core.reading import spectrum_reading
from tui_params.core.reading.matrix import Matrix, folded_matrix, plane_matrix
from tui_params.core.reading.spectrum_reading import Progress, cost, read_spectrum, refusal
from tui_params.core.tensor import TensorInfo, describe
from tui_params.core.window import is_kernel, parse_window, plane
from tui_params.errors import ReadError, StoppedError


def matrix_of(info: TensorInfo, expression: str = "", *, is_folded: bool = False) -> Matrix:
    view = plane(parse_window(expression, info.shape))
    return folded_matrix(view) if is_folded else plane_matrix(view)


def spectrum_of(
    array: NDArray[Any],
    expression: str = "",
    *,
    is_folded: bool = False,
    wants_all: bool = True,
    tell: Callable[[Progress], object] = lambda progress: None,
    check: Callable[[], object] = lambda: None,
) -> Spectrum:
    source = MemorySource({"w": array})
    info = source.find("w")
    matrix = matrix_of(info, expression, is_folded=is_folded)
    return read_spectrum(source, info, matrix, wants_all=wants_all, is_kernel=is_folded, check=check, tell=tell)


def true_values(array: NDArray[Any]) -> NDArray[np.float64]:
    is_complex = np.iscomplexobj(array)
    values: NDArray[np.float64] = np.linalg.svd(array.astype(np.complex128 if is_complex else float), compute_uv=False)
    return values


def falling(rows: int, columns: int) -> NDArray[np.float64]:
    random = np.random.default_rng(0)
    size = min(rows, columns)
    left, right = random.normal(size=(rows, size)), random.normal(size=(size, columns))
    return (left * np.arange(1, size + 1) ** -0.7) @ right / size


TYPES = [
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float6_e2m3fn", "float4_e2m1fn",
    "int64", "int32", "int8", "uint8", "int4", "bool", "complex64", "complex128",
]  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("shape", [(40, 30), (150, 180)])
def test_all_values_of_every_type(name: str, shape: tuple[int, int]) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
    array = np.abs(falling(*shape)) * 6 if dtype.kind in "ub" or name.startswith("uint") else falling(*shape) * 6
    found = spectrum_of(array.astype(dtype))
    true = true_values(array.astype(dtype))
    kept = true > 1e-10 * true[0]
    assert found.method == "svd"
    assert np.array(found.values)[kept] == pytest.approx(true[kept], rel=1e-9)
    assert found.frobenius == pytest.approx(float(np.sqrt((true**2).sum())), rel=1e-6)


@pytest.mark.parametrize("shape", [(300, 260), (260, 300)])
def test_a_picture_comes_first_and_the_squares_follow(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum_reading, "FULL_PRECISION", 1000)
    array = falling(*shape).astype(ml_dtypes.bfloat16)
    told: list[Progress] = []
    found = spectrum_of(array, tell=told.append)
    true = true_values(array)
    first = next(progress.picture for progress in told if progress.picture is not None)
    assert first.method == "krylov"
    assert first.condition is None
    assert np.array(first.values[:16]) == pytest.approx(true[:16], rel=1e-3)
    assert first.frobenius == found.frobenius
    assert found.method == "gram"
    assert len(found.values) == 260
    assert np.array(found.values) == pytest.approx(true, rel=1e-6)
    assert found.power_law is not None


@pytest.mark.parametrize("shape", [(300, 260), (260, 300)])
def test_a_matrix_that_is_too_large_to_hold_is_read_again(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spectrum_reading, "HELD_NBYTES", 1000)
    monkeypatch.setattr(spectrum_reading, "FULL_PRECISION", 1000)
    array = falling(*shape) * 1e180
    assert np.array(spectrum_of(array).values) == pytest.approx(true_values(array / 1e180) * 1e180, rel=1e-6)


def test_a_picture_alone() -> None:
    found = spectrum_of(falling(300, 280).astype(np.float32), wants_all=False)
    assert found.method == "krylov"
    assert 16 <= len(found.values) == len(found.residuals) < 280


def test_what_rounding_hides_is_at_most_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum_reading, "FULL_PRECISION", 1000)
    random = np.random.default_rng(0)
    found = spectrum_of(random.normal(size=(300, 20)) @ random.normal(size=(20, 270)))
    assert (found.rank, found.count, found.is_least_condition) == (20, 270, True)
    assert all(value <= found.floor for value in found.values[20:])


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (np.full((1, 5000), 2.0), [np.sqrt(20000)]),
        (np.full(9, 2.0), [6.0]),
        (np.float32(-3) * np.ones((), np.float32), [3.0]),
        (np.zeros((300, 200), np.float32), [0.0] * 200),
        (np.zeros((3, 2)), [0.0, 0.0]),
        (np.full((2, 2), 1e300), [2e300, 0]),
        (np.full((2, 2), 1e-310), [2e-310, 0]),
    ],
)
def test_edges(array: NDArray[Any], values: list[float]) -> None:
    found = spectrum_of(array)
    assert found.values == pytest.approx(values, rel=1e-3, abs=max(values) * 1e-9)


@pytest.mark.parametrize("shape", [(20, 10), (300, 200)])
def test_values_that_are_not_finite_have_no_spectrum(shape: tuple[int, int]) -> None:
    array = falling(*shape).astype(np.float32)
    array[3, 4], array[5, 6] = np.nan, -np.inf
    with pytest.raises(ReadError, match=f"1 NaN and 1 infinite among {shape[0] * shape[1]:,} values"):
        spectrum_of(array)


def test_a_product_of_low_rank_is_seen_through_its_rounding() -> None:
    random = np.random.default_rng(0)
    product = random.normal(size=(300, 16)) @ random.normal(size=(16, 200))
    ranks = [spectrum_of(product.astype(kind)).stored_rank for kind in (np.float32, ml_dtypes.bfloat16, np.float64)]
    assert ranks == [16, 16, 16]
    assert spectrum_of(product.astype(np.float32)).rank == 200
    assert spectrum_of((product * 10).astype(np.int32)).stored_rank is None


def test_a_slice_and_a_kernel() -> None:
    kernel = falling(24, 6 * 9).reshape(24, 6, 3, 3)
    assert spectrum_of(kernel, "[:, 1, ::2, 0]").values == pytest.approx(true_values(kernel[:, 1, ::2, 0]))
    found = spectrum_of(kernel, is_folded=True)
    assert (found.rows, found.columns) == (24, 54)
    assert found.values == pytest.approx(true_values(kernel.reshape(24, -1)))
    pooled = np.concatenate([true_values(kernel[:, :, i, j]) for i, j in np.ndindex(3, 3)]) / np.sqrt(2)
    assert found.pooled is not None
    assert (found.pooled.slices, found.pooled.count) == (9, 54)
    assert found.pooled.stable_rank == pytest.approx((pooled**2).sum() / pooled.max() ** 2)


def test_what_looks_like_a_kernel() -> None:
    shapes = [(64, 32, 3, 3), (64, 1, 5), (8, 8, 3, 3, 3), (8, 4096, 14336), (64, 64), (64, 32, 0, 3)]
    assert [is_kernel(shape) for shape in shapes] == [True, True, True, False, False, True]


def test_what_is_refused_and_what_is_asked_for() -> None:
    dtype = MemorySource({"w": np.zeros(1, np.float32)}).find("w").dtype

    def of(*shape: int) -> tuple[Matrix, TensorInfo]:
        info = describe("w", shape, dtype)
        return matrix_of(info), info

    assert refusal(*of(0, 4)) == "there are no elements, and so no singular values"
    assert "smaller side of this matrix is 70,000" in str(refusal(*of(70_000, 80_000)))
    assert refusal(*of(20_000, 80_000)) is None
    assert cost(of(14_336, 4_096)[0]) is None
    assert "all 8,192 values take 1.00 GiB in another process" in str(cost(of(8_192, 28_672)[0]))
    assert "8,192 values are the most" in str(cost(of(20_000, 80_000)[0]))


def test_stopping_ends_the_process_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = iter(range(4))
    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)

    def check() -> None:
        if next(checks, None) is None:
            raise StoppedError("no longer wanted")

    with pytest.raises(StoppedError):
        spectrum_of(falling(900, 800).astype(np.float32), check=check)
    # Waited for, so no zombie is left.
    assert [process.returncode for process in started] == [-9]


def test_the_process_ends_with_the_one_that_started_it() -> None:
    problem = Problem(
        rows=200, columns=200, dtype="<f4", is_held=True, is_gram=False, wants_all=True, steps=0, threads=1
    )
    with Solving(problem) as asked:
        assert asked.process.stdin is not None
        asked.process.stdin.close()
        assert asked.process.wait(60) == 1


def test_a_process_that_dies_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solving, "_START", "import sys; sys.exit('no luck')")
    with pytest.raises(ReadError, match="the process that computes the spectrum ended with 1: no luck"):
        spectrum_of(falling(200, 150))
    monkeypatch.setattr(sys, "executable", "/usr/bin/blender")
    with pytest.raises(ReadError, match="Python runs inside another program"):
        spectrum_of(falling(200, 150))
