"""Zooming and moving in the heat map: what is seen always lies in the plane, and holds the place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.window import Plane, parse_window, plane
from tui_params.tui.widgets.lenses import heat_layout
from tui_params.tui.widgets.lenses.heat_layout import Layout, Zoom, cells_of, deepest, lay_out, place_in, shown, zoomed

SHAPES = st.lists(st.sampled_from([1, 2, 3, 7, 60, 61, 1000, 10**9]), max_size=3).map(tuple)


def view_of(shape: tuple[int, ...]) -> Plane:
    return plane(parse_window("", shape))


def check_seen(zoom: Zoom, view: Plane, row: int, column: int) -> None:
    seen = zoom.seen
    assert 0 <= seen.top <= row < seen.top + seen.height <= view.row_count
    assert 0 <= seen.left <= column < seen.left + seen.width <= view.column_count


@given(st.data())
def test_whatever_one_does_the_place_is_seen(data: st.DataObject) -> None:
    view = view_of(data.draw(SHAPES))
    layout = lay_out(view, data.draw(st.integers(4, 200)), data.draw(st.integers(1, 60)))
    zoom, row, column = heat_layout.whole(view), 0, 0
    for _ in range(data.draw(st.integers(0, 12))):
        row = data.draw(st.integers(0, view.row_count - 1))
        column = data.draw(st.integers(0, view.column_count - 1))
        zoom = zoomed(zoom, data.draw(st.integers(-3, 3)), view, layout, row, column)
        check_seen(zoom, view, row, column)
        row = max(0, min(row + data.draw(st.integers(-99, 99)), view.row_count - 1))
        zoom = shown(zoom, view, row, column)
        check_seen(zoom, view, row, column)


def test_zooming_ends_where_values_can_be_read_and_comes_back() -> None:
    view = view_of((49_152, 4_096))
    layout = Layout(6, 112, 28, True, True)
    zoom = heat_layout.whole(view)
    place = 31_000, 1_234
    levels = deepest(view, layout)
    assert levels == 11
    for level in range(1, levels + 1):
        zoom = zoomed(zoom, 1, view, layout, *place)
        assert zoom.level == level
        check_seen(zoom, view, *place)
    assert (zoom.seen.height, zoom.seen.width) == (28, 12)
    assert zoomed(zoom, 1, view, layout, *place) == zoom
    assert cells_of(28, 12, layout, is_half=True).has_room
    for _ in range(levels):
        zoom = zoomed(zoom, -1, view, layout, *place)
    assert zoom == heat_layout.whole(view)


def test_the_place_stays_where_it_is_on_the_screen() -> None:
    view, layout = view_of((10_000, 10_000)), Layout(6, 100, 25, True, True)
    zoom = zoomed(heat_layout.whole(view), 1, view, layout, 2_500, 7_500)
    assert (zoom.seen.top, zoom.seen.left) == (1_250, 3_750)


def test_blocks_are_found_by_position() -> None:
    edges = (0, 3, 6, 10)
    assert [place_in(edges, position) for position in (-5, 0, 2, 3, 9, 10, 99)] == [0, 0, 0, 1, 2, 2, 2]
