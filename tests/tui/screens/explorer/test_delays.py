"""Calls that wait: of several under one name only the last is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from textual.message_pump import MessagePump

from tui_params.tui.later import Later
from tui_params.tui.screens.explorer import delays
from tui_params.tui.screens.explorer.delays import Delays


class Clock:
    """Timers that ring when the test says so."""

    def __init__(self) -> None:
        self.timers: list[Ringer] = []

    def later(self, node: MessagePump, seconds: float, call: Callable[[], None]) -> Later:
        ringer = Ringer(seconds, call)
        self.timers.append(ringer)
        return cast(Later, ringer)

    def ring(self) -> None:
        due, self.timers = self.timers, []
        for ringer in due:
            if not ringer.is_stopped:
                ringer.call()


class Ringer:
    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self.seconds = seconds
        self.call = call
        self.is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(delays, "Later", clock.later)
    return clock


def test_of_several_calls_under_one_name_the_last_is_made(clock: Clock) -> None:
    made = list[str]()
    waiting = Delays(MessagePump())
    waiting.call("page", 0.1, lambda: made.append("first"))
    waiting.call("page", 0.2, lambda: made.append("second"))
    waiting.call("rows", 0.0, lambda: made.append("rows"))
    assert [ringer.seconds for ringer in clock.timers] == [0.1, 0.2, 0.0]
    assert waiting.is_waiting("page")
    assert not waiting.is_empty
    assert made == []
    clock.ring()
    assert made == ["second", "rows"]
    assert not waiting.is_waiting("page")
    assert waiting.is_empty


def test_a_call_may_ask_for_itself_again(clock: Clock) -> None:
    made = list[int]()
    waiting = Delays(MessagePump())

    def again() -> None:
        made.append(len(made))
        if len(made) < 3:
            waiting.call("again", 0.1, again)

    waiting.call("again", 0.1, again)
    for _ in range(5):
        clock.ring()
    assert made == [0, 1, 2]
    assert waiting.is_empty
