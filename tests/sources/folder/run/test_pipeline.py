"""Pipelines: all models in one tree, whatever is missing or damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tui_params.core.health.checker import check
from tui_params.core.source import Source
from tui_params.errors import OpenError
from tui_params.sources.detect import open_path


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A pipeline as diffusers saves it."""
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "safety_checker": [None, None],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "requires_safety_checker": False,
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for name, file in (("text_encoder", "model"), ("unet", "diffusion_pytorch_model")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model_type": "clip"}')
        save_file({"w": torch.full((3,), float(len(name)))}, tmp_path / name / f"{file}.safetensors")
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text("{}")
    return tmp_path


def rules(source: Source) -> list[tuple[str, str, str | None]]:
    return [(finding.severity, finding.rule, finding.file) for finding in source.listing.findings]


def test_a_pipeline_of_diffusers(pipeline: Path) -> None:
    source = open_path(pipeline)
    assert source.names() == ["text_encoder.w", "unet.w"]
    assert source.listing.format == "StableDiffusionPipeline: text_encoder and unet; safetensors"
    assert source.listing.models == {
        "text_encoder": ("text_encoder/model.safetensors",),
        "unet": ("unet/diffusion_pytorch_model.safetensors",),
    }
    assert source.listing.metadata["unet.config.model_type"] == "clip"
    np.testing.assert_array_equal(source.read("unet.w"), [4, 4, 4])
    assert (source.listing.findings, source.listing.not_opened, check(source).status) == ((), (), "ok")


def test_what_else_lies_there_is_named(pipeline: Path) -> None:
    save_file({"w": torch.ones(1)}, pipeline / "v1-5-pruned.safetensors")
    (pipeline / "controlnet").mkdir()
    save_file({"w": torch.ones(1)}, pipeline / "controlnet" / "model.safetensors")
    assert open_path(pipeline).listing.not_opened == ("v1-5-pruned.safetensors", "controlnet/")


def test_a_missing_or_damaged_member_hides_no_other(pipeline: Path) -> None:
    (pipeline / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    source = open_path(pipeline)
    assert (source.names(), rules(source)) == (["text_encoder.w"], [("error", "bad-part", "unet/")])
    (pipeline / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    source = open_path(pipeline)
    assert rules(source) == [("warning", "bad-part", "unet/")]
    assert "no weights" in source.listing.findings[0].evidence
    (pipeline / "unet" / "config.json").unlink()
    (pipeline / "unet").rmdir()
    source = open_path(pipeline)
    assert rules(source) == [("error", "bad-part", "unet/")]
    assert source.listing.findings[0].evidence.endswith("(UNet2DConditionModel), but there is no such folder")
    (pipeline / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(OpenError, match="no weights"):
        open_path(pipeline)
    save_file({"w": torch.ones(1)}, pipeline / "whole.safetensors")
    source = open_path(pipeline)
    assert (source.names(), source.listing.not_opened) == (["w"], ())
    assert [rule for _, rule, _ in rules(source)] == ["bad-part", "bad-part"]


def test_weights_of_other_frameworks_are_named(pipeline: Path) -> None:
    (pipeline / "unet" / "diffusion_pytorch_model.safetensors").rename(pipeline / "unet" / "flax_model.msgpack")
    source = open_path(pipeline)
    assert (source.listing.not_opened, source.listing.findings) == (("unet/",), ())


def test_a_member_in_shards(pipeline: Path) -> None:
    (pipeline / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    shards = {name: f"diffusion_pytorch_model-0000{number}-of-00002.safetensors" for number, name in enumerate("ab", 1)}
    for name, file in shards.items():
        save_file({name: torch.ones(2)}, pipeline / "unet" / file)
    index = pipeline / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))
    source = open_path(pipeline)
    assert source.names() == ["text_encoder.w", "unet.a", "unet.b"]
    assert source.find("unet.b").file == "unet/diffusion_pytorch_model-00002-of-00002.safetensors"
    assert source.listing.findings == ()


@pytest.mark.parametrize("name", ["../outside", "/etc", "..", ".", "", "a\\b", "a\0b"])
def test_the_list_cannot_lead_out_of_its_folder(pipeline: Path, name: str) -> None:
    outside = pipeline.parent / "outside"
    outside.mkdir(exist_ok=True)
    save_file({"secret": torch.ones(1)}, outside / "model.safetensors")
    index = {"_class_name": "P", name: ["x", "Model"], "unet": ["diffusers", "UNet2DConditionModel"]}
    (pipeline / "model_index.json").write_text(json.dumps(index))
    source = open_path(pipeline)
    assert source.names() == ["unet.w"]
    assert source.listing.findings == ()


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"unet": 3}', '{"unet": ["a"]}', '{"_x": ["a", "b"]}'])
def test_a_broken_list_leaves_an_ordinary_folder(tmp_path: Path, content: str) -> None:
    (tmp_path / "model_index.json").write_text(content)
    save_file({"w": torch.ones(1)}, tmp_path / "model.safetensors")
    assert open_path(tmp_path).names() == ["w"]


def test_sentence_transformers_are_one_model(tmp_path: Path) -> None:
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    save_file({"encoder.w": torch.ones(2)}, tmp_path / "model.safetensors")
    for name in ("1_Pooling", "2_Dense"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    save_file({"linear.weight": torch.ones(2, 2)}, tmp_path / "2_Dense" / "model.safetensors")
    source = open_path(tmp_path)
    assert source.names() == ["encoder.w", "2_Dense.linear.weight"]
    assert source.listing.format == "sentence-transformers: model and 2_Dense; safetensors"
    assert (source.listing.models, source.listing.findings, source.listing.not_opened) == ({}, (), ())
    (tmp_path / "2_Dense" / "model.safetensors").unlink()
    assert rules(open_path(tmp_path)) == [("warning", "bad-part", "2_Dense/")]
