"""Packed weights whose parts are missing, of another shape or type, or named otherwise: told with a reason, or read."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tests.core.packed.logical_files import logical
from tui_params.errors import ReadError, SliceError

Tensors = dict[str, NDArray[Any]]
NUMBERS = np.random.default_rng(6)


def codes(*shape: int, dtype: str = "u1") -> NDArray[Any]:
    return NUMBERS.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8).view(dtype)[..., 0]


def floats(*shape: int, dtype: str = "f4") -> NDArray[Any]:
    return NUMBERS.random(shape).astype(dtype)


def text(value: str) -> NDArray[Any]:
    return np.frombuffer(value.encode(), np.uint8).copy()


STATE = {"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [8, 32]}
NESTED = {**STATE, "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.5}
HQQ = {"shape": np.array([8, 64]), "nbits": np.array(4), "group_size": np.array(64), "axis": np.array(1)}

SEEDS: list[tuple[Tensors, dict[str, Any], dict[str, str]]] = [
    (
        {"f.qweight": codes(4, 16, dtype="i4"), "f.qzeros": codes(2, 2, dtype="i4"),
         "f.scales": floats(2, 16, dtype="f2"), "f.g_idx": np.arange(32, dtype=np.int32) // 16},
        {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 16}}, {},
    ),
    (
        {"f.qweight": codes(32, 2, dtype="i4"), "f.qzeros": codes(2, 2, dtype="i4"),
         "f.scales": floats(2, 16, dtype="f2")},
        {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 16}}, {},
    ),
    (
        {"f.weight_packed": codes(8, 4, dtype="i4"), "f.weight_scale": floats(8, 2),
         "f.weight_shape": np.array([8, 32])},
        {"quantization_config": {"config_groups": {"g": {"weights": {"num_bits": 4, "group_size": 16}}}}}, {},
    ),
    ({"f.weight_packed": codes(8, 16), "f.weight_scale": codes(8, 1)}, {}, {}),
    (
        {"f.weight": codes(128, 1), "f.weight.absmax": codes(4), "f.weight.quant_map": floats(16),
         "f.weight.nested_absmax": floats(1), "f.weight.nested_quant_map": floats(256),
         "f.weight.quant_state.bitsandbytes__nf4": text(json.dumps(NESTED))}, {}, {},
    ),
    (
        {"f.weight": codes(128, 1), "f.weight.absmax": floats(4), "f.weight.quant_map": floats(16),
         "f.weight.quant_state.bitsandbytes__nf4": text(json.dumps(STATE))}, {}, {},
    ),
    ({"f.weight": codes(8, 32, dtype="i1"), "f.SCB": floats(8), "f.weight_format": np.array(0, np.uint8)}, {}, {}),
    ({"f.W_q": codes(4, 64), "f.scale": floats(8, 1), "f.zero": floats(8, 1), "f.packing": text("4bit_u8"),
      **{f"f.{key}": value for key, value in HQQ.items()}}, {}, {}),
    ({"f.weight": codes(8, 4, dtype="u4"), "f.scales": floats(8, 1), "f.biases": floats(8, 1)},
     {"quantization": {"bits": 4, "group_size": 32}}, {}),
    ({"f.weight": codes(8, 32, dtype="i1"), "f.weight_scale": floats(8, 1)}, {}, {}),
    ({"f.weight._data._data": codes(4, 32), "f.weight._scale": floats(8, 1), "f.weight._shift": floats(8, 1),
      "f.bias": floats(8)}, {}, {}),
    ({"f._weight_qdata": codes(8, 32, dtype="i1"), "f._weight_scale": floats(8, 2)}, {},
     {"f.weight": json.dumps({"_type": "Int8Tensor", "_data": {"block_size": [1, 16]}})}),
    ({"e.down_blocks": codes(2, 8, 2, 16), "e.down_scales": codes(2, 8, 2)}, {}, {}),
]  # fmt: skip


def damage(random: Random, tensors: Tensors) -> None:
    """Another shape, type, length, content or name of one tensor, or none of it."""
    name = random.choice(list(tensors))
    array = tensors[name]
    what = random.randrange(7)
    if what == 0 and len(tensors) > 1:
        del tensors[name]
    elif what == 1:
        kinds = ("u1", "i1", "f2", "u2", "f4", "i4", "u4", "i8", "f8")
        same = [kind for kind in kinds if np.dtype(kind).itemsize == array.itemsize]
        tensors[name] = array.view(random.choice(same))
    elif what == 2:
        tensors[name] = array.reshape(random.choice(((-1,), (-1, 1), (1, -1), (1, *array.shape), array.shape[::-1])))
    elif what == 3:
        tensors[name] = array.reshape(-1)[: random.choice((0, 1, array.size // 2, array.size - 1))]
    elif what == 4:
        tensors[name] = np.full_like(array, random.choice((0, 1, 100)))
    elif what == 5:
        tensors[name] = np.frombuffer(random.randbytes(array.nbytes), array.dtype).reshape(array.shape)
    else:
        tensors[random.choice((f"{name}x", name.partition(".")[2], name.replace("weight", "w")))] = tensors.pop(name)


def test_the_seeds_are_told(tmp_path: Path) -> None:
    for number, seed in enumerate(SEEDS):
        with logical(written(tmp_path / str(number), *seed)) as source:
            (weight,) = source.packings.weights
            assert source.packings.untold == {}
            assert source.read(weight.name).shape == weight.shape


def written(folder: Path, tensors: Tensors, config: dict[str, Any], metadata: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    arrays = {name: np.array(array, order="C") for name, array in tensors.items()}
    save_file(arrays, folder / "model.safetensors", metadata=metadata or None)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_parts_are_sentences(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    random = Random(seed)
    tensors, config, metadata = random.choice(SEEDS)
    tensors = dict(tensors)
    for _ in range(random.choice((1, 1, 2))):
        damage(random, tensors)
    if random.random() < 0.2:
        text = json.dumps(config).replace(random.choice(("4", "16", "32")), random.choice(("3", "0", "-1", "null")), 1)
        config = json.loads(text)
    with logical(written(tmp_path_factory.getbasetemp() / "packed", tensors, config, metadata)) as source:
        for info in source.listing.tensors:
            with suppress(ReadError, SliceError):
                assert source.read(info.name).shape == info.shape
                source.summarize(info.name)
