from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_numbers import BytesSource
from tui_params.core.dtypes import DType, from_torch, numpy_dtype
from tui_params.core.kernels.engine import Engine
from tui_params.core.kernels.protocol import DECODED, FEW
from tui_params.core.reading import sweep
from tui_params.core.reading.few_reading import is_few, measure_few
from tui_params.core.reading.tensor_reading import measure
from tui_params.core.tensor import TensorInfo, describe
from tui_params.errors import ReadError, StoppedError


def dtype_named(name: str) -> DType:
    dtype = from_torch(name)
    assert dtype is not None
    return dtype


def stored(values: NDArray[np.float32], dtype: DType) -> NDArray[np.uint8]:
    native = numpy_dtype(dtype)
    assert native is not None
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(values.astype(native)).view(np.uint8).reshape(-1)


def compare(engine: Engine, info: TensorInfo, raw: NDArray[np.uint8]) -> None:
    """Both ways must find the same, down to the sign of a zero."""
    slow = measure(BytesSource({info: raw}), info, threads=1)
    source = BytesSource({info: raw}, 1 << 20)
    source.engine = engine
    fast = measure_few(source, info)
    assert repr(fast.figures) == repr(slow.summary.figures(info.numel))
    assert repr(fast.channels) == repr(slow.channels)


def odd_values(numel: int, seed: int, kind: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal(numel) * 10.0 ** rng.integers(-4, 3)).astype(np.float32)
    if kind == 1:
        values *= np.float32(10) ** rng.integers(-40, 38, numel).astype(np.float32)
    elif kind == 2:
        values = np.round(values) * rng.choice(np.array([0, -0.0, 1], np.float32), numel)
    elif kind == 3:
        odd = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 3e38], np.float32)
        values = np.where(rng.random(numel) < 0.3, rng.choice(odd, numel), values)
    elif kind == 4:
        values[:] = rng.choice(np.array([0, -0.0, 1.5, np.nan, -np.inf], np.float32))
    return values


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=60)
@given(
    st.sampled_from(DECODED),
    st.lists(st.integers(1, 7), max_size=5),
    st.integers(1, 60),
    st.integers(0, 1 << 30),
    st.integers(0, 4),
)
def test_the_figures_of_few_elements_are_those_of_any_number(
    compiled_engine: Engine, name: str, shape: list[int], first: int, seed: int, kind: int
) -> None:
    dtype = dtype_named(name)
    info = describe("fc.weight", (first, *shape), dtype)
    if info.numel <= FEW:
        compare(compiled_engine, info, stored(odd_values(info.numel, seed, kind), dtype))


@pytest.mark.parametrize("name", DECODED)
@pytest.mark.parametrize("shape", [(), (1024,), (16, 300), (3000, 2), (40, 9, 3), (8, 1, 3, 3), (6, 5, 3, 3), (65536,)])
def test_random_bytes_and_every_kind_of_shape(compiled_engine: Engine, name: str, shape: tuple[int, ...]) -> None:
    info = describe("fc.weight", shape, dtype_named(name))
    compare(compiled_engine, info, np.random.default_rng(1).integers(0, 256, info.nbytes, np.uint8))


@pytest.mark.parametrize("values", [[-1.0, 1e-30], [-3e38, 1e-45, 2.0], [0.0, -0.0], [-0.0, 0.0, 1e-45]])
def test_a_quantile_between_numbers_far_apart_is_rounded_once(compiled_engine: Engine, values: list[float]) -> None:
    compare(
        compiled_engine, describe("b", (len(values),), dtype_named("float32")), np.array(values, "<f4").view(np.uint8)
    )


def test_rows_of_an_embedding_are_still_compared(compiled_engine: Engine) -> None:
    values = np.random.default_rng(2).standard_normal((20, 16)).astype(np.float32)
    values[7] = values[3]
    info = describe("embed_tokens.weight", (20, 16), dtype_named("float32"))
    source = BytesSource({info: values.view(np.uint8).reshape(-1)}, 1 << 20)
    source.engine = compiled_engine
    channels = measure_few(source, info).channels
    assert channels is not None
    assert channels.alike == ((3, 7),)
    compare(compiled_engine, info, values.view(np.uint8).reshape(-1))


def test_what_comes_in_pieces_is_put_together(compiled_engine: Engine) -> None:
    info = describe("w", (30, 10), dtype_named("bfloat16"))
    raw = stored(odd_values(300, 3, 0), info.dtype)
    whole, pieces = BytesSource({info: raw}, 1 << 20), BytesSource({info: raw}, 64)
    whole.engine = pieces.engine = compiled_engine
    done: list[int] = []
    assert measure_few(pieces, info, progress=done.append) == measure_few(whole, info)
    assert done == sorted(done)
    assert done[-1] == 300
    assert len(done) > 2


class ShortSource(BytesSource):
    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        yield from super().blocks(info, 0, 64)


def test_a_read_that_ends_early_or_is_stopped_gives_no_figures(compiled_engine: Engine) -> None:
    info = describe("w", (300,), dtype_named("float32"))
    raw = np.zeros(info.nbytes, np.uint8)
    short = ShortSource({info: raw}, 64)
    short.engine = compiled_engine
    with pytest.raises(ReadError, match="w ended after 64 of 300 elements"):
        measure_few(short, info)
    asked = count(1)
    source = BytesSource({info: raw}, 64)
    source.engine = compiled_engine
    with pytest.raises(StoppedError):
        measure_few(source, info, should_stop=lambda: next(asked) > 2)
    assert next(asked) == 4


@pytest.mark.parametrize(
    ("shape", "name", "expected"),
    [((FEW,), "float32", True), ((FEW + 1,), "float32", False), ((4,), "int64", False), ((0,), "float32", False)],
)
def test_only_few_elements_of_types_with_a_loop_are_read_so(shape: tuple[int, ...], name: str, expected: bool) -> None:
    assert is_few(describe("w", shape, dtype_named(name))) is expected
    assert sweep.FEW == FEW


class NotedEngine(Engine):
    prepared = 0

    def prepare(self, nbytes: int) -> None:
        self.prepared = max(self.prepared, nbytes)


def test_many_small_tensors_are_worth_the_compiled_loops() -> None:
    infos = [describe(f"w{number}", (4,), dtype_named("float32")) for number in range(600)]
    source = BytesSource({info: np.zeros(16, np.uint8) for info in infos})
    source.engine = engine = NotedEngine()
    sweep.scan_all(source, [info.name for info in infos], lambda outcome: None)
    assert engine.prepared == 600 * (16 + sweep.FEW_COST)
