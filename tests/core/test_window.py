"""Slice expressions against numpy's own basic indexing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tui_params.core.window import Axis, Window, make_window, parse_window, pieces, plane
from tui_params.errors import SliceError

SHAPES = st.lists(st.integers(0, 7), max_size=4).map(tuple)
BOUND = st.one_of(st.just(""), st.integers(-12, 12).map(str), st.just("99999999999999999999"))
STEP = st.one_of(st.just(""), st.integers(-4, 4).filter(bool).map(str), st.just("-99999999999999999999"))
SLICE = st.one_of(
    st.builds("{}:{}".format, BOUND, BOUND),
    st.builds("{}:{}:{}".format, BOUND, BOUND, STEP),
    st.just(":"),
)
ITEM = st.one_of(SLICE, st.integers(-8, 8).map(str), st.just("..."))
EXPRESSION = st.lists(ITEM, max_size=5).map(", ".join)


def indices_of(window: Window) -> tuple[list[int], ...]:
    return tuple([axis.index(position) for position in range(axis.length)] for axis in window.axes)


def take(array: np.ndarray, window: Window) -> np.ndarray:
    """The elements of a window, one index at a time: independent of numpy's slicing."""
    picked = array[np.ix_(*indices_of(window))] if array.ndim else array
    return picked.reshape(window.shape)


@settings(max_examples=300)
@given(SHAPES, EXPRESSION, st.booleans())
def test_parse_window_means_what_numpy_means(shape: tuple[int, ...], expression: str, brackets: bool) -> None:
    array = np.arange(int(np.prod(shape))).reshape(shape)
    text = f"[{expression}]" if brackets else expression
    try:
        expected = eval(f"array[{expression or '...'}]", {"array": array})
    except IndexError:
        with pytest.raises(SliceError):
            parse_window(text, shape)
        return
    window = parse_window(text, shape)
    assert window.shape == expected.shape
    assert np.array_equal(take(array, window), expected)
    for axis, size in zip(window.axes, shape, strict=True):
        assert all(0 <= axis.index(position) < size for position in range(axis.length))
        assert abs(axis.step) <= max(size, 1)


@settings(max_examples=100)
@given(SHAPES, EXPRESSION)
def test_make_window_says_the_same_again(shape: tuple[int, ...], expression: str) -> None:
    try:
        window = parse_window(expression, shape)
    except SliceError:
        return
    again = parse_window(make_window(window.axes).expression, shape)
    assert again.shape == window.shape
    assert window.numel == 0 or indices_of(again) == indices_of(window)


@pytest.mark.parametrize(
    ("expression", "shape", "expected"),
    [
        ("", (4, 3), "[...]"),
        ("[]", (4, 3), "[...]"),
        ("  [ 0 ,  :3 ] ", (4, 3), "[0, :3]"),
        ("0,", (4, 3), "[0]"),
        ("1_0", (20,), "[1_0]"),
    ],
)
def test_expression_is_kept_tidied(expression: str, shape: tuple[int, ...], expected: str) -> None:
    assert parse_window(expression, shape).expression == expected


