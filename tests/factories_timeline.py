"""A run of eight steps in which everything is known: NaN from step 2500 on, a jump at 2000, a tensor frozen at 1500."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.factories_safetensors import entry, file_bytes

STEPS = tuple(range(500, 4500, 500))
NAN_AT, JUMP_AT, FROZEN_AT, INF_AT = 2500, 2000, 1500, 3000
FROZEN, JUMPS, INFINITE = (
    "model.layers.0.input_layernorm.weight",
    "model.layers.1.self_attn.q_proj.weight",
    "lm_head.weight",
)
BROKEN = tuple(f"model.layers.{layer}.mlp.up_proj.weight" for layer in (1, 2, 3))


def write_step(folder: Path, number: int, arrays: Mapping[str, NDArray[np.float32]], cut: int | None = None) -> Path:
    """``checkpoint-NUMBER/`` with its file, written long ago; ``cut`` leaves only so many bytes of it."""
    header, data = {}, b""
    for name, array in arrays.items():
        header[name] = entry("F32", array.shape, len(data))
        data += array.tobytes()
    path = folder / f"checkpoint-{number}" / "model.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file_bytes(header, data)[:cut])
    os.utime(path, (1.7e9, 1.7e9))
    return path.parent


def arrays_of_run() -> list[dict[str, NDArray[np.float32]]]:
    """The tensors at each step; whole numbers times a power of two, so they are the same on every machine."""
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (60, 32)}
    for layer in range(4):
        shapes[f"model.layers.{layer}.self_attn.q_proj.weight"] = (32, 32)
        shapes[f"model.layers.{layer}.mlp.up_proj.weight"] = (64, 32)
        shapes[f"model.layers.{layer}.input_layernorm.weight"] = (32,)
    shapes["lm_head.weight"] = (60, 32)
    now = {name: random.integers(-1000, 1001, shape) for name, shape in shapes.items()}
    steps: list[dict[str, NDArray[Any]]] = []
    for at, number in enumerate(STEPS):
        for name, values in now.items():
            if name == FROZEN and number > FROZEN_AT:
                continue
            most = 400 if name == JUMPS and number == JUMP_AT else 24 - 2 * at
            now[name] = values + random.integers(-most, most + 1, values.shape)
        step = {name: (values / 4096).astype(np.float32) for name, values in now.items()}
        if number >= NAN_AT:
            for name in BROKEN:
                step[name][3, 5] = np.nan
        if number >= INF_AT:
            step[INFINITE][0, 0] = np.inf
        steps.append(step)
    return steps


def planted_run(folder: Path, arrays: list[dict[str, NDArray[np.float32]]] | None = None) -> list[str]:
    """The run in a folder; returns the paths of its checkpoints."""
    return [
        str(write_step(folder, number, step)) for number, step in zip(STEPS, arrays or arrays_of_run(), strict=True)
    ]
