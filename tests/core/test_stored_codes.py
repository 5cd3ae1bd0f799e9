"""Codes are told by names and types alone, before anything is read."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.core.packed.test_damaged import SEEDS
from tests.factories_memory import MemorySource
from tui_params.core.packed.recognition import find_packings
from tui_params.core.stored_codes import looks_packed, looks_scaled, may_be_packed, some_are_codes, some_are_scaled


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_the_codes_of_every_packing(number: int) -> None:
    tensors, config, metadata = SEEDS[number]
    said = {f"config.{key}.{name}": str(value) for key, part in config.items() for name, value in part.items()}
    source = MemorySource(tensors | {"norm.weight": np.ones(3, np.float32)}, metadata=metadata | said)
    assert may_be_packed(source.listing.tensors, {})
    codes = {weight.codes.name for weight in find_packings(source).weights} or {next(iter(tensors))}
    of_bytes = {name for name in codes if tensors[name].dtype in (np.int8, ml_dtypes.float8_e4m3fn)}
    # Those of int8 have as many elements as the weight.
    codes = {name for name in codes if tensors[name].dtype != np.int8}
    assert some_are_codes(source.listing.tensors, {}) == bool(codes)
    scaled = {info.name for info in source if looks_scaled(info, source.__contains__)}
    assert scaled == of_bytes
    assert some_are_scaled(source.listing.tensors) == bool(of_bytes)
    assert {info.name for info in source if looks_packed(info, {}, source.__contains__)} == codes
    assert ("stored elements" in repr(source), "parameters" in repr(source)) == (bool(codes), not codes)


def test_codes_as_floats_and_what_is_no_codes() -> None:
    as_floats: dict[str, Any] = {"f.weight": np.ones((8, 1), np.float16), "f.weight.absmax": np.ones(2, np.uint8)}
    assert some_are_codes(MemorySource(as_floats).listing.tensors, {})
    odd: tuple[dict[str, Any], ...] = (
        {"f.weight": np.ones((8, 8), np.float16), "f.weight_scale": np.ones(8, np.float32), "n": np.ones(1, np.int64)},
        {"f.weight": np.ones((8, 8), np.int8), "g.weight_scale": np.ones(8, np.float32)},
        {"num_blocks": np.ones(1, np.int64), "myqweight": np.ones(2, np.int32), "scales": np.ones(2, np.float32)},
    )
    for tensors in odd:
        source = MemorySource(tensors)
        assert not some_are_codes(source.listing.tensors, {})
        assert not some_are_scaled(source.listing.tensors)
        assert "stored elements" not in repr(source)


def test_a_graph_says_so() -> None:
    tensors = MemorySource({"w": np.ones((8, 8), np.int8), "x": np.ones(8, np.float32)}).listing.tensors
    assert some_are_codes(tensors, {"w"})
    # Restored already.
    assert not some_are_codes(tensors, {"x"})
