"""What can be written of a tensor, by the place in it."""

from __future__ import annotations

from tui_params.tui.screens.tensor.windows import windows_of
from tui_params.tui.state.place import first_place


def test_nothing_is_offered_twice() -> None:
    place = first_place((3, 4))
    assert list(windows_of(place, place.plane.part(0, 3, 0, 3))) == ["window", "tensor"]
    assert list(windows_of(place, place.plane.part(0, 3, 0, 4))) == ["tensor"]
    assert list(windows_of(place, None)) == ["tensor"]
    for shape in ((), (0, 4), (0,)):
        empty = first_place(shape)
        assert list(windows_of(empty, empty.plane.part(0, 9, 0, 9))) == ["tensor"]
    cube = first_place((2, 3, 4), "[:, 1:]")
    windows = windows_of(cube.stepped(1), cube.plane.part(0, 1, 0, 1))
    assert list(windows) == ["window", "plane", "slice", "tensor"]
    assert windows["plane"].expression == "[1, 1:3, 0:4]"
    assert windows["slice"].expression == "[:, 1:]"
