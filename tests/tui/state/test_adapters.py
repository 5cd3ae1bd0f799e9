"""The adapters of a source and their changes as the page of a module asks for them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from tests.factories_memory import MemorySource
from tui_params.core.adapters.change import Change
from tui_params.core.health.adapters import Adapter, adapters_of
from tui_params.tui.state.adapters import Adapters


def adapters(count: int) -> tuple[Adapter, ...]:
    shapes = {"lora_A": (2, 4), "lora_B": (4, 2)}
    names = [f"layers.{n}.{half}.weight" for n in range(count) for half in shapes]
    return adapters_of(MemorySource({name: np.ones(shapes[name.split(".")[2]], np.float32) for name in names}))


class Asked:
    def __init__(self) -> None:
        self.whole = 0
        self.changes: list[tuple[str, list[str]]] = []
        self.state = Adapters(self.ask, self.ask_for_changes)

    def ask(self) -> None:
        self.whole += 1

    def ask_for_changes(self, path: str, adapters: Sequence[Adapter]) -> None:
        self.changes.append((path, [adapter.module for adapter in adapters]))


def test_changes_are_asked_for_once_for_the_module_that_is_looked_at() -> None:
    asked = Asked()
    state = asked.state
    assert (state.lines_below("layers"), state.changes_below("layers")) == ((), ())
    assert (asked.whole, asked.changes, state.is_settled) == (1, [], False)
    state.take(adapters(3))
    assert state.is_settled
    assert state.changes_below("layers.1") == ("norm of the change: being computed",)
    state.changes_below("layers.1")
    assert asked.changes == [("layers.1", ["layers.1"])]
    assert not state.is_settled
    state.take_changes("layers.1", (Change("lora_A", norm=2.5),))
    assert state.is_settled
    assert state.changes_below("layers.1") == ("lora_A", "norm of the change 2.5")


def test_an_answer_for_another_module_is_not_shown_here_and_a_lost_question_is_asked_again() -> None:
    asked = Asked()
    state = asked.state
    state.lines_below("layers")
    state.take(adapters(3))
    for path in ("layers.0", "layers.1"):
        state.changes_below(path)
    state.take_changes("layers.1", (Change("", norm=1.5),))
    assert state.changes_below("layers.0") == ("norm of the change: being computed",)
    assert [path for path, _ in asked.changes] == ["layers.0", "layers.1", "layers.0"]
    assert state.changes_below("layers.1") == ("norm of the change 1.5",)


def test_several_adapters_are_told_by_module_and_name() -> None:
    asked = Asked()
    state = asked.state
    state.lines_below("layers")
    found = adapters(2)
    state.take((found[0], msgspec.structs.replace(found[1], name="other")))
    state.take_changes(
        "layers", (Change("a", norm=1.0, model="org/x"), Change("b", reason="it is gone", model="org/x"))
    )
    assert state.changes_below("layers") == (
        "0: change 1",
        "1 other: change not known",
        "for org/x",
    )


def test_of_many_adapters_no_change_is_computed() -> None:
    asked = Asked()
    asked.state.lines_below("layers")
    asked.state.take(adapters(9))
    assert asked.state.changes_below("layers") == ()
    assert asked.state.changes_below("elsewhere") == ()
    assert asked.changes == []