@pytest.mark.parametrize(
    ("expression", "shape", "message"),
    [
        ("5000", (4096,), "index 5000 is out of range for axis 0 of size 4096 (use -4096 to 4095)"),
        ("0, -4", (2, 3), "index -4 is out of range for axis 1 of size 3 (use -3 to 2)"),
        ("0", (0,), "index 0 is out of range for axis 0 of size 0 (it has no elements)"),
        ("0, 0, 0", (2, 3), "3 indices for a tensor of 2 dimensions"),
        ("0", (), "1 index for a tensor of 0 dimensions"),
        ("..., ...", (2, 3), "the slice has ... more than once"),
        ("[None]", (2,), "part 1 of the slice is None, which adds a dimension"),
        ("0, [0, 1]", (2, 3), "part 2 of the slice picks by a list or a mask"),
        ("True", (2,), "part 1 of the slice picks by a list or a mask"),
        ("1.5", (2,), "part 1 of the slice has '1.5', which is not an integer"),
        ("::0", (2,), "part 1 of the slice has step 0"),
        (":::", (2,), "part 1 of the slice has 3 colons"),
        ("0,,0", (2, 2), "part 2 of the slice is empty"),
        (",", (2, 2), "part 1 of the slice is empty"),
        ("[0", (2,), "the slice has an opening bracket without a closing one"),
        ("0]", (2,), "the slice has an opening bracket without a closing one"),
        ("[", (2,), "the slice has an opening bracket without a closing one"),
        ("٣", (9,), "part 1 of the slice has '٣', which is not an integer"),
        ("9" * 500, (2,), "index 999999999999… (500 characters) is out of range for axis 0"),
        ("0" * 5000, (2,), "the slice is 5000 characters long; 1000 is the limit"),
        ("- 1", (2,), "part 1 of the slice has '- 1', which is not an integer"),
    ],
)
def test_refusals_are_one_sentence(expression: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(SliceError) as caught:
        parse_window(expression, shape)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@settings(max_examples=150)
@given(st.text(alphabet="0123456789-+:,.[] None()_e'", max_size=12), SHAPES)
def test_any_text_gives_a_window_or_a_slice_error(expression: str, shape: tuple[int, ...]) -> None:
    try:
        window = parse_window(expression, shape)
    except SliceError:
        return
    assert len(window.axes) == len(shape)


def test_shapes_beyond_any_machine_are_clipped_by_arithmetic() -> None:
    size = 2**70
    assert parse_window("-5::2", (size,)).axes == (Axis(size - 5, 2, 3),)
    assert parse_window("::-1", (size,)).numel == size


def test_axis_part_is_clipped() -> None:
    axis = Axis(10, -2, 5)
    assert axis.part(1, 2) == Axis(8, -2, 2)
    assert axis.part(4, 10) == Axis(2, -2, 1)
    assert axis.part(9, 3).length == 0
    assert axis.part(0, -1).length == 0


@settings(max_examples=100)
@given(SHAPES, EXPRESSION, st.lists(st.integers(0, 8), min_size=4, max_size=4))
def test_part_of_a_plane_is_the_same_part_of_the_values(shape: tuple[int, ...], text: str, part: list[int]) -> None:
    array = np.arange(int(np.prod(shape))).reshape(shape)
    try:
        view = plane(parse_window(text, shape))
    except SliceError:
        return
    row, rows, column, columns = part
    values = take(array, view.window)
    kept = [number for number, axis in enumerate(view.window.axes) if not axis.is_index]
    for axis in reversed(view.leading):
        place = kept.index(axis)
        # Of a leading axis without elements there is no first one, and so nothing is shown.
        values = values.take([0], place).squeeze(place) if values.shape[place] else values.sum(place)[..., :0]
    if values.ndim == 2:
        values = values[row : row + rows, column : column + columns]
    elif values.ndim == 1:
        values = values[column : column + columns]
    shown = parse_window(view.part(row, rows, column, columns).expression, shape)
    assert np.array_equal(take(array, shown).ravel(), values.ravel())


def test_plane_takes_the_last_two_dimensions() -> None:
    view = plane(parse_window("", (2, 3, 4, 5)))
    assert (view.rows, view.columns, view.leading, view.at) == (2, 3, (0, 1), (0, 0))
    assert (view.row_count, view.column_count) == (4, 5)
    assert view.part(1, 2, 3, 99).expression == "[0, 0, 1:3, 3:5]"
    assert view.part(1, 2, 3, 99).shape == (2, 2)


def test_plane_skips_dimensions_that_the_expression_dropped() -> None:
    view = plane(parse_window("[:, 1, ::-1]", (2, 3, 4)))
    assert (view.rows, view.columns, view.leading) == (0, 2, ())
    assert view.part(0, 1, 1, 2).expression == "[0:1, 1, 2:0:-1]"


def test_plane_of_few_dimensions() -> None:
    scalar = plane(parse_window("", ()))
    assert (scalar.rows, scalar.columns, scalar.row_count, scalar.column_count) == (None, None, 1, 1)
    assert scalar.part(0, 5, 0, 5).shape == ()
    vector = plane(parse_window("2:", (6,)))
    assert (vector.rows, vector.columns, vector.column_count) == (None, 0, 4)
    assert vector.part(0, 1, 1, 2).expression == "[3:5]"


def test_plane_steps_in_row_major_order_and_wraps() -> None:
    view = plane(parse_window("", (2, 3, 4, 5)))
    places = [view.step(by).at for by in range(7)]
    assert places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 0)]
    assert view.step(-1).at == (1, 2)
    assert view.step(4).part(0, 1, 0, 1).expression == "[1, 1, 0:1, 0:1]"


