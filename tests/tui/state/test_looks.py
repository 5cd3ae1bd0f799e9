"""The looks at the models of this process: with what the present one is compared, and for how long they are kept."""

from __future__ import annotations

import numpy as np

from tests.factories_memory import MemorySource
from tui_params.core.compare.looks import Kept
from tui_params.tui.state.looks import Looks, LooksByModel


class Model:
    """Something that can be recognised again."""


def seen(looks: Looks) -> None:
    """Begin to look, and read one tensor."""
    info = MemorySource({"w": np.ones(2)}).find("w")
    looks.begin().kept["w"] = Kept(info)


def test_a_look_that_has_ended_is_compared_with_the_next_one() -> None:
    looks = Looks()
    seen(looks)
    assert (looks.before, looks.since) == (None, "")
    first = looks.present
    looks.end()
    seen(looks)
    assert looks.before is first is not None
    assert looks.since == f"since {first.at}"


def test_a_look_in_which_nothing_was_read_changes_nothing() -> None:
    looks = Looks()
    seen(looks)
    looks.end()
    first = looks.last
    looks.begin()
    looks.end()
    assert looks.last is first
    looks.end()
    assert looks.last is first


def test_a_pin_stays_until_it_is_taken_away() -> None:
    looks = Looks()
    seen(looks)
    assert looks.toggle_pin()
    pin = looks.pin
    for _ in range(2):
        looks.end()
        seen(looks)
        assert looks.before is pin is not None
        assert looks.since == f"since the pin, {pin.at}"
    assert looks.toggle_pin()  # another pin
    assert looks.before is looks.present
    assert not looks.toggle_pin()
    assert looks.before is looks.last is not pin


def test_looks_are_kept_as_long_as_the_model_lives() -> None:
    kept, model = LooksByModel(), Model()
    looks = kept.of(model)
    assert looks is not None
    assert kept.of(model) is looks
    assert kept.of(Model()) is not looks
    del model
    assert len(kept._of_models) == 0
    assert kept.of({}) is None
