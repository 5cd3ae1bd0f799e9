from __future__ import annotations

from pathlib import Path

import pytest

from tui_params.core.dtypes import from_safetensors
from tui_params.core.source import Traffic
from tui_params.core.tensor import TensorInfo, describe
from tui_params.tui.desk import fetching
from tui_params.tui.desk.fetching import Fetching
from tui_params.tui.state.transfer_words import Amount, question

F32 = from_safetensors("F32")


class Line:
    address = "hf://acme/model"
    traffic = Traffic(0, 0)

    def lacking(self, path: Path, begin: int, end: int) -> int:
        return end - begin


def infos(count: int) -> list[TensorInfo]:
    assert F32 is not None
    return [describe(f"layers.{index}.weight", (10,), F32) for index in range(count)]


def test_of_many_tensors_only_the_first_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MOST_COUNTED", 3)
    looked: list[str] = []

    def cost(info: TensorInfo) -> int:
        looked.append(info.name)
        return 1

    known = Fetching(Line(), cost, 100)
    assert known.total(infos(3)) == Amount(3)
    assert known.total(infos(5)) == Amount(3 + 2 * 40, is_most=True)
    assert len(looked) == 6
    assert Fetching(None, cost, 100).total(infos(5)) == Amount(0)


def test_a_question_says_that_it_may_be_less() -> None:
    asked = question("S", "reads", Amount(83_000_000, is_most=True), Line.address, "esc", 100)
    assert asked == "S reads up to 79.2 MiB from hf://acme/model: S again to start, esc to leave it"
    assert question("S", "reads", Amount(1), Line.address, "esc", 50).startswith("S reads 1 B over the line: S again")


def test_statistics_that_are_worked_out_elsewhere_cost_nothing() -> None:
    info, other = infos(2)
    fetching = Fetching(Line(), lambda info: info.nbytes, 10, lambda info: info.name == "layers.0.weight")
    assert (fetching.figures_toll(info), fetching.figures_words(info, "f")) == (0, "")
    assert fetching.toll(info) == info.nbytes
    assert fetching.figures_toll(other) == other.nbytes
    assert fetching.figures_words(other, "f").endswith("press f to fetch it")
    assert fetching.figures_total([info, other]).nbytes == other.nbytes
    assert fetching.total([info, other]).nbytes == info.nbytes + other.nbytes
