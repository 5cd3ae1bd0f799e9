"""Zero points of another convention than the others'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check


def told(arrays: Mapping[str, Any]) -> list[Finding]:
    return [f for f in check(MemorySource(dict(arrays))).findings if f.rule == "zero-points-of-kind"]


def words(word: int, *shape: int) -> NDArray[Any]:
    return np.full(shape, word, np.uint32).view(np.int32)


def layer(at: int, zero: int = 0x77777777) -> dict[str, Any]:
    rng = np.random.default_rng(at)
    prefix = f"model.layers.{at}.mlp.down_proj"
    return {
        f"{prefix}.qweight": rng.integers(-(2**31), 2**31, (8, 16)).astype(np.int32),
        f"{prefix}.qzeros": words(zero, 2, 2),
        f"{prefix}.scales": rng.random((2, 16)).astype(np.float16) + np.float16(0.1),
    }


def layers(count: int = 6, zero: int = 0x77777777) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for at in range(count):
        found |= layer(at, zero)
    return found


@pytest.mark.parametrize(
    ("usual", "odd", "names"),
    [
        (0x77777777, 0x88888888, ("8", "7")),
        (0x88888888, 0x77777777, ("7", "8")),
        (0x7F7F7F7F, 0x80808080, ("128", "127")),
    ],
)
@pytest.mark.parametrize("count", [4, 12])
def test_zero_points_of_another_convention_are_a_warning(
    usual: int, odd: int, names: tuple[str, str], count: int
) -> None:
    arrays = layers(count, usual)
    assert told(arrays) == []
    arrays |= layer(2, odd)
    (finding,) = told(arrays)
    assert (finding.severity, finding.tensor) == ("warning", "model.layers.2.mlp.down_proj.qzeros")
    assert finding.evidence == (
        f"its zero points are packed as {names[0]}, but as {names[1]} in {count - 1} of {count} layers: "
        "if these are read right, its weights are off by one step"
    )


def test_layers_of_both_kinds_and_of_other_zero_points_are_normal() -> None:
    half = layers(3, 0x77777777) | {name: t for at in range(3, 6) for name, t in layer(at, 0x88888888).items()}
    assert told(half) == []
    assert told(layers(6) | layer(1, 0x66666666)) == []
    assert told(layers(6, 0x77777777) | layer(1, 0x7F7F7F7F)) == []
    assert told(layers(2) | layer(1, 0x88888888)) == []
