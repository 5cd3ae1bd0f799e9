"""Keys that arrive together, as they do over SSH, do what they do one by one."""

from __future__ import annotations

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.message import Message
from textual.widget import Widget

from tests.factories_screen import Stage, _character, on_stage
from tui_params.tui.screens.explorer.screen import ExplorerScreen
from tui_params.tui.screens.help import HelpScreen
from tui_params.tui.screens.sort import SortScreen


async def burst(stage: Stage, *keys: str) -> None:
    """Send keys at once, as one write to the terminal does; then wait until all of them are done."""
    driver = stage.app._driver
    assert driver is not None
    for key in keys:
        event = events.Key(key, _character(key))
        event.set_sender(stage.app)
        driver.send_message(event)
    await stage.until(lambda: not stage.app.is_holding_keys, "all keys done")
    await stage.rest()


def typed(text: str) -> list[str]:
    return [_character_to_key(character) for character in text]


async def test_a_search_may_be_typed_in_one_go() -> None:
    async with on_stage() as stage:
        await burst(stage, *typed("/q_proj"))
        assert stage.app.is_running
        assert stage.screen.search.text == "q_proj"
    async with on_stage() as stage:
        await burst(stage, *typed("/attn"), "enter", "down")
        assert stage.screen.search.text == "attn"
        assert stage.cursor == "layers.0.attn.bias"


async def test_a_slice_may_be_typed_in_one_go() -> None:
    async with on_stage() as stage:
        await stage.go("embed.weight")
        await burst(stage, *typed("v7,q"))
        assert stage.app.is_running


@pytest.mark.parametrize("letters", ["oa", "oA", "os"])
async def test_the_letter_of_a_sort_may_follow_at_once(letters: str) -> None:
    async with on_stage() as stage:
        await burst(stage, *letters)
        assert isinstance(stage.app.screen, ExplorerScreen)
        await stage.until(lambda: "sorted by" in stage.text, "sorted, on another thread")


async def test_a_second_letter_goes_to_the_screen_below() -> None:
    async with on_stage() as stage:
        await burst(stage, *"oss")
        assert isinstance(stage.app.screen, ExplorerScreen)
        await burst(stage, "o")
        assert isinstance(stage.app.screen, SortScreen)
        await burst(stage, "escape", "question_mark", "escape", "question_mark")
        assert isinstance(stage.app.screen, HelpScreen)
        await burst(stage, *"qq")
        await stage.until(lambda: not stage.app.is_running, "both keys close something")


async def test_many_moves_are_all_made() -> None:
    async with on_stage() as stage:
        await burst(stage, "E", "home", *["down"] * 7, *["up"] * 2)
        assert stage.screen.tree_view.rows is not None
        assert stage.cursor == stage.names[5]


async def test_a_mark_that_is_lost_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from tui_params.tui.terminal import key_order

    monkeypatch.setattr(key_order, "PATIENCE", 0.05)
    monkeypatch.setattr(key_order, "LOOK_SECONDS", 0.01)
    async with on_stage() as stage:
        losses = iter([True, True])
        real = Widget.post_message

        def lossy(self: Widget, message: Message) -> bool:
            if isinstance(message, key_order.Mark) and next(losses, False):
                return True
            return real(self, message)

        monkeypatch.setattr(Widget, "post_message", lossy)
        await burst(stage, "E", "home", "down", "down")
        assert stage.cursor == stage.names[2]
        assert next(losses, None) is None
