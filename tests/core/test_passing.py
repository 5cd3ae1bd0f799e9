"""Sources over others pass on what will be read whole, and where values are looked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_elsewhere import ElsewhereSource
from tui_params.core.compare.both import BothSources
from tui_params.core.health.checksums import WatchedSource
from tui_params.core.health.digests import HashedSource
from tui_params.core.health.places import first_places
from tui_params.core.health.sought import NAN, ZERO
from tui_params.core.packed.logical import LogicalSource
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo

ARRAYS: dict[str, NDArray[Any]] = {"a": np.ones(3, np.float32), "b": np.array([1, 1, 1, np.nan], np.float32)}


@pytest.mark.parametrize("over", [lambda source: WatchedSource(source, ()), HashedSource, LogicalSource])
def test_what_lies_over_one_source(over: Callable[[Source], Source]) -> None:
    source = ElsewhereSource(ARRAYS, worth=1)
    whole = over(source)
    with whole.expecting(lambda: list(whole)):
        assert source.expected == [["a", "b"]]
    assert first_places(whole, whole.find("b"), [NAN, ZERO]) == {NAN: ((3,),), ZERO: ()}
    assert (source.sought, source.fetched) == (["b"], [])


def test_packed_weights_are_not_read_as_they_are_listed() -> None:
    packed: dict[str, NDArray[Any]] = {
        "fc.weight.qdata": np.ones((48, 64), np.int8),
        "fc.weight.scale": np.ones((48, 2), np.float16),
        "b": np.ones(4, np.float32),
    }
    of_torchao = "a torchao.quantization.IntxUnpackedToInt8Tensor of shape [48, 64], torch.bfloat16"
    source = ElsewhereSource(packed, metadata={"fc.weight": of_torchao, "fc.weight.block_size": "[1, 32]"})
    logical = LogicalSource(source)
    assert [weight.name for weight in logical.packings.weights] == ["fc.weight"]
    with logical.expecting(lambda: list(logical)):
        assert source.expected == [["b"]]
    assert first_places(logical, logical.find("fc.weight"), [NAN]) == {NAN: ()}
    assert source.sought == []  # the codes are not the values


def test_two_sources_are_each_told_of_their_own() -> None:
    a, b = ElsewhereSource(ARRAYS, worth=1), ElsewhereSource({"b": ARRAYS["b"], "c": ARRAYS["b"][:, None]}, worth=1)
    both = BothSources(a, b)

    def infos() -> Sequence[TensorInfo]:
        return both.listing.tensors

    with both.expecting(infos):
        assert (a.expected, b.expected) == ([["a", "b"]], [["c"]])
    for name, place in (("b", (3,)), ("c", (3, 0))):
        assert first_places(both, both.find(name), [NAN]) == {NAN: (place,)}
    assert (a.sought, b.sought) == (["b"], ["c"])
