"""Two checkpoints of one small transformer, before and after a fine-tuning, for tests of the comparison."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from tests.factories_memory import MemorySource

Arrays = dict[str, NDArray[Any]]

LAYERS = 4


def _flat(random: np.random.Generator, shape: tuple[int, ...], bound: float) -> NDArray[np.float32]:
    return (random.integers(-(2**16), 2**16, shape) * (bound / 2**16)).astype(np.float32)


def base_arrays() -> Arrays:
    """The model before."""
    random = np.random.default_rng(3)
    arrays: Arrays = {"embed.weight": _flat(random, (96, 32), 0.5)}
    for layer in range(LAYERS):
        at = f"layers.{layer}."
        for name in ("q_proj", "v_proj"):
            arrays[f"{at}attn.{name}.weight"] = _flat(random, (32, 32), 0.25)
        arrays[f"{at}mlp.up.weight"] = _flat(random, (64, 32), 0.25)
        arrays[f"{at}mlp.up.bias"] = _flat(random, (64,), 0.125)
        arrays[f"{at}norm.weight"] = np.ones(32, np.float32)
    arrays["head.weight"] = _flat(random, (96, 32), 0.5)
    return arrays


def tuned_arrays() -> Arrays:
    """The model after: all queries and values were moved, in the values by a product of rank 2; some tensors more."""
    random = np.random.default_rng(4)
    arrays = base_arrays()
    for layer in range(LAYERS):
        at = f"layers.{layer}."
        arrays[f"{at}attn.q_proj.weight"] += _flat(random, (32, 32), 0.001 * 4**layer)
        left, right = _flat(random, (32, 2), 0.25), _flat(random, (2, 32), 0.25)
        arrays[f"{at}attn.v_proj.weight"] += left @ right
    arrays["layers.1.mlp.up.weight"][3, :4] += 1.0
    arrays["layers.2.mlp.up.bias"][7] = np.nan
    arrays["layers.3.norm.weight"] = arrays["layers.3.norm.weight"].astype(ml_dtypes.bfloat16)
    arrays["embed.weight"] = np.vstack([arrays["embed.weight"], _flat(random, (2, 32), 0.5)])
    del arrays["layers.0.mlp.up.bias"]
    arrays["classifier.weight"] = _flat(random, (4, 32), 0.25)
    return arrays


def base() -> MemorySource:
    return MemorySource(base_arrays(), label="base.safetensors")


def tuned() -> MemorySource:
    return MemorySource(tuned_arrays(), label="tuned.safetensors")
