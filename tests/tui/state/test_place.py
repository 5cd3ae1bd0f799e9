"""Places: moving, stepping, other axes and other shapes keep the element, or the nearest that there is."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from tui_params.tui.state.layers import same_in_layers
from tui_params.tui.state.place import first_place

SHAPES = st.lists(st.integers(1, 5), min_size=2, max_size=5).map(tuple)


@given(SHAPES, st.data())
def test_other_axes_keep_the_element_at_random(shape: tuple[int, ...], data: st.DataObject) -> None:
    index = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    place = first_place(shape).to(index)
    assert place.index == index
    rows, columns = data.draw(st.permutations(range(len(shape))))[:2]
    turned = place.laid(rows, columns)
    assert turned.index == index
    assert turned.plane.leading == tuple(axis for axis in range(len(shape)) if axis not in (rows, columns))
    assert turned.stepped(1).stepped(-1) == turned
    assert turned.carried(shape) == turned
    assert turned.moved(1, 1).moved(-1, -1).index is not None


@given(SHAPES, SHAPES, st.data())
def test_a_place_is_carried_to_another_shape_at_random(
    shape: tuple[int, ...], other: tuple[int, ...], data: st.DataObject
) -> None:
    index = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    place = first_place(shape).to(index)
    rows, columns = data.draw(st.permutations(range(len(shape))))[:2]
    carried = place.laid(rows, columns).carried(other)
    assert carried.shape == other
    if len(other) == len(shape):
        assert carried.index == tuple(min(at, size - 1) for at, size in zip(index, other, strict=True))
        assert (carried.plane.rows, carried.plane.columns) == (rows, columns)
    else:
        assert carried == first_place(other)


def test_a_slice_is_kept_where_it_fits_and_given_up_where_it_does_not() -> None:
    place = first_place((4, 20, 30), "[3, 5:9, ::2]").to((3, 6, 4))
    assert place.carried((5, 20, 40)).expression == "[3, 5:9, ::2]"
    assert place.carried((5, 20, 40)).index == (3, 6, 4)
    assert place.carried((2, 20, 30)) == first_place((2, 20, 30))
    assert place.carried((4, 0, 30)) == first_place((4, 0, 30))
    assert place.within((3, 7, 2)).index == (3, 7, 2)
    assert place.within((3, 7, 3)) is place
    assert place.to((3, 7, 3)).expression == "[...]"


@given(st.integers(0, 3), st.integers(0, 3))
def test_layers_are_in_the_order_of_their_numbers_at_random(first: int, second: int) -> None:
    names = [f"h.{layer}.experts.{expert}.w" for layer in (10, 2, 0, 3) for expert in range(4)]
    names += ["h.x.experts.0.w", "h.0.experts.0.b", "w", "h..experts.0.w", f"h.{'9' * 5000}.experts.0.w"]
    name = f"h.{(0, 2, 3, 10)[first]}.experts.{second}.w"
    assert same_in_layers(name, names) == tuple(f"h.{layer}.experts.{second}.w" for layer in (0, 2, 3, 10))
    assume(first == 0)
    assert same_in_layers("w", names) == ()
    assert same_in_layers("a.0.b", ["a.0.b"]) == ()
    assert same_in_layers("ps.1", ["ps.0", "ps.1", "ps.10", "ps.2"]) == ("ps.0", "ps.1", "ps.2", "ps.10")
    assert same_in_layers("a.0.x.3.b", ["a.0.x.3.b", "a.0.x.4.b"]) == ("a.0.x.3.b", "a.0.x.4.b")
