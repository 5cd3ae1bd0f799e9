"""Boxes cover a run of elements, each once and in order; a window is picked out of the smallest box around it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tui_params.core.packed.box import box_of, boxes, lengths, window_of
from tui_params.core.window import Axis, make_window

shapes = st.lists(st.integers(1, 7), max_size=4).map(tuple)


@given(shapes, st.integers(0, 3000), st.integers(0, 3000), st.integers(1, 40))
def test_boxes_have_each_element_once_and_in_order(shape: tuple[int, ...], first: int, second: int, most: int) -> None:
    elements = np.arange(int(np.prod(shape))).reshape(shape)
    start, stop = sorted((first % (elements.size + 1), second % (elements.size + 1)))
    found: list[int] = []
    for box in boxes(shape, start, stop, most):
        part = elements[tuple(slice(*sides) for sides in box)]
        assert part.shape == lengths(box)
        assert 0 < part.size <= most
        found += part.reshape(-1).tolist()
    assert found == list(range(start, stop))


@given(st.data(), shapes)
def test_a_window_is_picked_out_of_its_box(data: st.DataObject, shape: tuple[int, ...]) -> None:
    elements = np.arange(int(np.prod(shape))).reshape(shape)
    axes, slices = [], []
    for size in shape:
        step = data.draw(st.sampled_from((-3, -2, -1, 1, 2, 3)))
        start = data.draw(st.integers(0, size - 1))
        most = (size - 1 - start) // step + 1 if step > 0 else start // -step + 1
        length = data.draw(st.integers(0, most))
        axes.append(Axis(start if length else 0, step if length > 1 else 1, length))
        stop = start + length * step
        slices.append(slice(start, None if stop < 0 else stop, step) if length else slice(0, 0))
    box, picks = box_of(make_window(tuple(axes)))
    part = elements[tuple(slice(*sides) for sides in box)]
    assert (part[picks] == elements[tuple(slices)]).all()
    assert window_of(box).shape == lengths(box)
