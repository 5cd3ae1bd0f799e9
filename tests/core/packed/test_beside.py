"""What stands beside a packed weight: the metadata of its file, and scales whose blocks are stated nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.core.packed.logical_files import complaints, logical


@pytest.mark.parametrize("is_folder", [False, True])
def test_the_metadata_of_a_safetensors_file_say_the_block_of_torchao(tmp_path: Path, is_folder: bool) -> None:
    numbers = np.random.default_rng(3)
    codes, scales = numbers.integers(-8, 8, (6, 40), np.int8), numbers.random((6, 2), np.float32)
    said = {
        "_type": "IntxUnpackedToInt8Tensor",
        "_data": {"block_size": [1, 32]},
        "_tensor_data_names": ["qdata", "scale"],
    }
    metadata = {"fc.weight": json.dumps(said), "norm.weight": json.dumps({"_type": "Tensor"})}
    path = tmp_path / "model.safetensors"
    tensors = {"fc._weight_qdata": codes, "fc._weight_scale": scales, "norm.weight": np.arange(1, 7, dtype=np.float32)}
    save_file(tensors, path, metadata=metadata)
    (tmp_path / "config.json").write_text("{}")
    with logical(tmp_path if is_folder else path) as source:
        assert (source.read("fc.weight") == codes * np.repeat(scales, 32, 1)[:, :40]).all()
        assert source.find("fc.weight").notes[:2] == (
            "packed: torchao IntxUnpackedToInt8",
            "9.60 bits a weight, groups of 32",
        )
        # What the metadata say of the object that it was is said by the page.
        assert {key for key in source.listing.metadata if "weight" in key} == {"__metadata__.norm.weight"}


@pytest.mark.parametrize(("shape", "is_told"), [((192, 1), True), ((2, 1), False), ((2,), False), ((1, 1), True)])
def test_scales_of_rows_whose_blocks_are_stated_nowhere(tmp_path: Path, shape: tuple[int, ...], is_told: bool) -> None:
    numbers = np.random.default_rng(4)
    codes = numbers.standard_normal((192, 96)).astype(ml_dtypes.float8_e4m3fn)
    save_file(
        {"fc.weight": codes, "fc.weight_scale": numbers.random(shape, np.float32)}, tmp_path / "model.safetensors"
    )
    with logical(tmp_path) as source:
        assert (source.packed("fc.weight") is not None) == is_told
        note = " ".join(source.find("fc.weight").notes)
        assert ("the size of a block is stated nowhere" in note) == (not is_told)
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"weight_block_size": [128, 128]}}))
    with logical(tmp_path) as source:
        if shape == (2, 1):
            assert source.packed("fc.weight") is not None
    assert complaints(tmp_path) == []


def test_a_layer_that_mlx_quantises_otherwise_than_the_model(tmp_path: Path) -> None:
    numbers = np.random.default_rng(5)
    codes = numbers.integers(0, 256, (3, 64), np.uint8)
    four = codes[:, :32] & 15 | (codes[:, 32:] & 15) << 4
    scales, biases = numbers.random((2, 3, 2), np.float32)
    tensors = {
        "a.weight": four.view(np.uint32), "a.scales": scales[:, :1], "a.biases": biases[:, :1],
        "b.c.weight": codes.view(np.uint32), "b.c.scales": scales, "b.c.biases": biases,
        "other.weight": codes.view(np.uint32), "other.scales": scales[:, :1], "other.biases": biases[:, :1],
    }  # fmt: skip
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, tmp_path / "model.safetensors")
    layers = {"b.c": {"bits": 8, "group_size": 32, "mode": "affine"}, "kept": False, "odd": {"bits": "8"}}
    (tmp_path / "config.json").write_text(json.dumps({"quantization": {"bits": 4, "group_size": 64, **layers}}))
    with logical(tmp_path) as source:
        assert (source.read("b.c.weight") == codes * np.repeat(scales, 32, 1) + np.repeat(biases, 32, 1)).all()
        values = np.stack((four & 15, four >> 4), -1).reshape(3, 64)
        assert (source.read("a.weight") == values * scales[:, :1] + biases[:, :1]).all()
        (note,) = source.find("other.weight").notes
        assert note.endswith("codes of 4 bits in groups of 64 do not make 16 words and 1 scales a row")
