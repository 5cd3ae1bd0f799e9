"""A safetensors file with planted faults, of any size: the full plan has 303 tensors, 612 M elements and 1.33 GB.

bf16, f32, fp8, int64 and bool; one embedding of 201 M elements; NaN in bf16 and in f32, +Inf, a matrix of zeros, dead
rows, an empty tensor and one of no dimension. The same values every time, written one tensor after another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

LAYERS = 27
FP8_LAYERS = range(9, 18)
F32_LAYERS = range(9, 27)
"""Layers whose o_proj is f32."""

EMBEDDING = "model.embed_tokens.weight"
NAN_BF16 = "model.layers.3.self_attn.q_proj.weight"
NAN_F32 = "model.layers.5.post_attention_layernorm.weight"
INF = "model.layers.7.self_attn.o_proj.weight"
ZERO = "model.layers.25.self_attn.v_proj.weight"

NAN_PLACES = ((2, 5), (9, 1), (9, 3))
INF_PLACES = ((0, 1), (3, 0))

_TYPES: dict[str, Any] = {
    "BF16": ml_dtypes.bfloat16,
    "F32": np.float32,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "I64": np.int64,
    "BOOL": np.bool_,
}


class Size(NamedTuple):
    """How large the file is made."""

    hidden: int
    intermediate: int
    key_value: int
    vocabulary: int
    dead_rows: int


FULL = Size(2048, 768, 512, 98_304, 700)
SMALL = Size(64, 24, 16, 1024, 7)


class Planned(NamedTuple):
    """A tensor to be: its name, its safetensors type, its shape."""

    name: str
    code: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        element: np.dtype[Any] = np.dtype(_TYPES[self.code])
        return prod(self.shape) * element.itemsize


def plan(size: Size) -> Iterator[Planned]:
    """Every tensor, in the order of its bytes."""
    yield Planned(EMBEDDING, "BF16", (size.vocabulary, size.hidden))
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        mlp = "F8_E4M3" if layer in FP8_LAYERS else "BF16"
        yield Planned(f"{prefix}.input_layernorm.weight", "F32", (size.hidden,))
        yield Planned(f"{prefix}.self_attn.q_proj.weight", "BF16", (size.hidden, size.hidden))
        yield Planned(f"{prefix}.self_attn.k_proj.weight", "BF16", (size.key_value, size.hidden))
        yield Planned(f"{prefix}.self_attn.v_proj.weight", "BF16", (size.key_value, size.hidden))
        output = "F32" if layer in F32_LAYERS else "BF16"
        yield Planned(f"{prefix}.self_attn.o_proj.weight", output, (size.hidden, size.hidden))
        yield Planned(f"{prefix}.self_attn.q_norm.weight", "F32", (size.hidden // 16,))
        yield Planned(f"{prefix}.self_attn.k_norm.weight", "F32", (size.hidden // 16,))
        yield Planned(f"{prefix}.post_attention_layernorm.weight", "F32", (size.hidden,))
        yield Planned(f"{prefix}.mlp.gate_proj.weight", mlp, (size.intermediate, size.hidden))
        yield Planned(f"{prefix}.mlp.up_proj.weight", mlp, (size.intermediate, size.hidden))
        yield Planned(f"{prefix}.mlp.down_proj.weight", mlp, (size.hidden, size.intermediate))
    yield Planned("model.norm.weight", "F32", (size.hidden,))
    yield Planned("model.position_ids", "I64", (1, 2048))
    yield Planned("model.causal_mask", "BOOL", (256, 256))
    yield Planned("model.empty", "F32", (0, size.hidden))
    yield Planned("model.logit_scale", "F32", ())


def planted(size: Size) -> set[tuple[str, str]]:
    """Rule and tensor of every fault in the file."""
    found = {("nan", NAN_BF16), ("nan", NAN_F32), ("inf", INF), ("all-zero", ZERO)}
    return found | ({("dead-rows", EMBEDDING)} if size.dead_rows else set())


def write_faulty(path: Path, size: Size) -> int:
    """Write the file, and return how many bytes it has."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin = 0
    tensors = list(plan(size))
    for tensor in tensors:
        end = begin + tensor.nbytes
        header[tensor.name] = {"dtype": tensor.code, "shape": tensor.shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for number, tensor in enumerate(tensors):
            file.write(values_of(tensor, number, size).reshape(-1).view(np.uint8).data)
    return 8 + len(text) + begin


def values_of(tensor: Planned, number: int, size: Size) -> NDArray[Any]:
    """The values of tensor ``number``: normal ones of scale 0.02, gains near 1, and the faults."""
    rng = np.random.default_rng(number)
    element = np.dtype(_TYPES[tensor.code])
    array: NDArray[Any]
    if tensor.code == "I64":
        array = np.arange(prod(tensor.shape), dtype=np.int64).reshape(tensor.shape)
    elif tensor.code == "BOOL":
        array = np.tri(*tensor.shape, dtype=np.bool_)
    elif len(tensor.shape) < 2:
        array = (1 + 0.1 * rng.standard_normal(tensor.shape)).astype(element)
    else:
        # Picking from a table of draws is many times faster than as many draws.
        scale = 100.0 if tensor.code == "F8_E4M3" else 0.02
        table = np.clip(rng.standard_normal(1 << 16) * scale, -400, 400).astype(element)
        array = table[rng.integers(0, 1 << 16, tensor.shape, np.uint16)]
    _plant(tensor.name, array, size)
    return array


def _plant(name: str, array: NDArray[Any], size: Size) -> None:
    if name == NAN_BF16:
        for place in NAN_PLACES:
            array[place] = np.nan
    elif name == NAN_F32:
        array[11] = np.nan
    elif name == INF:
        for place in INF_PLACES:
            array[place] = np.inf
    elif name == ZERO:
        array[:] = 0
    elif name == EMBEDDING and size.dead_rows:
        array[-size.dead_rows :] = 0
