"""One axis for the sparklines of a module: it holds all of them, and grows with what is read."""

from __future__ import annotations

import numpy as np

from tests.factories_memory import MemorySource
from tui_params.core.figures import Figures
from tui_params.tui.state.shared_axis import SharedAxis


def test_the_axis_holds_what_was_read_and_grows() -> None:
    arrays = {"a": np.linspace(-1, 1, 50), "b": np.linspace(0, 5, 50), "c": np.full(3, np.nan), "d": np.arange(99.0)}
    source = MemorySource(arrays)
    known: dict[str, Figures] = {}

    def read(name: str) -> Figures:
        known[name] = source.summarize(name).figures(arrays[name].size)
        return known[name]

    axis = SharedAxis("m", ("a", "b", "c"), known.get)
    assert axis.range is axis.of("a") is None
    a = read("a")
    assert axis.take(["a", "d"])
    assert axis.range == axis.of("b") == (a.spark_low, a.spark_high)
    b = read("b")
    assert axis.take(["b"])
    assert axis.range == (a.spark_low, b.spark_high)
    read("c")
    read("d")
    assert not axis.take(["c", "d", "b"])
    assert axis.of("d") is None