def test_plane_of_nothing_stands_still() -> None:
    view = plane(parse_window("", (0, 3, 4)))
    assert view.step(1) == view
    assert view.part(0, 2, 0, 2).numel == 0


@given(
    st.lists(st.integers(0, 5), max_size=4),
    st.sampled_from(["", "[::-1]", "[..., ::2]", "[..., 0]", "[0]", "[1:, ..., -2:]"]),
    st.integers(1, 40),
)
def test_pieces_are_the_window_in_row_major_order(shape: list[int], expression: str, most: int) -> None:
    array = np.arange(int(np.prod(shape))).reshape(shape)
    try:
        window = parse_window(expression, tuple(shape))
    except SliceError:
        return
    found: list[int] = []
    for part in pieces(window, most):
        assert 0 < part.numel <= most
        assert len(part.shape) == len(window.shape)
        found += at(array, part)
    assert found == at(array, window)


def test_pieces_are_as_large_as_can_be_and_made_one_by_one() -> None:
    assert [part.expression for part in pieces(parse_window("", (4, 6)), 12)] == ["[0:2, 0:6]", "[2:4, 0:6]"]
    assert [part.expression for part in pieces(parse_window("", (2, 3)), 2)] == [
        "[0:1, 0:2]",
        "[0:1, 2:3]",
        "[1:2, 0:2]",
        "[1:2, 2:3]",
    ]
    endless = pieces(parse_window("", (10**15, 10**9)), 1000)
    assert next(endless).expression == "[0:1, 0:1000]"


def at(array: NDArray[np.int64], window: Window) -> list[int]:
    """The elements of a window, by the meaning of its axes alone."""
    places = [[axis.index(place) for place in range(axis.length)] for axis in window.axes]
    found: list[int] = array[np.ix_(*places)].reshape(-1).tolist() if places else [int(array)]
    return found


@given(st.lists(st.integers(0, 4), max_size=4), st.data())
def test_the_index_of_a_position_is_where_the_part_begins(shape: list[int], data: st.DataObject) -> None:
    array = np.arange(int(np.prod(shape))).reshape(shape)
    items = [data.draw(st.sampled_from([":", "::-1", "1:", "::2", "0", "-1"])) for _ in shape]
    try:
        view = plane(parse_window(", ".join(items), tuple(shape)))
    except SliceError:
        return
    view = view.step(data.draw(st.integers(-3, 3)))
    row, column = (data.draw(st.integers(0, 4)) for _ in range(2))
    index, part = view.index(row, column), view.part(row, 1, column, 1)
    if row >= view.row_count or column >= view.column_count or not part.numel:
        assert index is None or not (row < view.row_count and column < view.column_count)
        return
    assert index is not None
    assert [array[index]] == at(array, part)
    assert view.position(index) == (row if view.rows is not None else 0, column if view.columns is not None else 0)


@pytest.mark.parametrize(
    ("shape", "expression", "down", "across"),
    [
        ((64, 32, 3, 3), "", 0, 1),
        ((64, 32, 3, 3), "[::2]", 0, 1),
        ((64, 32, 3, 3), "[5]", 2, 3),
        ((64, 32, 3, 3), "[:, 5]", 2, 3),
        ((64, 3, 7, 7), "", 2, 3),  # the filters of a picture's three colours are pictures themselves
        ((64, 3, 3, 3), "", 2, 3),
        ((512, 256, 5), "", 0, 1),
        ((64, 32, 3, 3, 3), "", 0, 1),
        ((512, 256, 1, 1), "", 0, 1),
        ((96, 1, 7, 7), "", 2, 3),
        ((4096, 1, 4), "", 0, 2),
        ((64, 1, 1, 1), "", 0, 3),
        ((1, 1, 1, 9), "", 2, 3),
        ((1, 1, 1), "", 1, 2),
        ((8, 14336, 4096), "", 1, 2),
        ((8, 1, 4096), "", 0, 2),
        ((3, 4, 7, 30), "", 2, 3),
        ((1, 500), "", 0, 1),
        ((3, 0, 2), "", 1, 2),
    ],
)
def test_which_plane_lies_down_at_first(shape: tuple[int, ...], expression: str, down: int, across: int) -> None:
    view = plane(parse_window(expression, shape))
    assert (view.rows, view.columns) == (down, across)
