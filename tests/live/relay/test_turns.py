"""Who of the threads of a relay works."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from tests.live.watching.test_watchpoints import until
from tui_params.errors import StoppedError
from tui_params.live.relay.turns import Turns


def test_a_sweep_lets_others_come_between() -> None:
    turns, told = Turns(), list[str]()
    is_asked, is_done = Event(), Event()

    def look() -> None:
        is_asked.set()
        with turns.urgent(lambda: told.append("waits")):
            told.append("urgent")
        is_done.set()

    with turns.patient(lambda: None) as give_way:
        give_way()  # nobody waits
        thread = Thread(target=look)
        thread.start()
        is_asked.wait()
        until(lambda: "waits" in told)
        assert "urgent" not in told
        give_way()
        assert "urgent" in told
    is_done.wait()
    thread.join()
    with turns.urgent(lambda: None):
        pass


def test_whoever_gives_up_leaves_the_turn_to_others() -> None:
    turns, waited = Turns(), list[int]()

    def give_up() -> None:
        waited.append(0)
        if len(waited) == 3:
            raise StoppedError("it is not wanted any more")

    with turns.urgent(lambda: None):
        with pytest.raises(StoppedError), turns.patient(give_up):
            raise AssertionError("it has no turn")
        waited.clear()
        with pytest.raises(StoppedError), turns.urgent(give_up):
            raise AssertionError("it has no turn")
    with turns.patient(lambda: None) as give_way:
        give_way()  # the urgent one that gave up is not waited for
    # One that gives up while it lets others come between has no turn to leave.
    waited.clear()
    is_working, may_end = Event(), Event()

    def work() -> None:
        with turns.urgent(lambda: None):
            is_working.set()
            may_end.wait()

    thread = Thread(target=work)

    def sweep() -> None:
        with turns.patient(give_up) as give_way:
            thread.start()
            until(lambda: turns._urgent > 0)
            give_way()

    with pytest.raises(StoppedError):
        sweep()
    is_working.wait()
    assert turns._is_taken
    may_end.set()
    thread.join()
    assert not turns._is_taken
