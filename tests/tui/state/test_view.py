"""Where the explorer goes on: after R, and when explore() is called again on the same model."""

from __future__ import annotations

from tests.factories_memory import MemorySource
from tests.factories_screen import Stage, on_stage, ramp
from tui_params.tui.state.sorting import SortChoice
from tui_params.tui.state.view import View, Views


def walk(stage: Stage) -> tuple[object, ...]:
    """What a user sees of where they are."""
    choice = stage.screen.order.choice
    return stage.cursor, tuple(stage.names), stage.screen.search.text, choice.name, choice.is_reversed


async def test_the_explorer_opens_where_it_was_left() -> None:
    arrays = {f"layers.{place}.{part}": ramp(3 + place) for place in range(30) for part in ("a", "b")}
    async with on_stage(MemorySource(arrays), (80, 24)) as stage:
        await stage.press("C")
        await stage.go("layers.7.b")
        await stage.press("slash", *".b", "enter")
        await stage.press("o", "p")
        await stage.until(lambda: "numel▾" in stage.lines[2], "sorted")
        await stage.go("layers.9.b")
        left, before = stage.app.view, walk(stage)
    async with on_stage(MemorySource(arrays), (80, 24), left=left) as stage:
        await stage.until(lambda: walk(stage) == before, "as before")
        await stage.press("escape")
        assert stage.cursor == "layers.9.b"


async def test_what_is_gone_is_no_place_to_go_on() -> None:
    left = View("gone.w", frozenset({"gone", "m"}), "", SortChoice("std", is_reversed=True))
    async with on_stage(MemorySource({"m.a": ramp(3), "m.b": ramp(2)}), left=left) as stage:
        await stage.rest()
        assert stage.names == ["m", "m.a", "m.b"] or stage.names == ["m", "m.b", "m.a"]
        assert stage.cursor in stage.names


async def test_opening_again_keeps_openings_filter_and_order() -> None:
    arrays = {f"layers.{place}.{part}": ramp(3 + place) for place in range(30) for part in ("a", "b")}
    async with on_stage(lambda: MemorySource(arrays), (80, 24)) as stage:
        await stage.press("C")
        await stage.go("layers.7.b")
        await stage.press("o", "b")
        await stage.until(lambda: "bytes▾" in stage.lines[2], "sorted")
        await stage.rest()
        before = walk(stage)
        await stage.press("R")
        await stage.until(lambda: stage.screen.session.generation == 2, "opened again")
        await stage.until(lambda: walk(stage) == before, "as before")


def test_views_are_kept_as_long_as_the_model_lives() -> None:
    import torch

    views, model = Views(), torch.nn.Linear(2, 2)
    assert views.find(model) is None
    views.keep(model, View("weight"))
    assert views.find(model) == View("weight")
    assert views.find(torch.nn.Linear(2, 2)) is None
    for odd in ({"a": 1}, [1], 3):
        views.keep(odd, View("a"))
        assert views.find({"a": 1}) is None
    views.keep("x.pt", View("w"))
    assert views.find("x.pt") == View("w")
    del model
    assert len(views._of_objects) <= 1
