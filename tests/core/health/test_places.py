"""The places of values that a finding is about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.findings import MAX_INDICES, Finding
from tui_params.core.health.checker import check
from tui_params.core.health.places import first_places, locate, unravel
from tui_params.core.health.sought import NAN, NEG_INF, POS_INF, Sought
from tui_params.core.tensor import TensorInfo
from tui_params.errors import ReadError, StoppedError

KINDS = (NAN, POS_INF, NEG_INF)


def expected(array: NDArray[Any]) -> dict[Sought, list[tuple[int, ...]]]:
    wide = array.astype(np.float64)
    tests = {NAN: np.isnan(wide), POS_INF: wide == np.inf, NEG_INF: wide == -np.inf}
    return {kind: [tuple(map(int, at)) for at in np.argwhere(test)][:MAX_INDICES] for kind, test in tests.items()}


@settings(max_examples=80)
@given(
    st.lists(st.sampled_from([0.0, 1.0, float("nan"), float("inf"), float("-inf")]), min_size=24, max_size=24),
    st.sampled_from([(24,), (4, 6), (2, 3, 4), (24, 1, 1, 1)]),
    st.sampled_from([np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2]),
    st.sampled_from([8, 16, 4096]),
)
def test_the_first_places_of_each_in_row_major_order(
    values: list[float], shape: tuple[int, ...], dtype: Any, step: int
) -> None:
    array = np.array(values, np.float32).astype(dtype).reshape(shape)
    source = MemorySource({"a": array}, step=step)
    found = first_places(source, source.listing.tensors[0], KINDS)
    assert {kind: list(places) for kind, places in found.items()} == expected(array)


def test_places_of_complex_values_and_of_a_scalar() -> None:
    array = np.array([[1, complex(0, np.nan)], [complex(np.inf, 0), 2]], np.complex64)
    source = MemorySource({"a": array, "s": np.array(np.nan, np.float32)})
    a, s = source.listing.tensors
    assert first_places(source, a, (NAN, POS_INF)) == {NAN: ((0, 1),), POS_INF: ((1, 0),)}
    assert first_places(source, s, (NAN,)) == {NAN: ((),)}


@pytest.mark.filterwarnings("error")
def test_signalling_nan_is_found_without_a_warning() -> None:
    array = np.array([0, 0x7F800001, 0xFFC00000], np.uint32).view(np.float32)
    source = MemorySource({"a": array, "c": array[:2].view(np.complex64)})
    assert first_places(source, source.find("a"), KINDS) == {NAN: ((1,), (2,)), POS_INF: (), NEG_INF: ()}
    assert first_places(source, source.find("c"), KINDS)[NAN] == ((0,),)


def test_a_tensor_that_is_not_contiguous_is_read_by_windows() -> None:
    array = np.zeros((6, 4), np.float32)
    array[4, 1] = np.nan
    source = MemorySource({"a": array})
    info = msgspec.structs.replace(source.listing.tensors[0], stride=(1, 6))
    assert first_places(source, info, (NAN,)) == {NAN: ((4, 1),)}
    assert source.windows


class Counting(MemorySource):
    """Counts the blocks that it gives, and may fail at one of them."""

    given_out = 0
    fails_at = -1

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        for block in super().blocks(info, start, stop):
            if self.given_out == self.fails_at:
                raise ReadError("the disk is gone")
            self.given_out += 1
            yield block


def findings(*kinds: str) -> tuple[Finding, ...]:
    return tuple(
        Finding("error", "nan" if kind == "NaN" else "inf", "a", f"some of 100 values are {kind}") for kind in kinds
    )


def test_reading_ends_with_the_last_place_that_is_wanted() -> None:
    array = np.zeros(8000, np.float32)
    array[:6] = np.nan
    source = Counting({"a": array}, step=80)
    (finding,) = locate(source, source.listing.tensors[0], findings("NaN"))
    assert finding.indices == ((0,), (1,), (2,), (3,), (4,))
    assert source.given_out == 1


def test_findings_keep_their_own_places() -> None:
    array = np.array([np.inf, 0, -np.inf, np.nan], np.float32)
    source = MemorySource({"a": array})
    other = Finding("info", "dead-rows", "a", "a row", ((9, 9),))
    located = locate(source, source.listing.tensors[0], (*findings("-Inf", "NaN", "+Inf"), other))
    assert [finding.indices for finding in located] == [((2,),), ((3,),), ((0,),), ((9, 9),)]
    assert locate(source, source.listing.tensors[0], (other,)) == (other,)


def test_a_second_reading_that_fails_leaves_the_findings() -> None:
    source = Counting({"a": np.full(80, np.nan, np.float32)}, step=8)
    source.fails_at = 0
    assert locate(source, source.listing.tensors[0], findings("NaN")) == findings("NaN")


def test_it_stops_when_asked() -> None:
    source = MemorySource({"a": np.full(80, np.nan, np.float32)})
    with pytest.raises(StoppedError):
        locate(source, source.listing.tensors[0], findings("NaN"), lambda: True)


@given(st.lists(st.integers(1, 7), max_size=4), st.data())
def test_unravel_is_numpys(shape: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, int(np.prod(shape)) - 1))
    assert unravel(place, tuple(shape)) == tuple(map(int, np.unravel_index(place, shape)))


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([0.0, -0.0, 1e-3, -2.0, 3.0, 448.0, -448.0, float("nan")]), min_size=24, max_size=24),
    st.sampled_from([np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]),
    st.sampled_from([8, 4096]),
)
def test_the_first_values_that_meet_a_condition(values: list[float], dtype: Any, step: int) -> None:
    array = np.array(values, np.float32).astype(dtype).reshape(4, 6)
    wide = array.astype(np.float64)
    conditions = {
        Sought("zero"): wide == 0,
        Sought("below", 1e-2): wide < 1e-2,
        Sought("beyond", 2.5): np.abs(wide) > 2.5,
        Sought("at", 448.0): np.abs(wide) == 448,
        Sought("not finite"): ~np.isfinite(wide),
    }
    source = MemorySource({"a": array}, step=step)
    found = first_places(source, source.listing.tensors[0], tuple(conditions))
    assert {sought: list(places) for sought, places in found.items()} == {
        sought: [tuple(map(int, at)) for at in np.argwhere(met)][:MAX_INDICES] for sought, met in conditions.items()
    }


def places_of(name: str, array: NDArray[Any]) -> dict[tuple[str, str], tuple[tuple[int, ...], ...]]:
    return {
        (finding.severity, finding.rule): finding.indices for finding in check(MemorySource({name: array})).findings
    }


def test_findings_about_single_values_say_where_these_are() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((40, 50)).astype(np.float32)
    weight[7, 3], weight[9, 1] = 2e4, -3e4
    assert places_of("fc.weight", weight)["warning", "abs-max"] == ((7, 3), (9, 1))
    weight[20, 2] = 3e7
    assert places_of("fc.weight", weight)["error", "abs-max"] == ((20, 2),)
    half = rng.standard_normal((40, 50)).astype(np.float16)
    half[3, 4:8] = -65504
    assert places_of("fc.weight", half)["warning", "fp16-saturation"] == ((3, 4), (3, 5), (3, 6), (3, 7))
    scale = np.ones((4, 4), np.float32)
    scale[2, 1] = 0
    assert places_of("fc.weight_scale", scale) == {("warning", "broken-scale"): ((2, 1),)}
    scale[1, 3] = -np.inf
    assert places_of("fc.weight_scale", scale)["error", "broken-scale"] == ((1, 3),)
    variance = np.ones(8, np.float32)
    variance[5] = 1e-20
    assert places_of("bn.running_var", variance) == {("warning", "batchnorm"): ((5,),)}
    variance[6] = -1
    assert places_of("bn.running_var", variance) == {("error", "batchnorm"): ((6,),)}
