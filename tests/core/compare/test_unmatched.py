"""A comparison in which nothing was compared is never "same", and says why."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from tests.factories_memory import MemorySource
from tui_params.api.comparing import compare


def source(shapes: Mapping[str, tuple[int, ...]]) -> MemorySource:
    return MemorySource({name: np.ones(shape, np.float32) for name, shape in shapes.items()})


LAYERS = {f"layers.{i}.fc.weight": (4, i + 2) for i in range(6)}
NO_NAME = "no name is common"


@pytest.mark.parametrize(
    ("a", "b", "state", "reason"),
    [
        ({}, {}, "uncompared", "neither has a tensor"),
        (LAYERS, {}, "different", "B has no tensors"),
        ({}, LAYERS, "different", "A has no tensors"),
        ({"w": (0, 3)}, {"w": (0, 3)}, "uncompared", "the one common tensor has no element"),
        ({"v": (0,), "w": (2, 0)}, {"v": (0,), "w": (2, 0)}, "uncompared", "all 2 common tensors have no element"),
        ({"v": (0,), "w": (2,)}, {"v": (0,), "w": (2,)}, "same", None),
        ({"w": (0,)}, {"w": (3,)}, "different", None),
        (
            {f"layers.{i}.wq": (4, i + 2) for i in range(6)},
            {f"blk.{i}.q": (4, i + 2) for i in range(7)},
            "different",
            f"{NO_NAME}, but 6 of 6 tensors of A have the shape of one on the other side: perhaps one model under two "
            "ways of naming",
        ),
        (LAYERS, {"a": (7,), "b": (9,)}, "different", f"{NO_NAME}, and 0 of 2 shapes: these look like two models"),
        (LAYERS, {"a": (7,), "b": (4, 2)}, "different", f"{NO_NAME}; 1 of 2 shapes is"),
        (
            {f"module.{name}": shape for name, shape in LAYERS.items()},
            LAYERS,
            "different",
            f"{NO_NAME}; with the renames below 6 names would match",
        ),
        (
            {f"x.{i}.lora_A.weight": (2, 4) for i in range(3)},
            LAYERS,
            "different",
            f"{NO_NAME}: A holds an adapter, B weights; how far it moves them is told separately",
        ),
        (
            LAYERS,
            {f"state.{i}.exp_avg": (4, i + 2) for i in range(6)},
            "different",
            f"{NO_NAME}: A holds weights, B optimizer states",
        ),
    ],
)
def test_the_state_and_the_reason(
    a: dict[str, tuple[int, ...]], b: dict[str, tuple[int, ...]], state: str, reason: str | None
) -> None:
    found = compare(source(a), source(b))
    assert (found.state, found.reason) == (state, reason)


def test_empty_tensors_are_equal_and_named() -> None:
    a = MemorySource({"empty": np.zeros((0, 3), np.float32), "w": np.ones(2), "none": np.zeros(0)})
    assert compare(a, a).empty == ("empty", "none")
    b = MemorySource({"empty": np.zeros((0, 3), np.float64), "w": np.ones(2), "none": np.zeros(0)})
    found = compare(a, b, ignore_dtype=True)
    assert (found.state, found.empty) == ("same", ("none", "empty"))


def test_what_could_not_be_read_has_its_own_reason() -> None:
    a = MemorySource({"w": np.ones(3)}, unreadable={"w": "no bytes"})
    found = compare(a, a)
    assert (found.state, found.reason, len(found.uncompared)) == ("uncompared", None, 1)
