from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tests.factories_numbers import BytesSource
from tui_params.core.dtypes import from_torch
from tui_params.core.reading.ledger import Ledger
from tui_params.core.reading.outcome import Outcome
from tui_params.core.reading.tensor_reading import summarize
from tui_params.core.tensor import describe
from tui_params.errors import UnknownTensorError

UINT8 = from_torch("uint8")
assert UINT8 is not None
A = describe("a", (8,), UINT8)
TIED = msgspec.structs.replace(A, name="tied", tied_to="a")
SOURCE = BytesSource({A: np.arange(8, dtype=np.uint8), TIED: np.arange(8, dtype=np.uint8)})
FOUND = Outcome("a", summarize(SOURCE, A).figures(8), None, True)
FAILED = Outcome("a", None, "the file was truncated", True)


def never() -> bool:
    return False


def test_a_tensor_is_lent_until_its_outcome_arrives() -> None:
    ledger = Ledger(SOURCE, ())
    assert ledger.lend("a", never) is None
    assert ledger.is_lent("a")
    assert ledger.final("a") is None
    assert ledger.figures("a") is None
    assert ledger.take(FOUND)
    assert not ledger.is_lent("a")
    assert ledger.figures("a") == FOUND.figures
    assert ledger.lend("a", never) == FOUND
    assert not ledger.take(FAILED)
    assert ledger.final("a") == FOUND
    assert not ledger.has_failed("a")


def test_what_was_found_under_the_first_name_is_known_of_the_others() -> None:
    ledger = Ledger(SOURCE, ())
    ledger.take(FOUND)
    assert ledger.lend("tied", never) == Outcome("tied", FOUND.figures, None, True)
    assert not ledger.is_lent("tied")
    failed = Ledger(SOURCE, ())
    failed.take(FAILED)
    assert failed.has_failed("a")
    assert failed.lend("tied", never) is None  # another name may be readable


def test_whoever_should_stop_does_not_wait() -> None:
    ledger = Ledger(SOURCE, ())
    ledger.running = "a"
    asked: list[None] = []

    def at_the_third() -> bool:
        asked.append(None)
        return len(asked) > 2

    ledger.give_way(at_the_third)
    assert len(asked) == 3
    assert ledger.lend("tied", at_the_third) is None
    ledger.take_back()
    assert not ledger.is_lent("tied")


def test_a_name_that_the_source_does_not_have_is_not_lent() -> None:
    ledger = Ledger(SOURCE, ())
    with pytest.raises(UnknownTensorError):
        ledger.lend("b", never)
    assert not ledger.is_lent("b")


def test_only_an_outcome_that_is_awaited_wakes_the_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(SOURCE, {"a"})
    woken: list[None] = []
    monkeypatch.setattr(ledger.condition, "notify_all", lambda: woken.append(None))
    ledger.take(Outcome("tied", FOUND.figures, None, True))
    assert woken == []
    ledger.take(FOUND)
    ledger.take_back()
    assert len(woken) == 2
