"""Adapters as peft 0.21, kohya's sd-scripts, LyCORIS 4.1 and diffusers 0.42 write them: names, shapes, metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Arrays = dict[str, NDArray[Any]]

PEFT = "base_model.model.layers.{}.self_attn.q_proj"


def values(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed + sum(shape)).normal(size=shape).astype(np.float32)


def peft_lora(ranks: Mapping[int, int], module: str = PEFT) -> Arrays:
    """A LoRA for the module of each layer, by the number of the layer its rank."""
    arrays: Arrays = {}
    for layer, rank in ranks.items():
        arrays[f"{module.format(layer)}.lora_A.weight"] = values(rank, 64, seed=layer)
        arrays[f"{module.format(layer)}.lora_B.weight"] = values(48, rank, seed=layer)
    return arrays


def kohya_lora(alphas: Mapping[int, float | None], rank: int = 16) -> Arrays:
    """A LoRA for each of some modules, by number its alpha; None leaves out the tensor."""
    arrays: Arrays = {}
    for number, alpha in alphas.items():
        module = f"lora_unet_down_blocks_{number}_attentions_0_to_q"
        arrays[f"{module}.lora_down.weight"] = values(rank, 320, seed=number)
        arrays[f"{module}.lora_up.weight"] = values(320, rank, seed=number)
        if alpha is not None:
            arrays[f"{module}.alpha"] = np.array(alpha, np.float32)
    return arrays


def write_peft(folder: Path, arrays: Arrays, **config: Any) -> Path:
    """A folder as ``save_pretrained`` of peft leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(arrays, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    known = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "rank_pattern": {}, "alpha_pattern": {}, "use_rslora": False}
    (folder / "adapter_config.json").write_text(json.dumps(known | config))
    return folder


def write_kohya(path: Path, arrays: Arrays, dim: object = 16, alpha: object = 8.0, **arguments: Any) -> Path:
    """A file of sd-scripts or LyCORIS, with its metadata; ``arguments`` are the ss_network_args."""
    metadata = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(dim),
        "ss_network_alpha": str(alpha),
        "ss_network_args": json.dumps(arguments) if arguments else "null",
    }
    save_file(arrays, path, metadata=metadata)
    return path
