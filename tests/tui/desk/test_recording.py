"""What is recorded for the next look: everything once, within the room, and nothing after it was stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from textual.message import Message

from tests.factories_memory import MemorySource
from tests.factories_screen import GatedSource, eventually
from tui_params.core.compare import looks as core_looks
from tui_params.core.compare.looks import Look
from tui_params.tui.desk.messages import Compared
from tui_params.tui.desk.recording import Recording


def record(
    source: MemorySource,
    before: Look | None = None,
    others: tuple[Look, ...] = (),
    *,
    keeps: bool = False,
    **options: Any,
) -> tuple[Look, list[Compared]]:
    """A look at everything in a source, and what was said of it."""
    told: list[Message] = []
    look = Look("14:02:11")
    Recording(
        source, 1, look, before, others, keeps_values=keeps, figures=lambda name: None, post=told.append, **options
    ).run()
    return look, [message for message in told if isinstance(message, Compared)]


def arrays(step: float = 0.0) -> dict[str, Any]:
    return {f"w{place}": np.full(8, place + 1 + step, np.float32) for place in range(4)}


def test_everything_is_recorded_what_is_on_screen_first() -> None:
    source = MemorySource(arrays())
    look, told = record(source, first=("w2", "gone"))
    assert list(look.kept) == ["w2", "w0", "w1", "w3"]
    assert look.is_whole
    assert [message.is_last for message in told] == [True]
    assert not told[0].changes


def test_changes_and_what_is_gone_are_told() -> None:
    before, _ = record(MemorySource(arrays()))
    later = {**arrays(0.5), "w1": arrays()["w1"], "new": np.ones(1)}
    del later["w3"]
    _, told = record(MemorySource(later), before)
    changes = {name: change.state for message in told for name, change in message.changes.items()}
    assert changes == {"w0": "moved", "w1": "same", "w2": "moved", "new": "new"}
    assert told[-1].is_last
    assert told[-1].gone == ("w3",)


def test_tied_tensors_are_read_once() -> None:
    source = MemorySource({"a": np.ones(4), "b": np.ones(4)}, tied_to={"b": "a"})
    look, _ = record(source)
    assert look.kept["b"] is look.kept["a"]


def test_values_stay_within_the_room_and_take_over_what_was_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_looks, "MOST_KEPT", 64)
    first, _ = record(MemorySource(arrays()), keeps=True)
    assert first.nbytes == 64
    assert first.left_out == 2
    second, told = record(MemorySource(arrays(0.5)), first, keeps=True)
    changes = {name: change for message in told for name, change in message.changes.items()}
    assert [changes[f"w{place}"].relative is not None for place in range(4)] == [True, True, False, False]
    assert core_looks.held_by([first, second]) == 64
    assert second.nbytes == 64
    third, told = record(MemorySource(arrays(1.0)), second, (second,), keeps=True)
    assert core_looks.held_by([second, third]) == 64
    assert second.nbytes == 64  # a pin is not taken over
    assert third.nbytes == 0


def test_without_keep_no_value_is_held() -> None:
    first, _ = record(MemorySource(arrays()), keeps=True)
    second, _ = record(MemorySource(arrays(0.5)), first)
    assert second.nbytes == 0


async def test_what_is_stopped_keeps_nothing_of_the_tensor_that_was_being_read() -> None:
    source = GatedSource(arrays(), ("w1",))
    look, told = Look("14:02:11"), list[Message]()
    recording = Recording(source, 1, look, None, (), keeps_values=False, figures=lambda name: None, post=told.append)
    recording.start()
    await eventually(source.started["w1"].is_set, "it reads")
    recording.stop()
    source.broken["w1"] = "this source was closed"
    source.open_gates()
    await eventually(lambda: not any(thread.name == "record" for thread in _threads()), "the end of the thread")
    assert list(look.kept) == ["w0"]
    assert not look.is_whole
    assert not told


def _threads() -> list[Any]:
    import threading

    return threading.enumerate()


def test_a_deadline_ends_it_and_it_goes_on_later() -> None:
    source, look = MemorySource(arrays()), Look("14:02:11")

    def recording() -> Recording:
        return Recording(source, 1, look, None, (), keeps_values=False, figures=lambda name: None)

    recording().run(seconds=-1.0)
    assert not look.kept
    assert not look.is_whole
    recording().run()
    assert look.is_whole
