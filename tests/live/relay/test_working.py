"""What a relay works out for a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tests.live.watching.test_watchpoints import until
from tui_params.core.health.sought import What
from tui_params.core.reading import worked_out
from tui_params.core.reading.sweep import measure_alone
from tui_params.core.tensor import TensorInfo
from tui_params.errors import SourceChangedError, StoppedError
from tui_params.live.relay import messages as m
from tui_params.live.relay import working
from tui_params.live.relay.turns import Turns
from tui_params.live.relay.working import Unwanted, seek, work_out, work_out_all


class ManyBlocks(MemorySource):
    """Calls ``at`` before each block, with its number."""

    at: Callable[[int], object] = print

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        if info.name == "gone":
            raise SourceChangedError("gone was replaced")
        for number, block in enumerate(super().blocks(info, start, stop)):
            self.at(number)
            yield block


def source_of() -> ManyBlocks:
    arrays: dict[str, NDArray[Any]] = {
        name: np.arange(70_000, dtype=np.float32).reshape(700, 100) + number
        for number, name in enumerate(("gone", "a", "b"))
    }
    return ManyBlocks(arrays, step=10_000)


def test_the_source_is_told_what_is_read_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    source, told = source_of(), list[list[str]]()

    def expecting(infos: Callable[[], Sequence[TensorInfo]]) -> AbstractContextManager[None]:
        told.append([info.name for info in infos()])
        return nullcontext()

    monkeypatch.setattr(source, "expecting", expecting)
    source.at = lambda number: None
    wanted = [m.Wanted(name, False) for name in ("a", "none", "b")]
    found = work_out_all(source, lambda each: source.find(each.name), wanted, Turns(), Unwanted(Event()), print)
    assert [worked.is_found for worked, _ in found] == [True, False, True]
    assert told == [["a", "b"]]


def test_each_tensor_has_its_own_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "TELL_SECONDS", 0.0)
    source, said = source_of(), list[m.Worked]()
    source.at = lambda number: None
    wanted = [m.Wanted(name, False) for name in ("gone", "a", "none", "b")]
    found = list(
        work_out_all(source, lambda each: source.find(each.name), wanted, Turns(), Unwanted(Event()), said.append)
    )
    assert [(worked.at, worked.error, worked.is_changed) for worked, _ in found] == [
        (0, "gone was replaced", True),
        (1, "", False),
        (2, "memory has no tensor 'none'", False),
        (3, "", False),
    ]
    for number, name in ((1, "a"), (3, "b")):
        arrived = worked_out.unpack(found[number][1], source.find(name), has_summary=False)
        own = measure_alone(source, source.find(name))
        assert (arrived.figures, arrived.channels) == (own.figures, own.channels)
    assert {worked.at for worked in said} == {1, 3}
    assert {worked.done for worked in said} == {*range(10_000, 70_001, 10_000)}


def test_what_somebody_looks_at_comes_between_two_blocks_of_a_sweep() -> None:
    source, turns, is_over = source_of(), Turns(), Event()
    looked: list[bytes] = []
    order: list[str] = []

    def look() -> None:
        packed = work_out(source, source.find("b"), turns, Unwanted(is_over), lambda done: None, has_summary=False)
        looked.append(packed)
        order.append("looked")

    thread = Thread(target=look)

    def at(number: int) -> None:
        order.append(str(number))
        if number == 2 and not thread.ident:
            thread.start()
            until(lambda: turns._urgent > 0)

    source.at = at
    swept = list(
        work_out_all(
            source, lambda each: source.find(each.name), [m.Wanted("a", False)], turns, Unwanted(is_over), print
        )
    )
    thread.join()
    assert len(looked) == len(swept) == 1
    blocks = [str(number) for number in range(7)]
    assert order == [*blocks[:3], *blocks, "looked", *blocks[3:]]


def test_a_sweep_that_nobody_wants_stops_at_the_next_block() -> None:
    source, turns, is_unwanted = source_of(), Turns(), Unwanted(Event())
    read: list[int] = []

    def at(number: int) -> None:
        read.append(number)
        if number == 2:
            is_unwanted.stop()

    source.at = at
    wanted = [m.Wanted("a", False), m.Wanted("b", False)]
    with pytest.raises(StoppedError):
        list(work_out_all(source, lambda each: source.find(each.name), wanted, turns, is_unwanted, print))
    assert read == [0, 1, 2]
    with turns.urgent(lambda: None):  # it has left its turn
        pass


def test_the_first_places_are_looked_for_until_nobody_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "TELL_SECONDS", 0.0)
    source, is_unwanted = source_of(), Unwanted(Event())
    said: list[int] = []
    source.at = lambda number: None
    at_last: list[tuple[What, float]] = [("at", 69_999.0), ("NaN", 0.0)]
    found = seek(source, source.find("a"), at_last, Turns(), is_unwanted, said.append)
    assert found == [[69_998], []]
    assert said == [0] * 7
    is_unwanted.stop()
    with pytest.raises(StoppedError):
        seek(source, source.find("a"), at_last, Turns(), is_unwanted, said.append)
