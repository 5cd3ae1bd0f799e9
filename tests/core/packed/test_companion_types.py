"""Companions of another type than their library writes: the weight is not told, and nothing else than that happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.factories_memory import MemorySource
from tui_params.core.packed.logical import LogicalSource

TYPES: dict[str, Any] = {
    "u1": np.uint8, "i1": np.int8, "u2": np.uint16, "i4": np.int32, "i8": np.int64, "f2": np.float16, "f4": np.float32,
    "f8": np.float64, "c8": np.complex64, "bool": np.bool_, "bf": ml_dtypes.bfloat16, "e4": ml_dtypes.float8_e4m3fn,
    "e8": ml_dtypes.float8_e8m0fnu,
}  # fmt: skip
FLOATS = {"f2", "f4", "f8", "bf"}
STATE = b'{"quant_type":"nf4","blocksize":64,"dtype":"float16","shape":[2,64]}'


def words(*shape: int, dtype: str = "u1") -> Any:
    return np.full(shape, 7, np.uint8).view(dtype)


FP8 = np.ones((8, 32), ml_dtypes.float8_e4m3fn)
STATED = {"f.weight.quant_state.bitsandbytes__nf4": np.frombuffer(STATE, np.uint8)}
SIZES = {"f.weight_shape": np.array([8, 128])}

CASES: dict[str, tuple[Callable[[Any], dict[str, Any]], set[str]]] = {
    "mxfp4": (lambda t: {"f.weight_packed": words(8, 64), "f.weight_scale": np.ones((8, 4), t)}, {"u1", "e8"}),
    "nvfp4": (
        lambda t: {"f.weight_packed": words(8, 64), "f.weight_scale": np.ones((8, 8), t),
                   "f.weight_global_scale": np.ones(1, "f4")},
        {"e4"},
    ),
    "nvfp4 of all": (
        lambda t: {"f.weight_packed": words(8, 64), "f.weight_scale": np.ones((8, 8), TYPES["e4"]),
                   "f.weight_global_scale": np.ones(1, t)},
        FLOATS,
    ),
    "gpt-oss": (lambda t: {"e.x_blocks": words(2, 8, 4, 16), "e.x_scales": np.ones((2, 8, 4), t)}, {"u1", "e8"}),
    "DeepSeek": (lambda t: {"f.weight": FP8, "f.weight_scale_inv": np.ones((1, 1), t)}, {"u1", "e8", *FLOATS}),
    "fp8": (lambda t: {"f.weight": FP8, "f.weight_scale": np.ones((8, 1), t)}, {"u1", "e8", *FLOATS}),
    "modelopt": (
        lambda t: {"f.weight": words(8, 64), "f.weight_scale": np.ones((8, 8), TYPES["e4"]),
                   "f.weight_scale_2": np.ones(1, t)},
        FLOATS,
    ),
    "modelopt AWQ": (
        lambda t: {"f.weight": words(8, 64), "f.weight_scale": np.ones((16, 2), "f4"),
                   "f.pre_quant_scale": np.ones(64, t)},
        FLOATS,
    ),
    "int8": (lambda t: {"f.weight": words(8, 64, dtype="i1"), "f.SCB": np.ones(8, t)}, FLOATS),
    "nf4": (lambda t: {"f.weight": words(64, 1), "f.weight.absmax": np.ones(2, t),
                       "f.weight.quant_map": np.ones(16, "f4"), **STATED}, FLOATS),
    "nf4 map": (lambda t: {"f.weight": words(64, 1), "f.weight.absmax": np.ones(2, "f4"),
                           "f.weight.quant_map": np.ones(16, t), **STATED}, FLOATS),
    "int4 in words": (
        lambda t: {"f.weight_packed": words(8, 64, dtype="i4"), "f.weight_scale": np.ones((8, 2), t), **SIZES},
        FLOATS,
    ),
    "zero points in words": (
        lambda t: {"f.weight_packed": words(8, 64, dtype="i4"), "f.weight_scale": np.ones((8, 2), "f4"), **SIZES,
                   "f.weight_zero_point": np.ones((1, 2), t)},
        {"i4"},
    ),
    "order of GPTQ": (
        lambda t: {"f.qweight": words(4, 64, dtype="i4"), "f.qzeros": words(1, 8, dtype="i4"),
                   "f.scales": np.ones((1, 16), "f2"), "f.g_idx": np.zeros(32, t)},
        {"u1", "i1", "u2", "i4", "i8"},
    ),
    "MLX": (
        lambda t: {"f.weight": words(8, 128, dtype="u4"), "f.scales": np.ones((8, 1), "f4"),
                   "f.biases": np.ones((8, 1), t)},
        FLOATS,
    ),
    "quanto": (lambda t: {"f.weight._data": words(8, 64, dtype="i1"), "f.weight._scale": np.ones((8, 1), t)}, FLOATS),
    "quanto int4": (
        lambda t: {"f.weight._data._data": words(4, 32), "f.weight._scale": np.ones((8, 1), "f4"),
                   "f.weight._shift": np.ones((8, 1), t), "f.bias": np.ones(8, "f4")},
        FLOATS,
    ),
    "torchao": (
        lambda t: {"f._weight_qdata": words(8, 32, dtype="i1"), "f._weight_scale": np.ones((8, 2), t)},
        {"e8", *FLOATS},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_types_of_companions(case: str) -> None:
    made, right = CASES[case]
    for short, kind in TYPES.items():
        source = LogicalSource(MemorySource(made(kind)))
        assert bool(source.packings.weights) == (short in right), short
        assert bool(source.packings.untold) == (short not in right), short
        for info in source:
            assert source.read(info.name).shape == info.shape
            source.summarize(info.name)
