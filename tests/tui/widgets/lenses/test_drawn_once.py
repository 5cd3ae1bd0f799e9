"""What is drawn is what was wanted last, in whatever order answers come."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories_memory import MemorySource
from tests.factories_screen import on_stage, ramp
from tui_params.tui.desk.tensor_desk import Answer, TensorDesk
from tui_params.tui.screens.tensor.screen import TensorScreen
from tui_params.tui.widgets.lenses.drawn_once import DrawnOnce


class HeldDesk(TensorDesk):
    """A desk whose answers come when the test says so; a question that is taken back may still be answered."""

    def __init__(self) -> None:
        super().__init__(MemorySource({}), lambda message: None)
        self.asked: list[Hashable] = []

    def ask(self, slot: str, key: Hashable, work: Callable[..., object]) -> None:
        self.asked.append(key)

    def stop(self, slot: str) -> None:
        pass


@given(st.lists(st.one_of(st.sampled_from("abc"), st.just("answer"), st.just("drop")), max_size=20))
def test_what_is_here_in_the_end_is_what_was_wanted_last(steps: list[str]) -> None:
    desk = HeldDesk()
    drawing, shown, wanted = DrawnOnce(desk, "slot"), None, None
    for step in [*steps, "answer", "answer"]:
        if step == "drop":
            drawing.drop()
            shown = wanted = None
        elif step == "answer":
            for key in reversed(desk.asked):
                if drawing.take(Answer("slot", key, None, None, True)):
                    shown = key
        else:
            wanted = step
            drawing.want(step, lambda task: None)
    assert shown == wanted
    assert not drawing.is_asked


@pytest.mark.parametrize("lens", ["3", "4"])
async def test_going_to_the_next_layer_and_back_at_once_shows_this_one(lens: str) -> None:
    source = MemorySource({f"layers.{place}.w": ramp(12, 20 + 3 * place) + 1000 * place for place in range(2)})
    async with on_stage(source) as stage:
        await stage.go("layers.0.w")
        await stage.press("enter", lens)
        await stage.rest()
        before = stage.text
        screen = stage.app.screen
        assert isinstance(screen, TensorScreen)
        assert screen.lens is not None
        held: list[tuple[str, Hashable, Callable[..., object]]] = []
        ask, screen.lens.desk.ask = screen.lens.desk.ask, lambda *asked: held.append(asked)  # type: ignore[method-assign]
        await stage.send("right_square_bracket", "left_square_bracket")
        screen.lens.desk.ask = ask  # type: ignore[method-assign]
        for question in held:  # one slot has one question at a time
            ask(*question)
            await stage.turn()
        await stage.until(lambda: screen.is_settled, "the lens is settled")
        assert stage.text.splitlines()[3:-1] == before.splitlines()[3:-1]
