"""Pictures of planes: each number against numpy's float64, for every type, layout and size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.kernels.engine import Engine
from tui_params.core.numbers import block_picture
from tui_params.core.numbers.block_picture import BlockPicture
from tui_params.core.numbers.block_sums import magnitudes
from tui_params.core.numbers.region import Region
from tui_params.core.reading import block_reading
from tui_params.core.reading.block_reading import read_picture, sample_picture
from tui_params.core.window import Plane, parse_window, plane, plane_of
from tui_params.errors import StoppedError

NEVER_STOPS = lambda: None  # noqa: E731


def values_of(name: str, shape: tuple[int, ...], seed: int = 0) -> NDArray[Any]:
    """Values of a type, with whatever it has of NaN, Inf, -0, subnormals and the largest ones among them."""
    random = np.random.default_rng(seed)
    if name == "bool":
        return random.integers(0, 2, shape).astype(np.bool_)
    import ml_dtypes

    native = np.dtype(getattr(ml_dtypes, name, None) or name)
    if native.kind in "iu" or name.startswith(("int", "uint")):
        wide = random.integers(0, 1 << 64, shape, np.uint64)
        return wide.astype(np.uint8).astype(native) if native.itemsize == 1 else wide.view(np.uint64).astype(native)
    if native.kind == "c":
        parts = random.standard_normal((*shape, 2)) * 0.1
        found = (parts[..., 0] + 1j * parts[..., 1]).astype(native)
        found.flat[3], found.flat[7] = complex(np.nan, 1), complex(1, np.inf)
        return found
    with np.errstate(all="ignore"):
        found = (random.standard_normal(shape) * 0.1).astype(native)
        if found.size > 40:
            for place, value in ((3, np.nan), (11, np.inf), (12, -np.inf), (20, -0.0), (31, 1e-40), (32, 3e38)):
                found.flat[place] = native.type(value)
    return found


TYPES = (
    "bfloat16", "float16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
    "float8_e8m0fnu", "int8", "int16", "int32", "int64", "uint8", "uint64", "bool", "complex64", "complex128", "int4",
    "uint4", "int2", "uint2", "float4_e2m1fn",
)  # fmt: skip


def expected(values: NDArray[Any], height: int, width: int) -> dict[str, NDArray[Any]]:
    """The tables by definition, block by block."""
    found = magnitudes(values)
    bad = ~np.isfinite(found)
    clean = np.where(bad, 0, found)
    rows, columns = range(0, found.shape[0], height), range(0, found.shape[1], width)

    def each(of: Any, array: NDArray[Any]) -> NDArray[Any]:
        return np.array([[of(array[r : r + height, c : c + width]) for c in columns] for r in rows])

    with np.errstate(all="ignore"):
        spoilt = np.where(bad, np.nan, clean * clean)
        return {
            "sums": each(np.sum, clean),
            "squares": each(np.sum, clean * clean),
            "peaks": each(np.max, np.abs(clean)),
            "nans": each(np.sum, np.isnan(found)),
            "infs": each(np.sum, np.isinf(found)),
            "row_squares": spoilt.sum(1),
            "column_squares": spoilt.sum(0),
            "sizes": each(np.sum, np.abs(clean)),
        }


def check_picture(picture: BlockPicture, values: NDArray[Any]) -> None:
    """Every table is what the definition gives; the sums within a millionth of the sums of magnitudes."""
    blocking = picture.blocking
    right = expected(values, blocking.height, blocking.width)
    for name in ("nans", "infs", "peaks"):
        assert np.array_equal(getattr(picture, name), right[name]), name
    assert (abs(picture.sums - right["sums"]) <= 1e-6 * right["sizes"] + 1e-320).all()
    for name in ("squares", "row_squares", "column_squares"):
        with np.errstate(all="ignore"):
            assert np.allclose(getattr(picture, name), right[name], rtol=3e-6, atol=0, equal_nan=True), name
    counts = np.outer(picture.row_counts, picture.column_counts)
    assert counts.sum() == values.size


def whole(view: Plane) -> Region:
    return Region(0, 0, view.row_count, view.column_count)


def small_blocks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(block_picture, "MOST_DOWN", 5)
    patch.setattr(block_picture, "MOST_BLOCKS", 40)
    patch.setattr(block_reading, "_PIECE", 50)


def source_of(engine: Engine, values: NDArray[Any]) -> MemorySource:
    source = MemorySource({"x": values}, step=104)
    source.engine = engine
    return source


@pytest.mark.parametrize("name", TYPES)
def test_every_type(engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)
    for shape in ((16, 24), (13, 17), (40, 8), (1, 101), (101, 1), (7, 2080)):
        values = values_of(name, shape)
        source = source_of(engine, values)
        view = plane(parse_window("", shape))
        picture = read_picture(source, source.find("x"), view, whole(view), check=NEVER_STOPS)
        check_picture(picture, values)
        assert picture.sums.size <= 80 or 1 in shape


@pytest.mark.parametrize("name", ["bfloat16", "float32", "complex64"])
@pytest.mark.parametrize(
    "expression", ["[1]", "[:, 1]", "[:, ::-1, 3]", "[0, 1:9:2, ::-3]", "[..., 0]", "[1, 2]", "[-1, :4]"]
)
def test_slices_and_transposed_planes(
    engine: Engine, name: str, expression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    values = values_of(name, (3, 9, 16))
    source = source_of(engine, values)
    view = plane(parse_window(expression, values.shape))
    cut = source.read("x", expression)
    seen = cut.reshape(view.row_count, view.column_count)
    picture = read_picture(source, source.find("x"), view, whole(view), check=NEVER_STOPS)
    check_picture(picture, seen)
    if view.rows is not None:
        turned = plane_of(view.window, view.columns, view.rows)
        picture = read_picture(source, source.find("x"), turned, whole(turned), check=NEVER_STOPS)
        check_picture(picture, seen.T)
        region = Region(1, 1, min(4, seen.shape[1] - 1), min(3, seen.shape[0] - 1))
        picture = read_picture(source, source.find("x"), turned, region, check=NEVER_STOPS)
        check_picture(picture, seen.T[1 : 1 + region.height, 1 : 1 + region.width])


def test_planes_of_a_tensor_of_many_dimensions(engine: Engine) -> None:
    values = values_of("float16", (2, 3, 8, 8))
    source = source_of(engine, values)
    first = plane(parse_window("", values.shape))
    for by in range(6):
        view = first.step(by)
        picture = read_picture(source, source.find("x"), view, whole(view), check=NEVER_STOPS)
        check_picture(picture, values.reshape(6, 8, 8)[by])
    assert not source.windows  # planes that lie in one piece are read as blocks


def test_one_element(engine: Engine) -> None:
    source = source_of(engine, np.array(2.5, np.float32))
    view = plane(parse_window("", ()))
    picture = read_picture(source, source.find("x"), view, whole(view), check=NEVER_STOPS)
    assert (picture.sums.tolist(), picture.peaks.tolist(), picture.squares.tolist()) == ([[2.5]], [[2.5]], [[6.25]])


@pytest.mark.parametrize("shape", [(40, 30), (3, 500), (500, 3), (1, 1000), (33, 100)])
def test_a_sample_looks_at_few_elements_in_every_block(
    engine: Engine, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_reading, "SAMPLED", 200)
    monkeypatch.setattr(block_reading, "SAMPLED_BEYOND", 500)
    monkeypatch.setattr(block_reading, "SAMPLED_ROWS", 8)
    monkeypatch.setattr(block_reading, "SAMPLED_COLUMNS", 16)
    monkeypatch.setattr(block_reading, "SAMPLED_PLACES", 64)
    values = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    for turned in (False, True):
        source = source_of(engine, values)
        view = plane(parse_window("", shape))
        view = plane_of(view.window, 1, 0) if turned else view
        seen = values.T if turned else values
        picture = sample_picture(source, source.find("x"), view)
        assert picture is not None
        assert picture.is_sampled
        assert source.elements_read <= 200
        counts = np.outer(picture.row_counts, picture.column_counts)
        assert counts.sum() == source.elements_read
        assert (counts > 0).all()
        height, width = picture.blocking.height, picture.blocking.width
        assert picture.sums.shape == (-(-seen.shape[0] // height), -(-seen.shape[1] // width))
        for (row, column), peak in np.ndenumerate(picture.peaks):
            block = seen[row * height : (row + 1) * height, column * width : (column + 1) * width]
            assert peak in abs(block)
            assert abs(picture.sums[row, column]) <= abs(block).max() * counts[row, column]


def test_a_small_plane_needs_no_sample(engine: Engine) -> None:
    source = source_of(engine, np.zeros((10, 10), np.float32))
    assert sample_picture(source, source.find("x"), plane(parse_window("", (10, 10)))) is None


def test_it_stops_when_it_is_told_to(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((64, 1000), np.float32)
    source = source_of(engine, values)
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) > 3:
            raise StoppedError("enough")

    monkeypatch.setattr(block_reading, "_PIECE", 1000)
    for view in (plane(parse_window("", values.shape)), plane(parse_window("[:, ::2]", values.shape))):
        calls.clear()
        with pytest.raises(StoppedError):
            read_picture(source, source.find("x"), view, whole(view), check=check)
        assert len(calls) == 4
