"""Packed weights in runs and pipelines: what a config.json states reaches the tensors of its own part alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from tests.core.packed.logical_files import complaints, logical
from tests.core.packed.test_layouts import check, pack_quantized
from tui_params.api.opening import open_source

OF_GROUPS = {"quantization_config": {"config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 32}}}}}


def write_pipeline(folder: Path, parts: dict[str, tuple[dict[str, Any], dict[str, Any] | None]]) -> None:
    """A pipeline of diffusers: the tensors of each part, and its config.json."""
    index = {name: ["transformers", "T5EncoderModel"] for name in parts}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline", **index}))
    for name, (tensors, config) in parts.items():
        (folder / name).mkdir()
        metadata = tensors.pop("metadata", None)
        arrays = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
        save_file(arrays, folder / name / "model.safetensors", metadata=metadata)
        if config is not None:
            (folder / name / "config.json").write_text(json.dumps(config))


def test_in_a_run_it_is_about_the_model(tmp_path: Path) -> None:
    tensors, weight = pack_quantized(99, 32)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(OF_GROUPS))
    # Whatever an optimizer keeps beside its moments, the file of the model does not speak of it.
    state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in tensors.items()}
    torch.save({"state": {0: state}}, tmp_path / "optimizer.pt")
    with open_source(tmp_path) as source:
        assert source.listing.states == ("optimizer",)
    check(tmp_path, weight)
    with logical(tmp_path) as source:
        why = "99 inputs have 4 groups, and their size is stated nowhere"
        assert source.packings.untold == {"optimizer.state.0.fc.weight_packed": why}
        assert not any(key.startswith("config.quant") for key in source.listing.stated)


def test_in_a_pipeline_each_part_has_its_own(tmp_path: Path) -> None:
    (first, weight), (second, other), (third, _) = (pack_quantized(99, group) for group in (32, 48, 32))
    groups = {"quantization_config": {"num_bits": 4, "group_size": 48}}
    write_pipeline(tmp_path, {"unet": (first, OF_GROUPS), "vae": (second, groups), "vae_2": (third, None)})
    check(tmp_path, weight, "unet.fc.weight")
    check(tmp_path, other, "vae.fc.weight")
    with logical(tmp_path) as source:
        assert list(source.packings.untold) == ["vae_2.fc.weight_packed"]
        assert [statement.stated for statement in source.listing.stated_below] == [{}, {}, {}]
    with open_source(tmp_path) as source:
        places = [(statement.below, statement.folder) for statement in source.listing.stated_below]
        assert places == [("unet", "unet/"), ("vae", "vae/"), ("vae_2", "vae_2/")]
        assert source.listing.stated == {}


def test_layers_and_objects_are_called_there_as_in_their_own_files(tmp_path: Path) -> None:
    numbers = np.random.default_rng(5)
    codes, scales, biases = numbers.integers(0, 256, (3, 64), np.uint8), *numbers.random((2, 3, 2), np.float32)
    of_mlx = {"b.c.weight": codes.view(np.uint32), "b.c.scales": scales, "b.c.biases": biases}
    config = {"quantization": {"bits": 4, "group_size": 64, "b.c": {"bits": 8, "group_size": 32}}}
    whole, steps = numbers.integers(-8, 8, (6, 40), np.int8), numbers.random((6, 2), np.float32)
    said = {
        "_type": "IntxUnpackedToInt8Tensor",
        "_data": {"block_size": [1, 32]},
        "_tensor_data_names": ["qdata", "scale"],
    }
    of_torchao = {"fc._weight_qdata": whole, "fc._weight_scale": steps, "metadata": {"fc.weight": json.dumps(said)}}
    write_pipeline(tmp_path, {"text": (of_mlx, config), "unet": (of_torchao, None)})
    with logical(tmp_path) as source:
        values = codes * np.repeat(scales, 32, 1) + np.repeat(biases, 32, 1)
        assert (source.read("text.b.c.weight") == values).all()
        assert (source.read("unet.fc.weight") == whole * np.repeat(steps, 32, 1)[:, :40]).all()
        assert not any("fc.weight" in key for key in source.listing.metadata)
    assert complaints(tmp_path) == []
