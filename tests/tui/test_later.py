"""Calls that are made later: each comes, whatever the clock does meanwhile, and none after it was stopped."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from textual import _time
from textual.app import App
from textual.screen import Screen

from tests.factories_screen import eventually
from tui_params.tui.later import Later
from tui_params.tui.screens.explorer.delays import Delays


async def test_a_call_comes_although_the_processor_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    app, made = App[None](), list[str]()
    async with app.run_test():
        # A second passes from each reading of the clock to the next.
        clock = count()
        monkeypatch.setattr(_time, "get_time", lambda: float(next(clock)))
        app.set_timer(0.001, lambda: made.append("textual"))
        Later(app, 0.001, lambda: made.append("first"))
        Later(app, 0.01, lambda: made.append("second"))
        await eventually(lambda: "second" in made, "the calls are made")
    assert made == ["first", "second"]  # Textual has forgotten its own, which is why there is Later


async def test_a_call_that_is_stopped_is_not_made() -> None:
    app, made = App[None](), list[str]()
    async with app.run_test():
        stopped = Later(app, 0.001, lambda: made.append("stopped"))
        Later(app, 0.002, lambda: made.append("made"))
        stopped.stop()
        await eventually(lambda: bool(made), "the other call is made")
        stopped.stop()
        assert made == ["made"]


async def test_a_call_that_is_stopped_when_it_is_on_its_way_is_not_made() -> None:
    made = list[str]()

    class Waiting(App[None]):
        async def on_mount(self) -> None:
            delays = Delays(self)
            delays.call("what", 0.0, lambda: made.append("first"))
            # It is made when this message has been handled.
            await eventually(lambda: bool(self._next_callbacks), "the call is on its way")
            delays.call("what", 0.0, lambda: made.append("second"))
            assert delays.is_waiting("what")

    app = Waiting()
    async with app.run_test():
        await eventually(lambda: bool(made), "a call is made")
        Later(app, 0.01, lambda: made.append("end"))
        await eventually(lambda: "end" in made, "the last call is made")
    assert made == ["second", "end"]


async def test_a_call_that_is_due_when_a_screen_goes_is_not_made() -> None:
    made = list[str]()

    class Leaving(Screen[None]):
        async def on_unmount(self) -> None:
            Later(self, 0.0, lambda: made.append("what is inside is gone already"))
            await asyncio.sleep(0.01)

    app = App[None]()
    async with app.run_test():
        await app.push_screen(Leaving())
        await app.pop_screen()
        Later(app, 0.02, lambda: made.append("of the app"))
        await eventually(lambda: bool(made), "the call of the app is made")
        assert made == ["of the app"]


async def test_a_call_for_what_was_closed_is_not_made() -> None:
    closed, app, made = App[None](), App[None](), list[str]()
    async with closed.run_test():
        Later(closed, 0.05, lambda: made.append("closed"))
    async with app.run_test():
        Later(app, 0.1, lambda: made.append("open"))
        await eventually(lambda: bool(made), "the call for what is open is made")
        assert made == ["open"]
