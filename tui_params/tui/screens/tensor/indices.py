"""What the tensor screen asks for in its field: a slice, or the index of an element."""

from __future__ import annotations

from collections.abc import Callable

from tui_params.core import text
from tui_params.core.window import parse_window
from tui_params.errors import SliceError
from tui_params.tui.state.place import Place, first_place
from tui_params.tui.widgets.lenses.lens import Lens


def parse_index(words: str, place: Place) -> tuple[int, ...]:
    """The index of the whole tensor that ``words`` mean: negative numbers count from the end.

    Where fewer numbers are given than there are dimensions, they are those of the first ones, as in numpy, and the
    others stay as they are at ``place``. Raises SliceError.
    """
    shape, now = place.shape, place.index
    if now is None:
        raise SliceError("there is no element to go to")
    inner = words.strip().removeprefix("[").removesuffix("]").strip()
    given = [part.strip() for part in inner.replace(",", " ").split()] if inner else []
    if len(given) > len(shape):
        raise SliceError(
            f"{text.plural(len(given), 'index', 'indices')} for a tensor of {text.plural(len(shape), 'dimension')}"
        )
    if any(":" in part or part == "..." for part in given):
        raise SliceError("an index is one number for each dimension; v takes slices")
    whole = [*given, *map(str, now[len(given) :])]
    return tuple(axis.start for axis in parse_window(", ".join(whole), shape).axes)


def slice_asked(place: Place, go: Callable[[Place], object]) -> Lens.Asked:
    """The question for a slice of the tensor; where it holds the element of the place, that stays."""

    def check(words: str) -> str | None:
        try:
            first_place(place.shape, words)
        except SliceError as error:
            return str(error)
        return None

    def take(words: str) -> None:
        first = first_place(place.shape, words)
        go(first if place.index is None else first.within(place.index))

    hint = "3, :, 100:200, ::2   -1   ...   nothing is the whole tensor"
    now = place.expression.strip("[]")
    return Lens.Asked("slice", "" if now == "..." else now, check, take, hint)


def index_asked(place: Place, go: Callable[[Place], object]) -> Lens.Asked:
    """The question for an index."""

    def check(words: str) -> str | None:
        try:
            parse_index(words, place)
        except SliceError as error:
            return str(error)
        return None

    def take(words: str) -> None:
        if words.strip():
            go(place.to(parse_index(words, place)))

    dims = len(place.shape)
    return Lens.Asked("go to index", "", check, take, ", ".join(["3", "17", "-1", *["0"] * dims][:dims]))
