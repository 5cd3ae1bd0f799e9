"""A small mixture of experts in memory, in which one tensor is too large and one has a NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.factories_memory import MemorySource

LAYERS, EXPERTS = 10, 6
ODD = "model.layers.9.self_attn.v_proj.weight"
SPOILT = "model.layers.5.mlp.experts.3.up_proj.weight"

_ATTENTION = {"q_proj": (16, 16), "k_proj": (4, 16), "v_proj": (4, 16), "o_proj": (16, 16)}
_MLP = {"gate_proj": (12, 16), "up_proj": (12, 16), "down_proj": (16, 12)}


def mixture(layers: int = LAYERS, experts: int = EXPERTS) -> MemorySource:
    """The first layer is dense, the others have experts. Sums of whole numbers: the same on every machine."""
    random = np.random.default_rng(3)

    def bell(shape: tuple[int, ...], std: float) -> NDArray[np.float32]:
        return np.asarray(random.integers(-1000, 1001, (6, *shape)).sum(0) * (std / 1415), np.float32)

    arrays = {"model.embed_tokens.weight": bell((64, 16), 0.02)}
    for layer in range(layers):
        at, std = f"model.layers.{layer}.", 0.02 * (1 + layer / 40)
        arrays[f"{at}input_layernorm.weight"] = 1 + bell((16,), 0.1)
        for name, shape in _ATTENTION.items():
            arrays[f"{at}self_attn.{name}.weight"] = bell(shape, std)
        arrays[f"{at}post_attention_layernorm.weight"] = 1 + bell((16,), 0.1)
        if layer:
            arrays[f"{at}mlp.gate.weight"] = bell((experts, 16), std)
        for name, shape in _MLP.items():
            places = [f"experts.{expert}." for expert in range(experts)] if layer else [""]
            for place in places:
                arrays[f"{at}mlp.{place}{name}.weight"] = bell(shape, std)
    arrays["model.norm.weight"] = 1 + bell((16,), 0.1)
    if ODD in arrays:
        arrays[ODD] = arrays[ODD] * np.float32(6)
    if SPOILT in arrays:
        arrays[SPOILT][3, 7] = np.nan
    return MemorySource(arrays, label="mixture.safetensors")
